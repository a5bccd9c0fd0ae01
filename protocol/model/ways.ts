/**
 * The ways to do an activation behind a linear layer: how far to shift, how many bits to keep, by proof or by clamping, with which pieces;
 * and what comes out.
 */
import type { ActivationFunction, Term } from '../circuits/activation.js'
import { type Pieces, piecesRange } from '../circuits/pieces.js'
import { MinionnError } from '../errors.js'
import { MAX_RING_BITS } from '../limits.js'
import type { Card } from './card.js'
import { type Fit, fitPieces } from './fit-pieces.js'
import { bentRange, isSymmetric, type ScalarFunction } from './functions.js'
import type { ActivationLayer, NetworkStage } from './layers.js'
import { commonScale, type QuantisedLinear, type Range, ringFor, type StageMath, withOffset } from './quantise.js'

/** Bits between what calibration saw and what is proven, at most: hundreds of inputs of one layer make about eight. */
const MAX_UNSEEN_BITS = 12
/** Saturation leaves this many bits above the largest value calibration saw. */
const HEADROOM_BITS = 2
/** Bits of a squared value, or of one that pieces take, besides the sign: AND gates grow with their square. */
const MAX_FUNCTION_BITS = 12
/** Bits of a product's operand beyond those of other activations, and at most: its rounding is all that is lost. */
const OPERAND_BITS = 1
const MAX_OPERAND_BITS = 14
/** Bits that a product's operands may give up. */
const MAX_PRODUCT_BITS_LOST = 2
/** Bits that a square may give up for a ring of 32. */
const MAX_SQUARE_BITS_LOST = 4
/** Bits of a piecewise-linear function's value beyond those of other activations: as few as its error allows. */
const EXTRA_OUTPUT_BITS = [4, 8] as const

/** One way to do an activation: its circuit's parameters, and what comes out. */
export interface Way {
  readonly fn: ActivationFunction
  readonly pieces?: Pieces
  readonly approximates?: { readonly fn: string; readonly error: number }
  /** Where fn is `product`. */
  readonly terms?: readonly Term[]
  readonly shift: number
  readonly bits: number
  readonly saturate: boolean
  readonly range: Range
  /** value * scale = integer, after the activation. */
  readonly scale: number
  /** Bits of precision given up. */
  readonly lost: number
  /** The ring that y needs. */
  readonly ring: number
}

/** The shift that leaves `top` (an absolute value of y) `bits` bits, and the proven range behind it. */
function shiftFor(q: QuantisedLinear, top: number, bits: number): { shift: number; range: Range } {
  const shift = Math.min(Math.max(0, Math.floor(Math.log2(top)) + 1 - bits), ringFor(q.range) - 1)
  const rounded = withOffset(q.range, shift)
  const down = (v: number) => Math.floor(v / 2 ** shift)
  return { shift, range: { low: Math.min(0, down(rounded.low)), high: Math.max(0, down(rounded.high)) } }
}

/** Keeps the shifted value in `kept` bits and a sign, by proof where the range allows it and by clamping where not. */
function keep(range: Range, kept: number): { bits: number; saturate: boolean; range: Range } {
  const proven = ringFor(range) - 1
  if (kept >= proven) return { bits: proven, saturate: false, range }
  const limited = { low: Math.max(range.low, -(2 ** kept)), high: Math.min(range.high, 2 ** kept - 1) }
  return { bits: kept, saturate: true, range: limited }
}

/**
 * The largest value that precision is chosen for: what calibration saw, but no less than a small part of what is proven. A layer that it
 * saw dead, or next to it, would ask for numbers that no ring holds.
 */
function typical(seen: number, { low, high }: Range): number {
  const most = Math.max(-low, high, 1)
  return seen > 0 ? Math.max(seen, most / 2 ** MAX_UNSEEN_BITS) : most
}

