/**
 * Linear layers on integers, with proof: weights at a given precision, the scale of what comes out, and the bounds that it provably
 * keeps, from the bounds of what goes in and the weights' positive and negative sums.
 */
import { MinionnError } from '../errors.js'
import { MAX_RING_BITS } from '../limits.js'
import type { LinearGeometry, PoolGeometry } from '../ring/linear.js'
import { partNumbers } from '../ring/parts.js'
import { linearSize, type Network, type NetworkStage, networkValueSize } from './layers.js'
import type { Stage } from './plan.js'
import { MIN_WEIGHT_BITS } from './precision.js'
import type { StageWeights } from './weights.js'

/** Least whole number that a skipped value is multiplied by: the rounding of the others' factors is half of its inverse. */
const MIN_SKIP_FACTOR = 128

/** A closed range of integers. */
export interface Range {
  readonly low: number
  readonly high: number
}

export interface QuantisedLinear {
  /** Its integers, made when they are wanted: few of the ways that are looked at are taken. */
  readonly secret: () => StageWeights
  /** Of y, rounding offset not included. */
  readonly range: Range
  /** y = value * scale. Of a product's y each part keeps its own. */
  readonly scale: number
  /** What an identity multiplies its parts by, and what the skipped values are multiplied by. */
  readonly partFactors: readonly number[]
  readonly factors: readonly number[]
  /** Of a product: what its operands are, one behind the other. */
  readonly operands: readonly Quantised[]
}

/** Bits of the narrowest ring that holds a range as signed numbers. */
export function ringFor({ low, high }: Range): number {
  let bits = 2
  while (low < -(2 ** (bits - 1)) || high >= 2 ** (bits - 1)) bits++
  return bits
}

export function area(pool: PoolGeometry | undefined): number {
  return pool === undefined ? 1 : pool.kernel[0] * pool.kernel[1]
}

/** A value of the network as the stages so far make it: bounds, and value * scale = integer. */
export interface Quantised extends Range {
  readonly scale: number
  /** All elements are 0 but one, which is 1. */
  readonly oneHot?: boolean
}

/** Zeros that fill up. */
const ZEROS: Quantised = { low: 0, high: 0, scale: 0 }

/** The range that sums of a window of x, or x times a factor, lie in, zero included: padding, and parts that are not there. */
export function times(x: Range, factor: number): Range {
  const ends = [factor * Math.min(0, x.low), factor * Math.max(0, x.high)]
  return { low: Math.min(...ends), high: Math.max(...ends) }
}

/**
 * The scale that several values of scales `units` get to by whole factors: the largest where it is a multiple of all, and otherwise
 * fine enough for all, at least `wanted`, and exact for the first.
 */
export function commonScale(units: readonly number[], wanted: number): number {
  const largest = Math.max(...units, wanted)
  if (units.every((unit) => Number.isInteger(largest / unit))) return largest
  const least = Math.max(wanted, largest * MIN_SKIP_FACTOR)
  return Math.ceil(least / units[0]) * units[0]
}

/** What the compiler asks again and again of one stage's weights. */
export class StageMath {
  readonly stage: NetworkStage
  /** For each column of a row of weights the part it belongs to; the same for all rows unless there are groups. */
  readonly #partOf: (row: number, column: number) => number
  readonly #rootMeanSquares: readonly number[]
  readonly #sums = new Map<string, RowSums>()

