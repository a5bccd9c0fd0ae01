/**
 * Quantisation with proof: from a real-valued Network to a Plan and integer weights.
 *
 * Values are integers with one real scale a stage. Weights get `weightBits`; activations are shifted right so that the
 * largest seen in calibration keeps `activationBits`. Bounds are propagated from the declared input range through the
 * weights' positive and negative sums: each stage's ring is the narrowest that provably holds every intermediate
 * result. Where the proven range of an activation outgrows what calibration saw, the stage either saturates inside its
 * circuit or the next ring widens, whichever costs fewer bytes over the network as a whole.
 */
import { randomBytes } from 'node:crypto'
import { type ActivationFunction, type ActivationShape, activationCircuit, type Term } from '../circuits/activation.js'
import { type Pieces, piecesRange } from '../circuits/pieces.js'
import { MinionnError } from '../errors.js'
import { floodingSecurity, STATISTICAL_BITS } from '../homomorphic/flooding.js'
import { MAX_RING_BITS, MAX_STAGES } from '../limits.js'
import { type LinearGeometry, outputSize, type PoolGeometry } from '../ring/linear.js'
import { partNumbers } from '../ring/parts.js'
import { calibrationInputs } from './calibration.js'
import { type Card, inputRange, normalisation } from './card.js'
import { type Fit, fitPieces } from './fit-pieces.js'
import { runFloatStep } from './float.js'
import { bentRange, isSymmetric, type ScalarFunction } from './functions.js'
import {
  type ActivationLayer,
  activationSize,
  linearSize,
  type Network,
  type NetworkStage,
  networkValueSize,
} from './layers.js'
import { type Plan, publish, type Stage, tripleRing, valueRings } from './plan.js'
import { commitmentOf, type HostedModel, type StageWeights } from './weights.js'

export interface Precision {
  /** Bits of a typical weight: the root mean square of a layer is 2^(weightBits - 4). */
  readonly weightBits: number
  /** Bits that the largest calibrated activation keeps. */
  readonly activationBits: number
  /** Largest error of an activation that linear pieces approximate, times the root of its largest value where that exceeds 1. */
  readonly tolerance: number
}

/** Measured by `npm run bench:accuracy`: within 0.1 point of the float model on every network of docs/ACCURACY.md. */
export const DEFAULT_PRECISION: Precision = { weightBits: 9, activationBits: 9, tolerance: 0.005 }

/** Precisions by name: less for fewer bytes, more where the default is not enough. */
export const PRECISIONS: Readonly<Record<string, Precision>> = {
  low: { weightBits: 7, activationBits: 7, tolerance: 0.01 },
  default: DEFAULT_PRECISION,
  high: { weightBits: 11, activationBits: 11, tolerance: 0.002 },
}

/** A precision by name, or as weight bits / activation bits. Throws BAD_INPUT. */
export function parsePrecision(text: string): Precision {
  const named = Object.hasOwn(PRECISIONS, text) ? PRECISIONS[text] : undefined
  if (named !== undefined) return named
  const bits = /^(\d{1,2})\/(\d{1,2})$/.exec(text)?.slice(1).map(Number) ?? []
  if (bits.length === 2 && bits.every((b) => b >= MIN_WEIGHT_BITS && b <= MAX_PRECISION_BITS)) {
    return { ...DEFAULT_PRECISION, weightBits: bits[0], activationBits: bits[1] }
  }
  throw new MinionnError(
    'BAD_INPUT',
    `"${text}" is no precision: ${Object.keys(PRECISIONS).join(', ')} or weight bits / activation bits from ${MIN_WEIGHT_BITS} to ${MAX_PRECISION_BITS}, such as 9/9, is expected`,
  )
}

