/**
 * Continuous piecewise-linear functions of a small signed integer, the paper's splines (MiniONN section 5.3.2), in the form
 *   f(v) = offset + slopes[0] v + sum over j of (slopes[j+1] - slopes[j]) max(0, v - knots[j]).
 * All numbers are integers, so that the reference and the circuit agree bit for bit. In the circuit a knot costs one
 * comparison with a constant and one AND a bit of v; slopes are weights of the projection and cost nothing.
 *
 * Functions that are symmetric about a point, such as sigmoid and tanh, need half of the knots: with v standing for v + 1/2 and
 * u = v for v >= 0, -1 - v below, which costs no gate,
 *   f(v) = offset + slopes[0] (2v + 1) + sum over j of (slopes[j+1] - slopes[j]) sign(v) max(0, u - knots[j]),
 * where slopes[0] counts twice, as its v does. A knot on either side costs what one costs otherwise.
 */
import { type CircuitBuilder, type Wire, ZERO } from './builder.js'

export interface Pieces {
  readonly offset: number
  /** Ascending. */
  readonly knots: readonly number[]
  /** One more than knots. */
  readonly slopes: readonly number[]
  /** Whether f(-1 - v) - offset = -(f(v) - offset); knots are at least 0 then. */
  readonly symmetric?: true
}

/** By how much the slope changes at knot j. */
function bendAt({ slopes, symmetric }: Pieces, j: number): number {
  return slopes[j + 1] - (symmetric && j === 0 ? 2 * slopes[0] : slopes[j])
}

/** f(v). */
export function evaluatePieces(pieces: Pieces, v: number): number {
  const { offset, knots, slopes, symmetric } = pieces
  const [sign, u] = symmetric && v < 0 ? [-1, -1 - v] : [1, v]
  const bent = knots.reduce((sum, knot, j) => sum + bendAt(pieces, j) * Math.max(0, u - knot), 0)
  return offset + slopes[0] * (symmetric ? 2 * v + 1 : v) + sign * bent
}

/** Least and largest f over [low, high]: at the ends or at knots. */
export function piecesRange(pieces: Pieces, low: number, high: number): { low: number; high: number } {
  const { knots, symmetric } = pieces
  const all = symmetric ? [...knots, ...knots.map((knot) => -1 - knot), 0, -1] : knots
  const at = [low, high, ...all.filter((knot) => knot > low && knot < high)]
  const values = at.map((v) => evaluatePieces(pieces, v))
  return { low: Math.min(...values), high: Math.max(...values) }
}

/** Outputs and their weights for the signed number on `wires`, least significant first; the offset is left to the garbler. */
export function piecesOutputs(
  c: CircuitBuilder,
  wires: readonly Wire[],
  pieces: Pieces,
): { outputs: Wire[]; weights: number[] } {
  const { knots, slopes, symmetric } = pieces
  const outputs: Wire[] = []
  const weights: number[] = []
  const put = (wire: Wire, weight: number) => {
    // A product of the sign bit and its negation is zero.
    if (weight === 0 || wire === ZERO) return
    outputs.push(wire)
    weights.push(weight)
  }
  const place = (i: number) => (i === wires.length - 1 ? -(2 ** i) : 2 ** i)
  const step = symmetric ? 2 * slopes[0] : slopes[0]
  wires.forEach((wire, i) => void put(wire, step * place(i)))
  const top = wires.length - 1
  const mirrored = wires.slice(0, top).map((wire) => c.xor(wire, wires[top]))
  knots.forEach((knot, j) => {
    const bend = bendAt(pieces, j)
    if (bend === 0) return
    if (symmetric) {
      // Beyond the knot: v - knot, and for negative v, where the sign counts, v + 1 + knot.
      const beyond = atLeast(c, [...mirrored, ZERO], knot)
      wires.forEach((wire, i) => void put(c.and(beyond, wire), bend * (place(i) + (i === top ? 2 * knot + 1 : 0))))
      put(beyond, -bend * knot)
      return
    }
    const beyond = atLeast(c, wires, knot)
    wires.forEach((wire, i) => void put(c.and(beyond, wire), bend * place(i)))
    put(beyond, -bend * knot)
  })
  return { outputs, weights }
}

/** v >= constant, both signed. */
function atLeast(c: CircuitBuilder, wires: readonly Wire[], constant: number): Wire {
  const top = wires.length - 1
  // v - constant does not borrow, top bits exchanged for the sign.
  let borrow: Wire = ZERO
  wires.forEach((wire, i) => {
    const bit = Math.floor(constant / 2 ** i) & 1
    const x = i === top ? c.not(wire) : wire
    const y = i === top ? bit === 0 : bit === 1
    // borrow = majority(not x, y, borrow) with y constant
    borrow = y ? c.or(c.not(x), borrow) : c.and(c.not(x), borrow)
  })
  return c.not(borrow)
}
