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
import { type ActivationFunction, type ActivationShape, activationCircuit } from '../circuits/activation.js'
import { type Pieces, piecesRange } from '../circuits/pieces.js'
import { MinionnError } from '../errors.js'
import { floodingSecurity, STATISTICAL_BITS } from '../homomorphic/flooding.js'
import { MAX_RING_BITS, MAX_STAGES } from '../limits.js'
import { type LinearGeometry, outputSize, type PoolGeometry } from '../ring/linear.js'
import { calibrationInputs } from './calibration.js'
import { type Card, inputRange, normalisation } from './card.js'
import { type Fit, fitPieces } from './fit-pieces.js'
import { runFloat } from './float.js'
import { bentRange, type ScalarFunction } from './functions.js'
import { type ActivationLayer, elements, type LinearLayer, type Network, type NetworkStage } from './layers.js'
import { type Plan, publish, type Stage, tripleRing } from './plan.js'
import { roundingOffset } from './reference.js'
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
/** Bits that a square may give up for a ring of 32. */
const MAX_SQUARE_BITS_LOST = 4
/** Bits of a piecewise-linear function's value beyond those of other activations: as few as its error allows. */
const EXTRA_OUTPUT_BITS = [4, 8] as const
/** Ways to go on that are kept at every stage. */
const BEAM = 8
/** Least whole number that a skipped value is multiplied by: the rounding of the others' factors is half of its inverse. */
const MIN_SKIP_FACTOR = 32
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
  /** y = value * scale. */
  readonly scale: number
  /** What an identity multiplies its input by, and what the skipped values are multiplied by. */
  readonly factor: number
  readonly factors: readonly number[]
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
}

/** The bound of y for one stage's linear layer and what is added to it, and its integers, at a given weight precision. */
function quantiseLinear(stage: NetworkStage, values: readonly Quantised[], weightBits: number): QuantisedLinear {
  const layer = stage.linear
  const input = values[stage.from]
  const inputScale = input.scale
  const g = layer.geometry
  const scaleIn = inputScale * area(layer.pre)
  const x = { low: Math.min(0, input.low) * area(layer.pre), high: Math.max(0, input.high) * area(layer.pre) }
  const windows = area(layer.post)
  const skipped = stage.skips.map((skip) => values[skip.from])
  let weightScale = g.kind === 'identity' ? 1 : scaleOfWeights(layer.weights, weightBits)
  if (skipped.length > 0) {
    // Added values are multiplied by whole numbers to get to y's scale: large enough for all, and exact for the first.
    const unit = scaleIn * windows
    const least = Math.max(...skipped.map((v) => v.scale)) * MIN_SKIP_FACTOR
    const wanted = Math.max(weightScale * unit, least)
    weightScale =
      g.kind === 'identity'
        ? Math.ceil(wanted / unit)
        : (Math.max(1, Math.round(wanted / skipped[0].scale)) * skipped[0].scale) / unit
  }
  const weights = Int32Array.from(layer.weights, (w) => Math.round(w * weightScale))
  const scale = scaleIn * weightScale
  const factor = g.kind === 'identity' ? weightScale : 1
  const bias = layer.bias.map((b) => Math.round(b * scale))
  const rows = rowSums(g, weights)
  let low = 0
  let high = 0
  bias.forEach((b, n) => {
    const row = rows[Math.floor((n * rows.length) / bias.length)]
    const [min, max] =
      row === undefined
        ? [x.low * factor, x.high * factor]
        : [row.positive * x.low + row.negative * x.high, row.positive * x.high + row.negative * x.low]
    low = Math.min(low, min + b)
    high = Math.max(high, max + b)
  })
  const factors = stage.skips.map(({ sign }, i) => sign * Math.round((scale * windows) / skipped[i].scale))
  const range = { low: low * windows, high: high * windows }
  factors.forEach((f, i) => {
    const ends = [f * Math.min(0, skipped[i].low), f * Math.max(0, skipped[i].high)]
    range.low += Math.min(...ends)
    range.high += Math.max(...ends)
  })
  return { secret: { weights, bias: Int32Array.from(bias) }, range, scale: scale * windows, factor, factors }
}

/**
 * Integer weights have a root mean square of 2^(weightBits - 4): their rounding error relative to the layer as a whole is then
 * the same for every layer, whatever its largest weight. Their number of bits is bounded by the ring alone.
 */
function scaleOfWeights(weights: Float64Array, weightBits: number): number {
  const square = weights.reduce((sum, w) => sum + w * w, 0) / weights.length
  return square === 0 ? 1 : 2 ** (weightBits - 4) / Math.sqrt(square)
}

