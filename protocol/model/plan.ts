/**
 * The plan: the public description of a compiled model, everything but the weights. Both parties derive circuits,
 * packings and message sizes from it, so it is checked in full when it comes from a peer.
 */
import { createHash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import * as digest from 'multiformats/hashes/digest'
import { z } from 'zod'
import { ACTIVATION_FUNCTIONS, type ActivationShape } from '../circuits/activation.js'
import { MinionnError } from '../errors.js'
import {
  MAX_CIRCUIT_INPUTS,
  MAX_PARTS,
  MAX_PLAN_BYTES,
  MAX_RING_BITS,
  MAX_STAGE_TRANSFERS,
  MAX_STAGES,
  MAX_STATES,
  MAX_TENSOR_ELEMENTS,
  MAX_TERMS,
  MAX_WEIGHTS,
  MAX_WINDOW,
} from '../limits.js'
import {
  inputSize,
  outputSize,
  type PoolGeometry,
  poolWindows,
  type Transposition,
  weightCount,
} from '../ring/linear.js'
import { partSize, viewSpan } from '../ring/parts.js'
import { cardSchema, checkCard } from './card.js'
import { MAX_KNOTS } from './fit-pieces.js'
import { elements } from './layers.js'

/** Part of every model id: a change of the wire or of the semantics changes all ids. */
export const PROTOCOL_VERSION = '1.2.0'

const count = z.int().min(1).max(MAX_TENSOR_ELEMENTS)
const shape3 = z.tuple([count, count, count]).readonly()
const pair = z.tuple([count, count]).readonly()
const pads = z.tuple([z.int().min(0), z.int().min(0), z.int().min(0), z.int().min(0)]).readonly()
const pool = z.strictObject({ input: shape3, output: shape3, kernel: pair, strides: pair, pads })
const geometry = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('conv'),
    input: shape3,
    output: shape3,
    kernel: pair,
    strides: pair,
    pads,
    dilations: pair,
    groups: count,
  }),
  z.strictObject({ kind: z.literal('dense'), inputs: count, outputs: count }),
  z.strictObject({ kind: z.literal('identity'), size: count }),
])
const ring = z.int().min(2).max(MAX_RING_BITS)
const int32 = z
  .int()
  .min(-(2 ** 31))
  .max(2 ** 31 - 1)
const operand = z.strictObject({
  shift: z
    .int()
    .min(0)
    .max(MAX_RING_BITS - 1),
  bits: z.int().min(1).max(15),
  saturate: z.boolean(),
  signed: z.boolean(),
})
const int = z.int()
const view = z.strictObject({
  offset: z.int().min(0),
  sizes: z.array(count).max(8).readonly(),
  strides: z.array(int).max(8).readonly(),
})
/** A value, or what a view shows of it. */
const from = z
  .int()
  .min(0)
  .max(2 * MAX_STAGES)