/** The ways to do an activation behind a linear layer. */
export function waysOf(q: QuantisedLinear, step: Step): Way[] {
  const { fn, pool } = step.activation
  const top = (largest: number) => typical(largest * q.scale, q.range)
  const [before] = step.seen.before
  if (fn === 'product') return productWays(q, step)
  const shifted = (way: Omit<Way, 'ring'>): Way => ({ ...way, ring: ringFor(withOffset(q.range, way.shift)) })
  if (fn === 'square') return squareWays(q, step, top(before)).map(shifted)
  if (typeof fn === 'object') return [shifted(pieceWay(q, step, fn))]
  const { shift, range } = shiftFor(q, top(step.seen.after), step.activationBits)
  const scale = q.scale / 2 ** shift
  const signed = fn === 'relu' ? { low: 0, high: range.high } : range
  const kept = [keep(signed, Number.POSITIVE_INFINITY), keep(signed, step.activationBits + HEADROOM_BITS)]
  const ways: Way[] = (kept[1].saturate ? kept : kept.slice(0, 1)).map((way) =>
    shifted({ ...way, fn, shift, scale, lost: 0 }),
  )
  if (fn !== 'identity' || pool !== undefined) return ways
  // No circuit at all: the shares are masked anew, and all bits stay.
  const bits = ringFor(q.range) - 1
  return [...ways, shifted({ fn: 'reshare', shift: 0, bits, saturate: false, range: q.range, scale: q.scale, lost: 0 })]
}

/** Sums of products: AND gates grow with the product of the operands' bits, so that fewer of them are ways as well. */
function productWays(q: QuantisedLinear, step: Step): Way[] {
  const { signs } = step.activation
  const ways = Array.from({ length: MAX_PRODUCT_BITS_LOST + 1 }, (_, lost) => lost).flatMap((lost) => {
    let ring = 2
    const operands = q.operands.map((x, p) => {
      const seen = step.seen.before[p]
      const top = typical(seen * x.scale, x)
      const wanted = step.activationBits - lost + OPERAND_BITS
      const { shift, range } = shiftFor({ ...q, range: x }, top, wanted)
      const kept = keep(range, Math.min(wanted + HEADROOM_BITS, MAX_OPERAND_BITS))
      ring = Math.max(ring, ringFor(withOffset(x, shift)))
      const signed = kept.range.low < 0
      return { shift, bits: kept.bits, saturate: kept.saturate, signed, scale: x.scale / 2 ** shift, range: kept.range }
    })
    const pairs = signs.map((sign, t) => ({ sign, left: operands[2 * t], right: operands[2 * t + 1] }))
    const scale = commonScale(
      pairs.map(({ left, right }) => left.scale * right.scale),
      0,
    )
    const range = { low: 0, high: 0 }
    const terms = pairs.map(({ sign, left, right }): Term => {
      const factor = sign * Math.round(scale / (left.scale * right.scale))
      const corners = [left.range.low, left.range.high].flatMap((l) =>
        [right.range.low, right.range.high].map((r) => factor * l * r),
      )
      range.low += Math.min(0, ...corners)
      range.high += Math.max(0, ...corners)
      const operand = ({ shift, bits, saturate, signed }: (typeof operands)[number]) => ({
        shift,
        bits,
        saturate,
        signed,
      })
      return { factor, left: operand(left), right: operand(right) }
    })
    if (ringFor(range) > MAX_RING_BITS) return []
    return [{ fn: 'product' as const, terms, shift: 0, bits: 0, saturate: false, range, scale, lost, ring }]
  })
  if (ways.length > 0) return ways
  throw new MinionnError(
    'BAD_MODEL',
    `widths cannot be proven: the sum of products "${step.activation.name}" leaves a ring of ${MAX_RING_BITS} bits; narrow the card's input range`,
  )
}

/** Squares have twice the bits, so that fewer of them, and less headroom, are ways as well. */
function squareWays(q: QuantisedLinear, step: Step, top: number): Omit<Way, 'ring'>[] {
  const ways: Omit<Way, 'ring'>[] = []
  for (let lost = 0; lost <= MAX_SQUARE_BITS_LOST; lost++) {
    const { shift, range } = shiftFor(q, top, step.activationBits - lost)
    for (let headroom = 0; headroom <= HEADROOM_BITS; headroom++) {
      const way = keep(range, step.activationBits - lost + headroom)
      if (way.bits > MAX_FUNCTION_BITS) continue
      const high = Math.max(way.range.low ** 2, way.range.high ** 2)
      // A value beyond what calibration saw is worth half a bit of all values.
      const cost = lost + (way.saturate ? (HEADROOM_BITS - headroom) / 2 : 0)
      const scale = (q.scale / 2 ** shift) ** 2
      ways.push({ ...way, fn: 'square', shift, range: { low: 0, high }, scale, lost: cost })
      if (!way.saturate) break
    }
  }
  return ways
}