/** Sums of the positive and of the negative weights of each output (convolution: of each filter). */
function rowSums(g: LinearGeometry, weights: Int32Array): { positive: number; negative: number }[] {
  const rows = weightRows(g)
  return Array.from({ length: rows }, (_, row) => {
    let positive = 0
    let negative = 0
    const size = weights.length / rows
    for (let i = row * size; i < (row + 1) * size; i++) {
      if (weights[i] > 0) positive += weights[i]
      else negative += weights[i]
    }
    return { positive, negative }
  })
}

/** Rows of the weights: outputs, or filters of a convolution. */
function weightRows(g: LinearGeometry): number {
  return g.kind === 'identity' ? 0 : g.kind === 'dense' ? g.outputs : g.output[0]
}

function stageOf({ from, linear, skips }: NetworkStage, q: QuantisedLinear, ring: number): Stage {
  return {
    name: linear.name,
    ring,
    from,
    transpose: linear.transpose,
    pre: linear.pre,
    linear: linear.geometry,
    factor: q.factor,
    post: linear.post,
    skips: skips.map((skip, i) => ({ from: skip.from, factor: q.factors[i] })),
  }
}

/** Input scale: pixels stay exact where the card tells how they are normalised. */
function inputScale(card: Card): number {
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

/** Largest absolute values before and after every stage's activation, over the calibration inputs. */
function calibrate(
  network: Network,
  inputs: readonly Float64Array[],
  progress?: (done: number) => void,
): { before: number; after: number }[] {
  const largest = network.stages.map(() => ({ before: 0, after: 0 }))
  const most = (values: Float64Array, least: number) => values.reduce((max, v) => Math.max(max, Math.abs(v)), least)
  inputs.forEach((input, n) => {
    runFloat(network, input, (i, before, after) => {
      largest[i] = { before: most(before, largest[i].before), after: most(after, largest[i].after) }
    })
    progress?.((n + 1) / inputs.length)
  })
  return largest
}

/** Compiles a network. Throws BAD_MODEL where no ring of 32 bits can be proven to hold a stage. */
export function compileNetwork(network: Network, card: Card, options: CompileOptions = {}): HostedModel {
  const precision = options.precision ?? DEFAULT_PRECISION
  const [low, high] = inputRange(card)
  const scale = inputScale(card)
  const input: Range = { low: Math.round(low * scale), high: Math.round(high * scale) }
  const samples = options.samples ?? calibrationInputs(network.inputShape, low, high)
  const largest = calibrate(network, samples, options.progress)
  const { stages: all } = network
  if (all.length > MAX_STAGES) {
    throw new MinionnError('BAD_MODEL', `the network has ${all.length} stages; at most ${MAX_STAGES} are supported`)
  }

  const bitsOf = (i: number) => precision.weightBits + (i === all.length - 1 ? LAST_WEIGHT_BITS : 0)
  const values = [{ ...input, scale }]
  let paths: Path[] = [{ stages: [], secrets: [], bytes: 0, values, ...provenLinear(all[0], values, bitsOf(0), 0) }]
  for (let i = 0; i + 1 < all.length; i++) {
    paths = extendPaths(paths, {
      stage: all[i],
      activation: all[i].activation!,
      next: all[i + 1],
      largest: largest[i].after,
      largestBefore: largest[i].before,
      tolerance: precision.tolerance,
      activationBits: precision.activationBits,
      weightBits: bitsOf(i + 1),
      position: i + 1,
    })
  }
  const { stages: hidden, secrets: earlier, current } = paths.reduce(cheaper)
  const stages = [...hidden, stageOf(all[all.length - 1], current, ringFor(current.range))]
  const secrets = [...earlier, current.secret]
  const plan: Plan = {
    card,
    input: { shape: [...network.inputShape], scale, ...input },
    stages,
    output: { size: network.outputSize, scale: current.scale },
  }
  checkFlooding(plan, secrets)
  const secret = { salt: randomBytes(32), stages: secrets }
  return { published: publish(plan, commitmentOf(secret)), secret }
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

function layerOutput(layer: LinearLayer): number {
  return layer.post === undefined ? outputSize(layer.geometry) : elements(layer.post.output)
}

function withOffset(range: Range, shift: number): Range {
  const offset = roundingOffset({ activation: { shift } } as Stage)
  return { low: range.low + offset, high: range.high + offset }
}

/** The linear layer at the finest weights, from `weightBits` down, whose result a ring can be proven to hold. */
function provenLinear(
  stage: NetworkStage,
  values: readonly Quantised[],
  weightBits: number,
  position: number,
): { current: QuantisedLinear; coarsened: number } {
  for (let bits = weightBits; bits >= MIN_WEIGHT_BITS; bits--) {
    const current = quantiseLinear(stage, values, bits)
    // One bit is left for the rounding offset.
    if (ringFor(current.range) < MAX_RING_BITS) return { current, coarsened: weightBits - bits }
  }
  const { range } = quantiseLinear(stage, values, MIN_WEIGHT_BITS)
  throw new MinionnError(
    'BAD_MODEL',
    `widths cannot be proven at stage ${position} ("${stage.linear.name}"): its results may reach ${Math.max(-range.low, range.high).toExponential(2)}, ${ringFor(range)} bits with ${MIN_WEIGHT_BITS}-bit weights, and a ring has at most ${MAX_RING_BITS - 1}; narrow the card's input range, or check the layer's bias against its weights`,
  )
}

/** One way to do an activation: its circuit's parameters, and what comes out. */
interface Way {
  readonly fn: ActivationFunction
  readonly pieces?: Pieces
  readonly approximates?: { readonly fn: string; readonly error: number }
  readonly shift: number
  readonly bits: number
  readonly saturate: boolean
  readonly range: Range
  /** value * scale = integer, after the activation. */
  readonly scale: number
  /** Bits of precision given up. */
  readonly lost: number
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
  const { fn } = step.activation
  // A layer that calibration saw dead keeps precision by its proven range instead.
  const top = (largest: number) => (largest > 0 ? largest * q.scale : Math.max(-q.range.low, q.range.high, 1))
  if (fn === 'square') return squareWays(q, step, top(step.largestBefore))
  if (typeof fn === 'object') return [pieceWay(q, step, fn)]
  const { shift, range } = shiftFor(q, top(step.largest), step.activationBits)
  const scale = q.scale / 2 ** shift
  const signed = fn === 'relu' ? { low: 0, high: range.high } : range
  const ways = [keep(signed, Number.POSITIVE_INFINITY), keep(signed, step.activationBits + HEADROOM_BITS)]
  return (ways[1].saturate ? ways : ways.slice(0, 1)).map((way) => ({ ...way, fn, shift, scale, lost: 0 }))
}

/** Squares have twice the bits, so that fewer of them, and less headroom, are ways as well. */
function squareWays(q: QuantisedLinear, step: Step, top: number): Way[] {
  const ways: Way[] = []
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
function pieceWay(q: QuantisedLinear, step: Step, fn: ScalarFunction): Way {
  const { largestBefore, activationBits, tolerance, activation } = step
  const bent = bentRange(fn, tolerance / 4)
  const seen = largestBefore > 0 ? largestBefore : bent.range
  // Beyond its bends a flat function may be clamped to its last value.
  const reach = bent.flat ? Math.min(seen * 2 ** HEADROOM_BITS, bent.range) : seen
  const { shift, range } = shiftFor(q, reach * q.scale, activationBits)
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
    fit = fitPieces(fn, low, high, scaleIn, scale, allowed)
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
  readonly next: NetworkStage
  /** Largest calibrated absolute values: after the activation, and before it. */
  readonly largest: number
  readonly largestBefore: number
  /** Largest error of an activation that pieces approximate. */
  readonly tolerance: number
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
  const instances = activation.pool === undefined ? layerOutput(stage.linear) : elements(activation.pool.output)
  const extended: Path[] = []
  let refusal: unknown
  for (const path of paths) {
    for (const way of waysOf(path.current, step)) {
      const { fn, pieces, approximates, shift, bits, saturate, lost } = way
      const ring = ringFor(withOffset(path.current.range, shift))
      try {
        const values = [...path.values, { ...way.range, scale: way.scale }]
        const { current, coarsened } = provenLinear(next, values, step.weightBits, position)
        const { name, pool } = activation
        const ringOut = ringFor(current.range)
        const base = { window: area(pool), fn, ...(pieces && { pieces }), shift, bits, saturate, ringIn: ring, ringOut }
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
                ...(pieces && { pieces }),
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

/** Bytes of one circuit: tables, oblivious transfers, projections, selection and the returned share. */
function instanceBytes(shape: ActivationShape): number {
  const { andGates, evaluatorInputs, outputs } = activationCircuit(shape)
  const element = shape.ringOut / 8
  const selection = shape.select ? 4 + element : 0
  return andGates * 32 + evaluatorInputs * 4 + (outputs.length + 1) * element + selection
}