const activation = z.strictObject({
  name: z.string().max(1000),
  /** Window of the max, before ReLU. */
  pool: pool.optional(),
  fn: z.enum(ACTIVATION_FUNCTIONS),
  /** Where fn is `pieces`: f(v) on the shifted value (circuits/pieces.ts). */
  pieces: z
    .strictObject({
      offset: int32,
      knots: z.array(int32).max(MAX_KNOTS).readonly(),
      slopes: z
        .array(int32)
        .min(1)
        .max(MAX_KNOTS + 1)
        .readonly(),
      symmetric: z.literal(true).optional(),
    })
    .optional(),
  /** Where fn is `product`: y holds the operands, left and right in turn, one behind the other. */
  terms: z
    .array(z.strictObject({ factor: int32, left: operand, right: operand }))
    .min(1)
    .max(MAX_TERMS)
    .readonly()
    .optional(),
  /** What the pieces stand for, and by how much they differ from it at most. */
  approximates: z.strictObject({ fn: z.string().max(40), error: z.number().min(0) }).optional(),
  shift: z
    .int()
    .min(0)
    .max(MAX_RING_BITS - 1),
  bits: z
    .int()
    .min(0)
    .max(MAX_RING_BITS - 1),
  saturate: z.boolean(),
  /** The circuit yields which values pass, and shares are multiplied outside of it (circuits/activation.ts). */
  select: z.boolean(),
})
const stage = z.strictObject({
  name: z.string().max(1000),
  /** k: shares of y = post(W pre(x) + b) + skips live in Z_{2^k}. */
  ring,
  /**
   * x: values put together, one behind the other. Value 0 is the input, the states follow, then what each stage makes. Factors are
   * those of an identity, 1 for others. Public, applied to shares locally, as are the next three.
   */
  parts: z
    .array(z.union([z.strictObject({ from, view: view.optional(), factor: int32 }), z.strictObject({ zeros: count })]))
    .min(1)
    .max(MAX_PARTS),
  /** x is transposed before all else. */
  transpose: z
    .strictObject({ shape: z.array(count).min(1).max(8).readonly(), perm: z.array(z.int().min(0)).max(8).readonly() })
    .optional(),
  /** Sums of windows of the input before W, and of W x + b after it: public, applied to shares locally. */
  pre: pool.optional(),
  linear: geometry,
  post: pool.optional(),
  /** Values added to y, times a factor each. */
  skips: z.array(z.strictObject({ from, view: view.optional(), factor: int32 })).max(MAX_PARTS),
  /** The garbled stage behind; the last stage has none. */
  activation: activation.optional(),
})
const planSchema = z.strictObject({
  card: cardSchema,
  input: z.strictObject({
    shape: z.array(count).min(1).max(8),
    /** integer = round(value * scale), within [low, high]. */
    scale: z.number().positive(),
    low: z.int(),
    high: z.int(),
    /** All elements are 0 but one, which is 1. */
    oneHot: z.literal(true).optional(),
  }),
  /** Values that one inference of a session leaves to the next; zeros at first. `next` is the number of the value it becomes. */
  states: z.array(z.strictObject({ name: z.string().max(1000), size: count, next: from })).max(MAX_STATES),
  stages: z.array(stage).min(1).max(MAX_STAGES),
  /** value = integer / scale. */
  output: z.strictObject({ size: count, scale: z.number().positive() }),
})
const manifestSchema = z.strictObject({
  protocol: z.literal(PROTOCOL_VERSION),
  plan: planSchema,
  /** SHA-256 of salt and weights, hex: the host cannot change the weights under an id. */
  commitment: z.string().regex(/^[0-9a-f]{64}$/),
})

export type Plan = z.infer<typeof planSchema>
export type Stage = z.infer<typeof stage>
export type Manifest = z.infer<typeof manifestSchema>

/** A manifest with the bytes that its id is the hash of. */
export interface PublishedModel {
  readonly id: string
  readonly bytes: Uint8Array
  readonly manifest: Manifest
}

const JSON_CODEC = 0x0200
const SHA2_256 = 0x12

function manifestId(bytes: Uint8Array): string {
  const hash = createHash('sha256').update(bytes).digest()
  return CID.createV1(JSON_CODEC, digest.create(SHA2_256, hash)).toString()
}

/** Seals a plan: its bytes and id. */
export function publish(plan: Plan, commitment: string): PublishedModel {
  const manifest: Manifest = { protocol: PROTOCOL_VERSION, plan, commitment }
  const bytes = new TextEncoder().encode(JSON.stringify(manifest))
  return { id: manifestId(bytes), bytes, manifest }
}

/** Parses and checks a manifest from storage or a peer against the id it was asked for. Throws BAD_PEER. */
export function openManifest(bytes: Uint8Array, id: string): PublishedModel {
  if (bytes.length > MAX_PLAN_BYTES) fail(`it has ${bytes.length} bytes, at most ${MAX_PLAN_BYTES} are accepted`)
  if (manifestId(bytes) !== id) fail('its hash is not the model id')
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    fail('it is not JSON')
  }
  const parsed = manifestSchema.safeParse(json)
  if (!parsed.success) fail(`${parsed.error.issues[0].path.join('.')}: ${parsed.error.issues[0].message}`)
  checkPlan(parsed.data.plan)
  return { id, bytes, manifest: parsed.data }
}

function fail(problem: string): never {
  throw new MinionnError('BAD_PEER', `the manifest of the model is not valid: ${problem}`)
}

/** Sizes along one stage. */
export interface StageSizes {
  /** Elements of the stage's input: of r and of the masked input. */
  readonly input: number
  /** Elements of W's input, after `pre`, and of W's output, before `post`. */
  readonly mapInput: number
  readonly mapOutput: number
  /** Elements of y, whose shares the garbled stage takes. */
  readonly output: number
  /** Circuit instances; 0 for the last stage. */
  readonly instances: number
}

