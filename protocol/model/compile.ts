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
import { type ActivationShape, activationCircuit } from '../circuits/activation.js'
import { MinionnError } from '../errors.js'
import { floodingSecurity, STATISTICAL_BITS } from '../homomorphic/flooding.js'
import { MAX_STAGES } from '../limits.js'
import { outputSize } from '../ring/linear.js'
import { calibrationInputs } from './calibration.js'
import { type Card, inputRange, normalisation } from './card.js'
import { runFloatStep } from './float.js'
import { activationSize, type Network } from './layers.js'
import { type Plan, publish, type Stage, tripleRing, valueRings } from './plan.js'
import { DEFAULT_PRECISION, type Precision } from './precision.js'
import {
  area,
  provenLinear,
  type Quantised,
  type QuantisedLinear,
  ringFor,
  StageMath,
  stageOf,
  weightRows,
} from './quantise.js'
import { withRescaledProducts } from './requantise.js'
import { type Seen, type Step, waysOf } from './ways.js'
import { commitmentOf, type HostedModel, type StageWeights } from './weights.js'

/** Levels of an input whose natural step is unknown. */
const INPUT_BITS = 10
/** Extra weight bits of the last layer, whose width no garbled stage pays for. */
const LAST_WEIGHT_BITS = 4
/** Ways to go on that are kept at every stage. */
const BEAM = 8

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
  try {
    return compileAsIs(network, card, options)
  } catch (error) {
    const rescaled = withRescaledProducts(network)
    if (!(error instanceof MinionnError) || rescaled === undefined) throw error
    return compileAsIs(rescaled, card, options)
  }
}

function compileAsIs(network: Network, card: Card, options: CompileOptions): HostedModel {
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
  const secrets = [...earlier, current.secret].map((make) => make())
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

/** One way to have compiled the stages so far. */
interface Path {
  readonly stages: readonly Stage[]
  readonly secrets: readonly (() => StageWeights)[]
  /** The values that are there: the input, and what each stage made. */
  readonly values: readonly Quantised[]
  /** The linear layer whose activation is next. */
  readonly current: QuantisedLinear
  /** Weight bits given up so far to fit the widest ring. */
  readonly coarsened: number
  /** On the wire, online, so far. */
  readonly bytes: number
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