/** Levels of an input whose natural step is unknown. */
const INPUT_BITS = 10
/** Saturation leaves this many bits above the largest value calibration saw. */
const HEADROOM_BITS = 2
/** Extra weight bits of the last layer, whose width no garbled stage pays for. */
const LAST_WEIGHT_BITS = 4
/** Bits of a squared value, or of one that pieces take, besides the sign: AND gates grow with their square. */
const MAX_FUNCTION_BITS = 12
/** Bits of a product's operand beyond those of other activations, and at most: its rounding is all that is lost. */
const OPERAND_BITS = 1
const MAX_OPERAND_BITS = 14
/** Bits that a square may give up for a ring of 32. */
const MAX_SQUARE_BITS_LOST = 4
/** Bits of a piecewise-linear function's value beyond those of other activations: as few as its error allows. */
const EXTRA_OUTPUT_BITS = [4, 8] as const
/** Ways to go on that are kept at every stage. */
const BEAM = 8
/** Least whole number that a skipped value is multiplied by: the rounding of the others' factors is half of its inverse. */
const MIN_SKIP_FACTOR = 128
/** Weights are made coarser down to this before a model is refused. */
const MIN_WEIGHT_BITS = 5
/** More would not fit rings of 32 bits beside any layer. */
const MAX_PRECISION_BITS = 16

/** A closed range of integers. */
interface Range {
  readonly low: number
  readonly high: number
}

interface QuantisedLinear {
  readonly secret: StageWeights
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
function ringFor({ low, high }: Range): number {
  let bits = 2
  while (low < -(2 ** (bits - 1)) || high >= 2 ** (bits - 1)) bits++
  return bits
}

function area(pool: PoolGeometry | undefined): number {
  return pool === undefined ? 1 : pool.kernel[0] * pool.kernel[1]
}

/** A value of the network as the stages so far make it: bounds, and value * scale = integer. */
interface Quantised extends Range {
  readonly scale: number
  /** All elements are 0 but one, which is 1. */
  readonly oneHot?: boolean
}

/** Zeros that fill up. */
const ZEROS: Quantised = { low: 0, high: 0, scale: 0 }

/** The range that sums of a window of x, or x times a factor, lie in, zero included: padding, and parts that are not there. */
function times(x: Range, factor: number): Range {
  const ends = [factor * Math.min(0, x.low), factor * Math.max(0, x.high)]
  return { low: Math.min(...ends), high: Math.max(...ends) }
}

/**
 * The scale that several values of scales `units` get to by whole factors: the largest where it is a multiple of all, and otherwise
 * fine enough for all, at least `wanted`, and exact for the first.
 */
function commonScale(units: readonly number[], wanted: number): number {
  const largest = Math.max(...units, wanted)
  if (units.every((unit) => Number.isInteger(largest / unit))) return largest
  const least = Math.max(wanted, largest * MIN_SKIP_FACTOR)
  return Math.ceil(least / units[0]) * units[0]
}

/** What the compiler asks again and again of one stage's weights. */
class StageMath {
  readonly stage: NetworkStage
  /** For each column of a row of weights the part it belongs to; the same for all rows unless there are groups. */
  readonly #partOf: (row: number, column: number) => number
  readonly #rootMeanSquares: readonly number[]
  readonly #quantised = new Map<string, { weights: Int32Array; sums: RowSums }>()

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