export function stageSizes(s: Stage): StageSizes {
  const mapInput = inputSize(s.linear)
  const mapOutput = outputSize(s.linear)
  const output = s.post === undefined ? mapOutput : elements(s.post.output)
  const instances =
    s.activation === undefined
      ? 0
      : s.activation.terms !== undefined
        ? output / (2 * s.activation.terms.length)
        : s.activation.pool === undefined
          ? output
          : elements(s.activation.pool.output)
  return { input: s.pre === undefined ? mapInput : elements(s.pre.input), mapInput, mapOutput, output, instances }
}

/** The circuit of stage i's activation. */
export function activationShape(plan: Plan, i: number): ActivationShape {
  const { ring: ringIn, activation: a } = plan.stages[i]
  if (a === undefined) throw new Error(`stage ${i} has no activation`)
  return {
    window: a.terms !== undefined ? 2 * a.terms.length : a.pool === undefined ? 1 : a.pool.kernel[0] * a.pool.kernel[1],
    fn: a.fn,
    ...(a.pieces && { pieces: a.pieces }),
    ...(a.terms && { terms: a.terms }),
    shift: a.shift,
    bits: a.bits,
    saturate: a.saturate,
    ringIn,
    ringOut: valueRing(plan, resultOf(plan, i)),
    select: a.select,
  }
}

/**
 * For each circuit instance, the elements of y it takes, [instance][window]. Padding repeats an element of the window,
 * which leaves the largest as it is.
 */
export function activationInputs(s: Stage): Int32Array {
  const known = inputsOfStage.get(s) ?? findActivationInputs(s)
  inputsOfStage.set(s, known)
  return known
}

const inputsOfStage = new WeakMap<Stage, Int32Array>()

function findActivationInputs(s: Stage): Int32Array {
  const p = s.activation?.pool
  if (s.activation?.terms !== undefined) {
    const [window, instances] = [2 * s.activation.terms.length, stageSizes(s).instances]
    return Int32Array.from({ length: window * instances }, (_, n) => (n % window) * instances + Math.floor(n / window))
  }
  if (p === undefined) return Int32Array.from({ length: stageSizes(s).output }, (_, i) => i)
  const windows = poolWindows(p)
  const size = p.kernel[0] * p.kernel[1]
  for (let from = 0; from < windows.length; from += size) {
    const first = windows.subarray(from, from + size).find((index) => index >= 0)
    if (first === undefined) fail('a max-pool window sees padding alone')
    for (let i = from; i < from + size; i++) if (windows[i] < 0) windows[i] = first
  }
  return windows
}

/** Stages whose weights are secret, so that they need triples. */
export function needsTriples(s: Stage): boolean {
  return s.linear.kind !== 'identity'
}

/** Values that are there before the first stage: the input and the states. */
export function inputCount(plan: Pick<Plan, 'states'>): number {
  return 1 + plan.states.length
}

/** The number of the value that stage i makes. */
export function resultOf(plan: Pick<Plan, 'states'>, i: number): number {
  return inputCount(plan) + i
}

/** Elements of value j. */
export function valueSize(plan: Plan, j: number): number {
  if (j === 0) return elements(plan.input.shape)
  const inputs = inputCount(plan)
  return j < inputs ? plan.states[j - 1].size : stageSizes(plan.stages[j - inputs]).instances
}

/** The values that a stage takes. */
export function takenBy(s: Stage): number[] {
  return [...s.parts.flatMap((part) => ('from' in part ? part.from : [])), ...s.skips.map((skip) => skip.from)]
}

/**
 * The rings that shares of the values live in: the widest of the stages that take it, and of the state that it becomes.
 */
export function valueRings(plan: {
  readonly states: readonly { next: number }[]
  readonly stages: readonly Stage[]
}): number[] {
  const rings = Array.from({ length: 1 + plan.states.length + plan.stages.length }, () => 2)
  for (const s of plan.stages) for (const value of takenBy(s)) rings[value] = Math.max(rings[value], s.ring)
  // A state may become another one.
  for (const _ of plan.states) {
    plan.states.forEach(({ next }, i) => {
      rings[next] = Math.max(rings[next], rings[1 + i])
    })
  }
  return rings
}