  constructor(network: Network, stage: NetworkStage) {
    this.stage = stage
    const { linear, parts } = stage
    const g = linear.geometry
    const numbers = partNumbers(parts, linear.transpose, (j) => networkValueSize(network, j))
    const real = parts.flatMap((part, p) => ('from' in part ? p : []))
    // Zeros have no scale of their own.
    if (real.length <= 1 || g.kind === 'identity') this.#partOf = () => real[0] ?? 0
    else if (g.kind === 'dense') {
      if (linear.pre === undefined) this.#partOf = (_, column) => numbers[column]
      else {
        const [inArea, outArea] = [linear.pre.input, linear.pre.output].map(([, height, width]) => height * width)
        this.#partOf = (_, column) => numbers[Math.floor(column / outArea) * inArea]
      }
    } else {
      // Parts are whole channels.
      const channels = g.input[0]
      const perGroup = channels / g.groups
      const taps = g.kernel[0] * g.kernel[1]
      const channelSize = numbers.length / channels
      this.#partOf = (row, column) => {
        const group = Math.floor((row * g.groups) / g.output[0])
        return numbers[(group * perGroup + Math.floor(column / taps)) * channelSize]
      }
    }
    const squares = parts.map(() => 0)
    const counts = parts.map(() => 0)
    const rows = weightRows(g)
    const columns = rows === 0 ? 0 : linear.weights.length / rows
    linear.weights.forEach((w, i) => {
      const p = this.#partOf(Math.floor(i / columns), i % columns)
      squares[p] += w * w
      counts[p]++
    })
    this.#rootMeanSquares = squares.map((sum, p) => Math.sqrt(sum / Math.max(1, counts[p])))
  }

  /** Root mean square of the weights on part p. */
  rootMeanSquare(p: number): number {
    return this.#rootMeanSquares[p]
  }

  /** Integer weights where those on part p are multiplied by scales[p]. */
  weights(scales: readonly number[]): Int32Array {
    const real = this.stage.linear.weights
    const columns = real.length / weightRows(this.stage.linear.geometry)
    return Int32Array.from(real, (w, i) => Math.round(w * scales[this.#partOf(Math.floor(i / columns), i % columns)]))
  }

  /** Sums and extremes of each row of those weights, part by part. */
  sums(scales: readonly number[]): RowSums {
    const key = scales.join()
    const known = this.#sums.get(key)
    if (known !== undefined) return known
    const real = this.stage.linear.weights
    const rows = weightRows(this.stage.linear.geometry)
    const columns = real.length / rows
    const parts = scales.length
    const make = () => new Float64Array(rows * parts)
    const sums: RowSums = { positive: make(), negative: make(), least: make(), largest: make() }
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const i = row * columns + column
        const p = this.#partOf(row, column)
        const w = Math.round(real[i] * scales[p])
        const at = row * parts + p
        if (w > 0) sums.positive[at] += w
        else sums.negative[at] += w
        if (w < sums.least[at]) sums.least[at] = w
        if (w > sums.largest[at]) sums.largest[at] = w
      }
    }
    this.#sums.set(key, sums)
    return sums
  }
}

/** Of each row and part: sums of the positive and of the negative weights, and the extremes or 0. */
interface RowSums {
  readonly positive: Float64Array
  readonly negative: Float64Array
  readonly least: Float64Array
  readonly largest: Float64Array
}

/** The bound of y for one stage's linear layer and what is added to it, and its integers, at a given weight precision. */
export function quantiseLinear(
  math: StageMath,
  values: readonly Quantised[],
  weightBits: number,
  /** Weights of parts that add less to a result than others are less fine. */
  balanced = false,
): QuantisedLinear {
  const { stage } = math
  const layer = stage.linear
  const g = layer.geometry
  const parts = stage.parts.map((part) => ('zeros' in part ? ZEROS : values[part.from]))
  if (stage.activation?.fn === 'product') return quantiseOperands(stage, parts)
  const [before, after] = [area(layer.pre), area(layer.post)]
  const skipped = stage.skips.map((skip) => values[skip.from])
  const units = parts.flatMap(({ scale }) => (scale > 0 ? scale * before * after : []))
  // Added values are multiplied by whole numbers to get to y's scale.
  const skips = skipped.map((v) => v.scale)
  let scale: number
  let weights = (): Int32Array => new Int32Array(0)
  const partFactors = parts.map(() => 1)
  let rowRange: (row: number) => Range
  if (g.kind === 'identity') {
    const gains = units.map((unit) => unit / Math.abs(layer.gain))
    // A constant has no scale but what its bits need.
    const most = layer.bias.reduce((largest, b) => Math.max(largest, Math.abs(b)), 0) || 1
    const constant = 2 ** Math.floor(weightBits - Math.log2(most))
    scale = gains.length + skips.length === 0 ? constant : commonScale([...gains, ...skips], 0)
    parts.forEach((part, p) => {
      const unit = (part.scale * before * after) / layer.gain
      if (unit !== 0) partFactors[p] = Math.round(scale / unit)
    })
    const ranges = parts.map((part, p) => times(part, partFactors[p] * before))
    const whole = { low: Math.min(...ranges.map((r) => r.low)), high: Math.max(...ranges.map((r) => r.high)) }
    rowRange = () => whole
  } else {
    /** What a part may add to a result, at most, next to the others. */
    const reach = parts.map((part, p) =>
      part.scale === 0 ? 0 : (math.rootMeanSquare(p) * Math.max(-part.low, part.high)) / part.scale,
    )
    const wanted = parts.map((part, p) => {
      const rms = math.rootMeanSquare(p)
      const share = balanced ? Math.min(1, reach[p] / Math.max(...reach)) : 1
      return rms === 0 ? 0 : (share * part.scale * before * after * 2 ** (weightBits - 4)) / rms
    })
    // A power of two, so that values that meet in a sum or side by side are exact multiples of each other.
    scale = 2 ** Math.round(Math.log2(Math.max(...wanted) || units[0]))
    if (skips.length > 0) scale = commonScale(skips, scale)
    const scales = parts.map((part) => (part.scale === 0 ? 0 : scale / (part.scale * before * after)))
    const sums = math.sums(scales)
    weights = () => math.weights(scales)
    rowRange = (row) => {
      let [low, high] = [0, 0]
      parts.forEach((part, p) => {
        const at = row * parts.length + p
        if (part.oneHot && layer.pre === undefined) {
          low += sums.least[at]
          high += sums.largest[at]
          return
        }
        const x = times(part, before)
        low += sums.positive[at] * x.low + sums.negative[at] * x.high
        high += sums.positive[at] * x.high + sums.negative[at] * x.low
      })
      return { low, high }
    }
  }
  const bias = layer.bias.map((b) => Math.round((b * scale) / after))
  const rows = weightRows(g)
  const range = { low: 0, high: 0 }
  bias.forEach((b, n) => {
    const { low, high } = rowRange(Math.floor((n * rows) / bias.length))
    range.low = Math.min(range.low, low + b)
    range.high = Math.max(range.high, high + b)
  })
  range.low *= after
  range.high *= after
  const factors = stage.skips.map(({ sign }, i) => sign * Math.round(scale / skips[i]))
  factors.forEach((f, i) => {
    const added = times(skipped[i], f)
    range.low += added.low
    range.high += added.high
  })
  const secret = () => ({ weights: weights(), bias: Int32Array.from(bias) })
  return { secret, range, scale, partFactors, factors, operands: [] }
}

