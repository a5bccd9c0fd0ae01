/**
 * Continuous piecewise-linear functions of a small signed integer, the paper's splines (MiniONN section 5.3.2), in the form
 *   f(v) = offset + slopes[0] v + sum over j of (slopes[j+1] - slopes[j]) max(0, v - knots[j]).
 * All numbers are integers, so that the reference and the circuit agree bit for bit. In the circuit a knot costs one
 * comparison with a constant and one AND a bit of v; slopes are weights of the projection and cost nothing.
 */
import { type CircuitBuilder, type Wire, ZERO } from './builder.js'

export interface Pieces {
  readonly offset: number
  /** Ascending. */
  readonly knots: readonly number[]
  /** One more than knots. */
  readonly slopes: readonly number[]
}

/** f(v). */
export function evaluatePieces({ offset, knots, slopes }: Pieces, v: number): number {
  return knots.reduce(
    (sum, knot, j) => sum + (slopes[j + 1] - slopes[j]) * Math.max(0, v - knot),
    offset + slopes[0] * v,
  )
}

/** Least and largest f over [low, high]: at the ends or at knots. */
export function piecesRange(pieces: Pieces, low: number, high: number): { low: number; high: number } {
  const at = [low, high, ...pieces.knots.filter((knot) => knot > low && knot < high)]
  const values = at.map((v) => evaluatePieces(pieces, v))
  return { low: Math.min(...values), high: Math.max(...values) }
}

/** Outputs and their weights for the signed number on `wires`, least significant first; the offset is left to the garbler. */
export function piecesOutputs(
  c: CircuitBuilder,
  wires: readonly Wire[],
  { knots, slopes }: Pieces,
): { outputs: Wire[]; weights: number[] } {
  const outputs: Wire[] = []
  const weights: number[] = []
  const put = (wire: Wire, weight: number) => {
    // A product of the sign bit and its negation is zero.
    if (weight === 0 || wire === ZERO) return
    outputs.push(wire)
    weights.push(weight)
  }
  const place = (i: number) => (i === wires.length - 1 ? -(2 ** i) : 2 ** i)
  if (slopes[0] !== 0) wires.forEach((wire, i) => void put(wire, slopes[0] * place(i)))
  knots.forEach((knot, j) => {
    const bend = slopes[j + 1] - slopes[j]
    if (bend === 0) return
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