/** The ring that shares of value j live in. */
export function valueRing(plan: Plan, j: number): number {
  let rings = ringsOfValues.get(plan)
  if (rings === undefined) {
    rings = valueRings(plan)
    ringsOfValues.set(plan, rings)
  }
  return rings[j]
}

const ringsOfValues = new WeakMap<Plan, number[]>()

/** The ring of the triples: the widest of the plan, since 2^k divides 2^K. */
export function tripleRing(plan: Plan): number {
  return Math.max(...plan.stages.map((s) => s.ring))
}

function checkPool(p: PoolGeometry, expected: number): void {
  if (elements(p.input) !== expected) fail(`a pool takes ${elements(p.input)} elements where ${expected} come`)
  if (p.output[0] !== p.input[0]) fail('a pool changes the number of channels')
  if (p.kernel[0] * p.kernel[1] > MAX_WINDOW) fail(`a window has more than ${MAX_WINDOW} elements`)
  for (const axis of [0, 1] as const) {
    const length = p.input[1 + axis]
    const last = (p.output[1 + axis] - 1) * p.strides[axis] - p.pads[axis]
    if (p.pads[axis] >= p.kernel[axis] || last >= length) fail('a pool has windows that see no element')
  }
  if (elements(p.output) * p.kernel[0] * p.kernel[1] > MAX_TENSOR_ELEMENTS) fail('a pool has too many window elements')
}

function checkFunction({ activation: a, ring }: Stage, i: number): void {
  if (a === undefined) return
  if ((a.fn === 'pieces') !== (a.pieces !== undefined))
    fail(`stage ${i}'s activation lacks its pieces or has none to have`)
  if ((a.fn === 'product') !== (a.terms !== undefined))
    fail(`stage ${i}'s activation lacks its terms or has none to have`)
  if ((a.fn === 'product' || a.fn === 'reshare') && (a.shift > 0 || a.saturate || a.pool !== undefined))
    fail(`stage ${i} shifts, clamps or pools what it cannot`)
  // Weights of projections are exact in doubles, and mod 2^32 what they say.
  if ((a.fn === 'square' || a.fn === 'pieces') && a.bits > 15) fail(`stage ${i}'s activation takes more than 16 bits`)
  for (const x of a.terms?.flatMap(({ left, right }) => [left, right]) ?? []) {
    // The sign is a bit of the sum.
    if (x.shift + x.bits >= ring) fail(`stage ${i} has operands of more bits than its ring`)
  }
  if (a.pieces === undefined) return
  const { knots, slopes, symmetric } = a.pieces
  if (symmetric && knots.some((knot) => knot < 0)) fail(`stage ${i}'s pieces do not make a function`)
  const inside = knots.every((knot, j) => Math.abs(knot) < 2 ** a.bits && (j === 0 || knot > knots[j - 1]))
  if (slopes.length !== knots.length + 1 || !inside || slopes.every((slope) => slope === 0)) {
    fail(`stage ${i}'s pieces do not make a function`)
  }
}

function checkTransposition({ shape, perm }: Transposition, expected: number): void {
  if (elements(shape) !== expected) fail(`a transposition takes ${elements(shape)} elements where ${expected} come`)
  if (perm.length !== shape.length || !shape.every((_, d) => perm.includes(d))) fail('a transposition is not one')
}

/** Checks the views of values of these sizes. */
function checkViews(s: Stage, i: number, sizes: readonly number[]): void {
  for (const part of [...s.parts, ...s.skips]) {
    if ('zeros' in part) continue
    if (part.from >= sizes.length) fail(`stage ${i} takes a value that is not there yet`)
    if (part.view === undefined) continue
    if (part.view.sizes.length !== part.view.strides.length || elements(part.view.sizes) > MAX_TENSOR_ELEMENTS)
      fail(`stage ${i} has a view that is none`)
    const [low, high] = viewSpan(part.view)
    if (low < 0 || high >= sizes[part.from]) fail(`stage ${i} looks beyond a value`)
  }
}