/** A product's y: its operands, a part each, as they are. */
function quantiseOperands(stage: NetworkStage, operands: readonly Quantised[]): QuantisedLinear {
  const bias = new Int32Array(linearSize(stage))
  const range = { low: Math.min(0, ...operands.map((x) => x.low)), high: Math.max(0, ...operands.map((x) => x.high)) }
  const secret = () => ({ weights: new Int32Array(0), bias })
  return { secret, range, scale: 1, partFactors: operands.map(() => 1), factors: [], operands }
}

/** Rows of the weights: outputs, or filters of a convolution. */
export function weightRows(g: LinearGeometry): number {
  return g.kind === 'identity' ? 0 : g.kind === 'dense' ? g.outputs : g.output[0]
}

export function stageOf({ parts, linear, skips }: NetworkStage, q: QuantisedLinear, ring: number): Stage {
  return {
    name: linear.name,
    ring,
    parts: parts.map((part, p) => ('zeros' in part ? part : { ...part, factor: q.partFactors[p] })),
    transpose: linear.transpose,
    pre: linear.pre,
    linear: linear.geometry,
    post: linear.post,
    skips: skips.map(({ from, view }, i) => ({ from, ...(view && { view }), factor: q.factors[i] })),
  }
}

export function withOffset(range: Range, shift: number): Range {
  const offset = shift > 0 ? 2 ** (shift - 1) : 0
  return { low: range.low + offset, high: range.high + offset }
}

/** The linear layer at the finest weights, from `weightBits` down, whose result a ring can be proven to hold. */
export function provenLinear(
  math: StageMath,
  values: readonly Quantised[],
  weightBits: number,
  position: number,
): { current: QuantisedLinear; coarsened: number } {
  for (let bits = weightBits; bits >= MIN_WEIGHT_BITS; bits--) {
    const current = quantiseLinear(math, values, bits)
    // One bit is left for the rounding offset.
    if (ringFor(current.range) < MAX_RING_BITS) return { current, coarsened: weightBits - bits }
  }
  // Weights of parts that add little need not be as fine.
  for (let bits = weightBits; math.stage.parts.length > 1 && bits >= MIN_WEIGHT_BITS; bits--) {
    const current = quantiseLinear(math, values, bits, true)
    if (ringFor(current.range) < MAX_RING_BITS) return { current, coarsened: weightBits }
  }
  const { range } = quantiseLinear(math, values, MIN_WEIGHT_BITS)
  throw new MinionnError(
    'BAD_MODEL',
    `widths cannot be proven at stage ${position} ("${math.stage.linear.name}"): its results may reach ${Math.max(-range.low, range.high).toExponential(2)}, ${ringFor(range)} bits with ${MIN_WEIGHT_BITS}-bit weights, and a ring has at most ${MAX_RING_BITS - 1}; narrow the card's input range, or check the layer's bias against its weights`,
  )
}