/** Any other function by linear pieces over the part of its range where it bends. */
function pieceWay(q: QuantisedLinear, step: Step, fn: ScalarFunction): Omit<Way, 'ring'> {
  const { activationBits, tolerance, activation } = step
  const own = step.approximations?.[fn.op]
  const [largestBefore] = step.seen.before
  const bent = { ...bentRange(fn, tolerance / 4), ...(own?.range && { range: own.range }) }
  const seen = largestBefore > 0 ? largestBefore : bent.range
  // Beyond its bends a flat function may be clamped to its last value.
  const reach = bent.flat ? Math.min(seen * 2 ** HEADROOM_BITS, bent.range) : seen
  const { shift, range: rounded } = shiftFor(q, reach * q.scale, activationBits)
  // Of a symmetric function the shift rounds down.
  const down = (v: number) => Math.floor(v / 2 ** shift)
  const range = isSymmetric(fn) ? { low: down(q.range.low), high: down(q.range.high) } : rounded
  const kept = keep(range, Math.min(activationBits + (bent.flat ? 0 : HEADROOM_BITS), MAX_FUNCTION_BITS))
  const scaleIn = q.scale / 2 ** shift
  const { low, high } = kept.range
  for (let v = low; v <= high; v++) {
    if (Number.isFinite(fn.apply(v / scaleIn))) continue
    throw new MinionnError(
      'BAD_MODEL',
      `activation "${activation.name}" (${fn.op}) has no finite value at ${v / scaleIn}, an input it can get; only functions that are finite everywhere are supported`,
    )
  }
  const largest = Math.max(...[low, high, 0].map((v) => Math.abs(fn.apply(v / scaleIn))), tolerance)
  const allowed = tolerance * Math.sqrt(Math.max(1, largest))
  // Slopes are integers: the finer the value's scale, the closer they come.
  let scale = 0
  let fit: Fit | undefined
  for (
    let extra = EXTRA_OUTPUT_BITS[0];
    extra <= EXTRA_OUTPUT_BITS[1] && (fit?.error ?? Number.POSITIVE_INFINITY) > allowed;
    extra++
  ) {
    scale = 2 ** Math.floor(activationBits + extra - Math.log2(largest))
    // So many pieces as are wished for, as close as they come.
    fit = fitPieces(fn, low, high, scaleIn, scale, own?.pieces === undefined ? allowed : 0, own?.pieces)
  }
  const { pieces, error } = fit!
  if (pieces.slopes.every((slope) => slope === 0)) {
    throw new MinionnError(
      'BAD_MODEL',
      `activation "${activation.name}" (${fn.op}) is constant over the inputs it can get, ${low / scaleIn} to ${high / scaleIn}; check the layer before it`,
    )
  }
  const approximates = { fn: fn.op, error: Number(error.toPrecision(2)) }
  return { ...kept, fn: 'pieces', pieces, approximates, shift, range: piecesRange(pieces, low, high), scale, lost: 0 }
}

/** An activation, and what calibration and the card say of it. */
export interface Step {
  readonly stage: NetworkStage
  readonly activation: ActivationLayer
  readonly next: StageMath
  readonly seen: Seen
  /** Largest error of an activation that pieces approximate, and what the card says of it. */
  readonly tolerance: number
  readonly approximations: Card['approximations']
  readonly activationBits: number
  readonly weightBits: number
  readonly position: number
}

/** What calibration saw of a stage: largest absolute values after its activation and before it, of a product's operands each. */
export interface Seen {
  readonly before: readonly number[]
  readonly after: number
}