function checkPlan(plan: Plan): void {
  const values = [elements(plan.input.shape), ...plan.states.map((state) => state.size)]
  if (values[0] > MAX_TENSOR_ELEMENTS) fail('the input is too large')
  if (values.reduce((sum, size) => sum + size, 0) > 2 * MAX_TENSOR_ELEMENTS) fail('the states are too large')
  if (plan.input.low >= plan.input.high || plan.input.low < -(2 ** 31) || plan.input.high >= 2 ** 31)
    fail('its input range is not valid')
  plan.stages.forEach((s, i) => {
    const sizes = stageSizes(s)
    checkViews(s, i, values)
    const size = (part: Stage['parts'][number]) => partSize(part, (j) => values[j])
    if (s.skips.some((skip) => size(skip) !== sizes.output)) fail(`stage ${i} adds values of other sizes`)
    if (s.linear.kind !== 'identity' && s.parts.some((part) => 'from' in part && part.factor !== 1))
      fail(`stage ${i} multiplies what is not an identity`)
    const current = s.parts.reduce((sum, part) => sum + size(part), 0)
    if (current > MAX_TENSOR_ELEMENTS) fail(`stage ${i} is too large`)
    if (s.transpose !== undefined) checkTransposition(s.transpose, current)
    if (s.pre !== undefined) checkPool(s.pre, current)
    if (sizes.input !== current) fail(`stage ${i} takes ${sizes.input} elements where ${current} come`)
    if (sizes.mapInput !== (s.pre === undefined ? current : elements(s.pre.output)))
      fail(`stage ${i}'s sizes do not match`)
    if (!Number.isInteger(sizes.instances)) fail(`stage ${i}'s operands are not of one size`)
    if (s.activation?.fn === 'reshare' && s.ring < valueRing(plan, resultOf(plan, i)))
      fail(`stage ${i}'s shares are of a smaller ring than their takers'`)
    const g = s.linear
    if (Math.max(sizes.mapInput, sizes.mapOutput) > MAX_TENSOR_ELEMENTS) fail(`stage ${i} is too large`)
    if (weightCount(g) > MAX_WEIGHTS) fail(`stage ${i} has more than ${MAX_WEIGHTS} weights`)
    if (g.kind === 'conv') {
      if (g.input[0] % g.groups !== 0 || g.output[0] % g.groups !== 0)
        fail(`stage ${i}'s groups do not divide its channels`)
      for (const axis of [0, 1] as const) {
        const extent = (g.kernel[axis] - 1) * g.dilations[axis] + 1
        const steps = (g.input[1 + axis] + g.pads[axis] + g.pads[axis + 2] - extent) / g.strides[axis]
        if (
          steps < 0 ||
          g.output[1 + axis] !== Math.floor(steps) + 1 ||
          g.pads[axis] >= extent ||
          g.pads[axis + 2] >= extent
        ) {
          fail(`stage ${i}'s convolution is not consistent`)
        }
      }
    }
    if (s.post !== undefined) checkPool(s.post, sizes.mapOutput)
    const last = i === plan.stages.length - 1
    if ((s.activation === undefined) !== last) fail('every stage but the last must have an activation')
    if (s.activation?.pool !== undefined) checkPool(s.activation.pool, sizes.output)
    if (s.activation !== undefined && (s.activation.shift >= s.ring || sizes.instances > MAX_TENSOR_ELEMENTS))
      fail(`stage ${i}'s activation is not valid`)
    checkFunction(s, i)
    if (s.activation?.select && (s.activation.fn !== 'relu' || s.activation.pool !== undefined))
      fail(`stage ${i} selects without being a plain ReLU`)
    const argmax = last && plan.card.reveal !== 'outputs'
    const window = argmax ? sizes.output : s.activation === undefined ? 0 : activationShape(plan, i).window
    const inputs = window * s.ring
    const transfers = inputs * (argmax ? 1 : sizes.instances)
    if (inputs > MAX_CIRCUIT_INPUTS || transfers > MAX_STAGE_TRANSFERS) {
      fail(
        `stage ${i} needs ${transfers} oblivious transfers, ${inputs} a circuit; the limits are ${MAX_STAGE_TRANSFERS} and ${MAX_CIRCUIT_INPUTS}`,
      )
    }
    values.push(last ? sizes.output : sizes.instances)
  })
  plan.states.forEach(({ name, size, next }, j) => {
    // The last value is the output.
    if (next >= values.length - 1 || values[next] !== size)
      fail(`state ${j} ("${name}") becomes a value of another size`)
  })
  const size = values[values.length - 1]
  if (plan.output.size !== size) fail(`it ends with ${size} values instead of ${plan.output.size}`)
  try {
    checkCard(plan.card, plan.input.shape, plan.output.size)
  } catch (error) {
    fail((error as Error).message)
  }
}