  /** Integer weights where those on part p are multiplied by scales[p], and sums and extremes of each row, part by part. */
  quantised(scales: readonly number[]): { weights: Int32Array; sums: RowSums } {
    const key = scales.join()
    const known = this.#quantised.get(key)
    if (known !== undefined) return known
    const real = this.stage.linear.weights
    const rows = weightRows(this.stage.linear.geometry)
    const columns = real.length / rows
    const weights = new Int32Array(real.length)
    const parts = scales.length
    const make = () => new Float64Array(rows * parts)
    const sums: RowSums = { positive: make(), negative: make(), least: make(), largest: make() }
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const i = row * columns + column
        const p = this.#partOf(row, column)
        const w = Math.round(real[i] * scales[p])
        weights[i] = w
        const at = row * parts + p
        if (w > 0) sums.positive[at] += w
        else sums.negative[at] += w
        if (w < sums.least[at]) sums.least[at] = w
        if (w > sums.largest[at]) sums.largest[at] = w
      }
    }
    const made = { weights, sums }
    this.#quantised.set(key, made)
    return made
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
function quantiseLinear(math: StageMath, values: readonly Quantised[], weightBits: number): QuantisedLinear {
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
  let secret: Int32Array = new Int32Array(0)
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
    const wanted = parts.map((part, p) => {
      const rms = math.rootMeanSquare(p)
      return rms === 0 ? 0 : (part.scale * before * after * 2 ** (weightBits - 4)) / rms
    })
    // A power of two, so that values that meet in a sum or side by side are exact multiples of each other.
    scale = 2 ** Math.round(Math.log2(Math.max(...wanted) || units[0]))
    if (skips.length > 0) scale = commonScale(skips, scale)
    const { weights, sums } = math.quantised(
      parts.map((part) => (part.scale === 0 ? 0 : scale / (part.scale * before * after))),
    )
    secret = weights
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
  return { secret: { weights: secret, bias: Int32Array.from(bias) }, range, scale, partFactors, factors, operands: [] }
}

/** A product's y: its operands, a part each, as they are. */
function quantiseOperands(stage: NetworkStage, operands: readonly Quantised[]): QuantisedLinear {
  const bias = new Int32Array(linearSize(stage))
  const range = { low: Math.min(0, ...operands.map((x) => x.low)), high: Math.max(0, ...operands.map((x) => x.high)) }
  const secret = { weights: new Int32Array(0), bias }
  return { secret, range, scale: 1, partFactors: operands.map(() => 1), factors: [], operands }
}

/** Rows of the weights: outputs, or filters of a convolution. */
function weightRows(g: LinearGeometry): number {
  return g.kind === 'identity' ? 0 : g.kind === 'dense' ? g.outputs : g.output[0]
}

function stageOf({ parts, linear, skips }: NetworkStage, q: QuantisedLinear, ring: number): Stage {
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

/** Input scale: pixels stay exact where the card tells how they are normalised. */
function inputScale(card: Card): number {
  if (card.input.kind === 'one-hot') return 1
  const [low, high] = inputRange(card)
  const largest = Math.max(Math.abs(low), Math.abs(high))
  if (card.input.kind === 'image' && card.input.range === undefined) {
    const { mean, std } = normalisation(card.input)
    const step = card.input.scale / std[0]
    if (std.every((s) => s === std[0])) return mean.every((m) => m === 0) ? Math.abs(1 / step) : Math.abs(4 / step)
  }
  if (card.input.kind === 'image' && low === 0) {
    const step = card.input.scale
    const { mean, std } = normalisation(card.input)
    if (mean.every((m) => m === 0) && std.every((s) => s === 1) && Math.round(high / step) <= 2 ** INPUT_BITS)
      return 1 / step
  }
  return (2 ** (INPUT_BITS - 1) - 1) / largest
}

export interface CompileOptions {
  readonly precision?: Precision
  /** Inputs typical of use, in the model's units; synthetic ones otherwise. */
  readonly samples?: readonly Float64Array[]
  /** Called as calibration goes on, 0 to 1. */
  readonly progress?: (done: number) => void
}

/** What calibration saw of a stage: largest absolute values after its activation and before it, of a product's operands each. */
interface Seen {
  readonly before: readonly number[]
  readonly after: number
}

/** Runs the calibration inputs; where there are states, as one session after the other. */
function calibrate(
  network: Network,
  sessions: readonly (readonly Float64Array[])[],
  progress?: (done: number) => void,
): Seen[] {
  const largest: Seen[] = network.stages.map(() => ({ before: [], after: 0 }))
  const most = (values: Float64Array, least = 0) => values.reduce((max, v) => Math.max(max, Math.abs(v)), least)
  const count = sessions.reduce((sum, session) => sum + session.length, 0)
  let done = 0
  for (const session of sessions) {
    let states: readonly Float64Array[] | undefined
    for (const input of session) {
      const watch = (i: number, before: Float64Array, after: Float64Array) => {
        const blocks = Math.max(1, 2 * (network.stages[i].activation?.signs.length ?? 0))
        const size = before.length / blocks
        largest[i] = {
          before: Array.from({ length: blocks }, (_, b) =>
            most(before.subarray(b * size, (b + 1) * size), largest[i].before[b]),
          ),
          after: most(after, largest[i].after),
        }
      }
      states = runFloatStep(network, input, states, watch).states
      progress?.(++done / count)
    }
  }
  return largest
}

/** Times that a recurrent network is compiled until the states come out as they went in, the first with bounds as they are. */
const MAX_STATE_ROUNDS = 16
const PLAIN_STATE_ROUNDS = 4

/**
 * Compiles a network. Throws BAD_MODEL where no ring of 32 bits can be proven to hold a stage, or where a state does not come out of
 * an inference with the scale and within the bounds that it goes into the next with.
 */
export function compileNetwork(network: Network, card: Card, options: CompileOptions = {}): HostedModel {
  const precision = options.precision ?? DEFAULT_PRECISION
  if (network.stages.length > MAX_STAGES) {
    throw new MinionnError(
      'BAD_MODEL',
      `the network has ${network.stages.length} stages; at most ${MAX_STAGES} are supported`,
    )
  }
  const [low, high] = inputRange(card)
  const scale = inputScale(card)
  const oneHot = card.input.kind === 'one-hot'
  const input: Quantised = {
    low: Math.round(low * scale),
    high: Math.round(high * scale),
    scale,
    ...(oneHot && { oneHot }),
  }
  const samples = options.samples ?? calibrationInputs(network.inputShape, low, high, oneHot)
  const sessions = network.states.length > 0 ? [samples] : samples.map((sample) => [sample])
  const largest = calibrate(network, sessions, options.progress)
  const maths = network.stages.map((stage) => new StageMath(network, stage))
  // What a state is like before an inference is what it is like behind the one before.
  let states = network.states.map((): Quantised => ({ low: 0, high: 0, scale: 1 }))
  for (let round = 0; round < MAX_STATE_ROUNDS; round++) {
    const path = compilePath(network, maths, largest, precision, card.approximations, [input, ...states])
    const next = network.states.map((state) => path.values[state.next])
    const same = (s: number) => next[s].scale === states[s].scale
    const within = (s: number) => same(s) && next[s].low >= states[s].low && next[s].high <= states[s].high
    if (next.every((_, s) => within(s))) return seal(network, card, path, [input, ...states], maths)
    // Bounds that keep growing are doubled, so that they soon meet where something clamps them.
    const growth = round < PLAIN_STATE_ROUNDS ? 1 : 2
    states = next.map((value, s) => {
      if (!same(s) || within(s)) return same(s) ? states[s] : value
      return {
        scale: value.scale,
        low: growth * Math.min(value.low, states[s].low),
        high: growth * Math.max(value.high, states[s].high),
      }
    })
  }
  throw new MinionnError(
    'BAD_MODEL',
    `the states ${network.states.map((state) => state.name).join(', ')} do not settle: each inference would need wider numbers than the one before; a bounded function such as Tanh or Sigmoid is expected in the recurrence`,
  )
}

/** The best way to compile all stages on inputs and states as given. */
function compilePath(
  network: Network,
  maths: readonly StageMath[],
  largest: readonly Seen[],
  precision: Precision,
  approximations: Card['approximations'],
  values: readonly Quantised[],
): Path {
  const { stages: all } = network
  const bitsOf = (i: number) => precision.weightBits + (i === all.length - 1 ? LAST_WEIGHT_BITS : 0)
  let paths: Path[] = [{ stages: [], secrets: [], bytes: 0, values, ...provenLinear(maths[0], values, bitsOf(0), 0) }]
  for (let i = 0; i + 1 < all.length; i++) {
    paths = extendPaths(paths, {
      stage: all[i],
      activation: all[i].activation!,
      next: maths[i + 1],
      seen: largest[i],
      tolerance: precision.tolerance,
      approximations,
      activationBits: precision.activationBits,
      weightBits: bitsOf(i + 1),
      position: i + 1,
    })
  }
  return paths.reduce(cheaper)
}

/** The model of a path: the last stage added, and the rings of shares that are only shared anew. */
function seal(
  network: Network,
  card: Card,
  path: Path,
  inputs: readonly Quantised[],
  maths: readonly StageMath[],
): HostedModel {
  const { stages: hidden, secrets: earlier, current } = path
  const last = stageOf(maths[maths.length - 1].stage, current, ringFor(current.range))
  const secrets = [...earlier, current.secret]
  const [{ scale, low, high, oneHot }] = inputs
  const plan: Plan = {
    card,
    input: { shape: [...network.inputShape], scale, low, high, ...(oneHot && { oneHot }) },
    states: network.states.map(({ name, size, next }) => ({ name, size, next })),
    stages: withReshareRings(network, [...hidden, last]),
    output: { size: network.outputSize, scale: current.scale },
  }
  checkFlooding(plan, secrets)
  const secret = { salt: randomBytes(32), stages: secrets }
  return { published: publish(plan, commitmentOf(secret)), secret }
}

/** Shares that are only shared anew must be of the ring that their value's takers want. */
function withReshareRings(network: Network, stages: readonly Stage[]): Stage[] {
  const inputs = 1 + network.states.length
  let current = [...stages]
  // Rings only grow, and at most to the widest there is.
  for (;;) {
    const rings = valueRings({ states: network.states, stages: current })
    const wider = current.map((s, i) =>
      s.activation?.fn === 'reshare' && s.ring < rings[inputs + i] ? { ...s, ring: rings[inputs + i] } : s,
    )
    if (wider.every((s, i) => s === current[i])) return current
    current = wider
  }
}

/** Refuses weights so large that a response's noise would tell of them. */
function checkFlooding(plan: Plan, secrets: readonly StageWeights[]): void {
  const ring = tripleRing(plan)
  let results = 0
  let squaredNorm = 0
  plan.stages.forEach((s, i) => {
    if (s.linear.kind === 'identity') return
    results += outputSize(s.linear)
    const { weights } = secrets[i]
    const row = weights.length / weightRows(s.linear)
    for (let from = 0; from < weights.length; from += row) {
      squaredNorm = Math.max(
        squaredNorm,
        weights.subarray(from, from + row).reduce((sum, w) => sum + w * w, 0),
      )
    }
  })
  if (results === 0) return
  const security = floodingSecurity(ring, squaredNorm, results)
  if (security >= STATISTICAL_BITS) return
  throw new MinionnError(
    'BAD_MODEL',
    `circuit privacy would fall to ${security.toFixed(0)} bits, ${STATISTICAL_BITS} are needed: ${results} results in rings of ${ring} bits with integer weights of L2 norm ${Math.sqrt(squaredNorm).toFixed(0)}; narrow the card's input range`,
  )
}

function withOffset(range: Range, shift: number): Range {
  const offset = shift > 0 ? 2 ** (shift - 1) : 0
  return { low: range.low + offset, high: range.high + offset }
}

/** The linear layer at the finest weights, from `weightBits` down, whose result a ring can be proven to hold. */
function provenLinear(
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
  const { range } = quantiseLinear(math, values, MIN_WEIGHT_BITS)
  throw new MinionnError(
    'BAD_MODEL',
    `widths cannot be proven at stage ${position} ("${math.stage.linear.name}"): its results may reach ${Math.max(-range.low, range.high).toExponential(2)}, ${ringFor(range)} bits with ${MIN_WEIGHT_BITS}-bit weights, and a ring has at most ${MAX_RING_BITS - 1}; narrow the card's input range, or check the layer's bias against its weights`,
  )
}

/** One way to do an activation: its circuit's parameters, and what comes out. */
interface Way {
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

/** The ways to do an activation behind a linear layer. */
function waysOf(q: QuantisedLinear, step: Step): Way[] {
  const { fn, pool } = step.activation
  // A layer that calibration saw dead keeps precision by its proven range instead.
  const top = (largest: number) => (largest > 0 ? largest * q.scale : Math.max(-q.range.low, q.range.high, 1))
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
  return [0, 1, 2].flatMap((lost) => {
    let ring = 2
    const operands = q.operands.map((x, p) => {
      const seen = step.seen.before[p]
      const top = seen > 0 ? seen * x.scale : Math.max(-x.low, x.high, 1)
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

/** One way to have compiled the stages so far. */
interface Path {
  readonly stages: readonly Stage[]
  readonly secrets: readonly StageWeights[]
  /** The values that are there: the input, and what each stage made. */
  readonly values: readonly Quantised[]
  /** The linear layer whose activation is next. */
  readonly current: QuantisedLinear
  /** Weight bits given up so far to fit the widest ring. */
  readonly coarsened: number
  /** On the wire, online, so far. */
  readonly bytes: number
}

interface Step {
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

/** Precision first, then bytes. */
function cheaper(best: Path, path: Path): Path {
  if (path.coarsened !== best.coarsened) return path.coarsened < best.coarsened ? path : best
  return path.bytes < best.bytes ? path : best
}

/**
 * Each path goes on in up to two ways: the activation's proven range widens the next ring, or the circuit saturates.
 * The best BEAM paths stay, since what is cheap here may be dear further on.
 */
function extendPaths(paths: readonly Path[], step: Step): Path[] {
  const { stage, activation, next, position } = step
  const instances = activationSize(stage)
  const extended: Path[] = []
  let refusal: unknown
  for (const path of paths) {
    for (const way of waysOf(path.current, step)) {
      const { fn, pieces, approximates, terms, shift, bits, saturate, lost, ring } = way
      try {
        const values = [...path.values, { ...way.range, scale: way.scale }]
        const { current, coarsened } = provenLinear(next, values, step.weightBits, position)
        const { name, pool } = activation
        const ringOut = ringFor(current.range)
        const window = terms === undefined ? area(pool) : 2 * terms.length
        const extras = { ...(pieces && { pieces }), ...(terms && { terms }) }
        const base = { window, fn, ...extras, shift, bits, saturate, ringIn: ring, ringOut }
        const shapes: ActivationShape[] = [{ ...base, select: false }]
        if (fn === 'relu' && pool === undefined) shapes.push({ ...base, select: true })
        const [shape, cost] = shapes
          .map((shape) => [shape, instanceBytes(shape)] as const)
          .reduce((best, other) => (other[1] < best[1] ? other : best))
        const { select } = shape
        extended.push({
          stages: [
            ...path.stages,
            {
              ...stageOf(stage, path.current, ring),
              activation: {
                name,
                pool,
                fn,
                ...extras,
                ...(approximates && { approximates }),
                shift,
                bits,
                saturate,
                select,
              },
            },
          ],
          secrets: [...path.secrets, path.current.secret],
          values,
          current,
          coarsened: path.coarsened + coarsened + lost,
          bytes: path.bytes + instances * cost,
        })
      } catch (error) {
        refusal = error
      }
    }
  }
  if (extended.length === 0) throw refusal
  return extended.sort((a, b) => (cheaper(a, b) === a ? -1 : 1)).slice(0, BEAM)
}

/** Bytes of one element: tables, oblivious transfers, projections, selection and the returned share. */
function instanceBytes(shape: ActivationShape): number {
  if (shape.fn === 'reshare') return shape.ringOut / 8
  const { andGates, evaluatorInputs, outputs } = activationCircuit(shape)
  const element = shape.ringOut / 8
  const selection = shape.select ? 4 + element : 0
  return andGates * 32 + evaluatorInputs * 4 + (outputs.length + 1) * element + selection
}
