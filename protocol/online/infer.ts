/**
 * The infer protocol: one oblivious prediction. MiniONN section 5; the paper re-shares inside the circuits, here projections and
 * selections do. Value 0 is the input x, the states s follow, then what each stage makes; r_j is the mask of value j.
 *
 *   client                                      host
 *   InferRequest{bundle, OT session}    ->      burns its half of the bundle durably
 *                                       <-      InferAccept{OT session, hash seed}
 *   [base OTs, once per OT session: 3 messages]
 *   x - r_0                             ->
 *   of each state, old mask less new    ->      adds it to what it keeps, s less the old mask
 *   OT corrections of stage 0           ->
 *   per garbled stage i:
 *     OT corrections of stage i + 1     ->      (while stage i is evaluated)
 *                                       <-      tables of stage i, corrections of its projection and of its selection
 *     elements of the selection         ->      both hold shares of f(y)
 *     its share less the result's mask  ->      adds its own: f(y) less the mask, which the host alone learns
 *   (a stage that only shares anew is this last message alone)
 *                                       <-      the share of the outputs, or argmax and its colours
 *
 * The client burns its half of the bundle durably while it asks, and sends nothing that depends on it before.
 */
import { MinionnError } from '../errors.js'
import { type Plan, resultOf, takenBy, valueRing, valueSize } from '../model/plan.js'
import { argmax, stageLinear } from '../model/reference.js'
import type { HostedModel } from '../model/weights.js'
import {
  BUNDLE_ID_BYTES,
  type ClientBundle,
  clientShare,
  responseMask,
  type ServerBundle,
  valueMask,
} from '../offline/bundle.js'
import { inline, type Offload } from '../offload.js'
import { randomSeed, SEED_BYTES } from '../random.js'
import { packBits, packedBytes, unpackBits } from '../ring/bits.js'
import { addInto, reduceInto, subtractInto, sumPool, toSigned } from '../ring/linear.js'
import { type EvaluatorTransfers, type GarblerTransfers, setupEvaluator, setupGarbler } from '../transfer/ot-pair.js'
import { receiveSelected } from '../transfer/selection.js'
import { type Frames, FrameType } from '../wire/frames.js'
import { InferAccept, InferRequest } from '../wire/messages.js'
import {
  ActiveLabels,
  evaluateStage,
  type GarbledStage,
  garbledStages,
  garbleStage,
  ZeroLabels,
} from './garbled-stage.js'

/** OT sessions of one connection that wait for their next inference. A session is used by one inference at a time. */
export class OtSessions<T> {
  readonly #idle = new Map<number, T>()

  take(id: number): T | undefined {
    const session = this.#idle.get(id)
    this.#idle.delete(id)
    return session
  }

  takeAny(): { id: number; session: T } | undefined {
    const [entry] = this.#idle
    if (entry === undefined) return undefined
    this.#idle.delete(entry[0])
    return { id: entry[0], session: entry[1] }
  }

  put(id: number, session: T): void {
    this.#idle.set(id, session)
  }

  get size(): number {
    return this.#idle.size
  }
}

/** Idle OT sessions a host keeps for one connection; each holds 512 seeds. */
const MAX_IDLE_OT_SESSIONS = 4

/** The outputs as signed integers of scale plan.output.scale, where they are revealed, and the indices of the largest, in order. */
export interface Prediction {
  readonly outputs: Int32Array | undefined
  /** The largest. */
  readonly label: number
  /** As many as are revealed; where all outputs are, the largest alone. */
  readonly labels: readonly number[]
}

/** Garbled stages of a plan by their number, compiled once; undefined where shares are masked anew without a circuit. */
const compiled = new WeakMap<Plan, (GarbledStage | undefined)[]>()
export function stagesOf(plan: Plan): (GarbledStage | undefined)[] {
  let stages = compiled.get(plan)
  if (stages === undefined) {
    stages = garbledStages(plan)
    compiled.set(plan, stages)
  }
  return stages
}

/** The client's end of a recurrent session: how far it is, and the masks of the states that the last inference left. */
export interface ClientSession {
  readonly id: Uint8Array
  readonly step: number
  readonly masks: readonly Uint32Array[]
}

/** A session that begins: states are zeros, and so are their masks. */
export function newSession(plan: Plan): ClientSession {
  return { id: randomSeed(), step: 0, masks: plan.states.map(({ size }) => new Uint32Array(size)) }
}

/** Where a host keeps the states of one model's sessions with one peer: values less masks, of the last steps. */
export interface StateStore {
  /** Those that `step` inferences left; undefined where they are not kept. */
  get(session: string, step: number): Promise<readonly Uint32Array[] | undefined>
  put(session: string, step: number, states: readonly Uint32Array[]): Promise<void>
}

export interface InferOptions {
  /** Goes from 0 to 1. */
  readonly progress?: (done: number) => void
  readonly offload?: Offload
  /** Resolves once the bundle is burned; left out where it is already. */
  readonly burned?: Promise<void>
  /** Of a recurrent model; an inference without one begins with zeros and leaves nothing. */
  readonly session?: ClientSession
}

/** The client's side. `input` are integers from quantiseInput. What is sent before `burned` names the bundle and depends on nothing in it. */
export async function inferAsClient(
  frames: Frames,
  plan: Plan,
  bundle: ClientBundle,
  input: Int32Array,
  sessions: OtSessions<EvaluatorTransfers>,
  { progress = () => {}, offload = inline, burned, session }: InferOptions = {},
): Promise<Prediction & { readonly session: ClientSession | undefined }> {
  const kept = sessions.takeAny()
  const { id = new Uint8Array(0), step = 0 } = session ?? {}
  await frames.sendControl(InferRequest, { bundleId: bundle.id, otSession: kept?.id ?? 0, session: id, step })
  const accept = await frames.receiveControl(InferAccept)
  if (accept.hashSeed.length !== SEED_BYTES || (accept.resumed && accept.otSession !== kept?.id)) {
    throw new MinionnError('BAD_PEER', 'the host accepted the inference with a malformed message')
  }
  const ot = accept.resumed && kept !== undefined ? kept.session : await setupEvaluator(frames)
  const seed = accept.hashSeed
  const stages = stagesOf(plan)

  /** Sends value j, or the client's share of it, less its mask. */
  const sendMasked = async (value: Uint32Array, j: number) => {
    const ring = valueRing(plan, j)
    const masked = reduceInto(subtractInto(value, valueMask(plan, bundle.seed, j)), ring)
    await frames.send(FrameType.masked, packBits(masked, ring))
  }
  await burned
  await sendMasked(Uint32Array.from(input), 0)
  // The host holds each state less its old mask, and is told the old less the new.
  for (const [i, { size }] of plan.states.entries()) {
    await sendMasked(session?.masks[i].slice() ?? new Uint32Array(size), 1 + i)
  }

  const garbled = [...stages.keys()].filter((i) => stages[i] !== undefined)
  const activeLabels = (i: number | undefined) =>
    i === undefined ? undefined : new ActiveLabels(frames, ot.forward, stages[i]!, clientShare(plan, bundle, i))
  let active = activeLabels(garbled.shift())
  let labels: number[] | undefined
  for (const [i, stage] of stages.entries()) {
    if (stage === undefined) {
      await active?.sent
      await sendMasked(clientShare(plan, bundle, i), resultOf(plan, i))
      continue
    }
    const current = active!
    // OT never waits for x: the next stage's runs while this one is evaluated.
    const ahead = current.sent.then(() => {
      active = activeLabels(garbled.shift())
      return active?.sent
    })
    const [{ shares, elements }] = await Promise.all([
      evaluateStage(frames, offload, stage, { seed, stage: i }, ot, current),
      ahead,
    ])
    if (elements !== undefined) await frames.send(FrameType.selections, elements)
    if (stage.projection === undefined) labels = [...shares]
    else await sendMasked(shares, resultOf(plan, i))
    progress((i + 1) / (stages.length + 1))
  }

  let outputs: Int32Array | undefined
  if (labels === undefined) {
    const last = plan.stages.length - 1
    const bits = plan.stages[last].ring
    const size = plan.output.size
    const host = unpackBits(await frames.receive(FrameType.shares, packedBytes(size, bits)), size, bits)
    const own = clientShare(plan, bundle, last)
    const sum = reduceInto(
      host.map((v, n) => v + own[n]),
      bits,
    )
    outputs = Int32Array.from(sum, (v) => toSigned(v, bits))
    labels = [argmax(outputs)]
  } else if (labels.some((label) => label >= plan.output.size)) {
    throw new MinionnError('BAD_PEER', `the host's circuit gave labels ${labels} of ${plan.output.size}`)
  }
  sessions.put(accept.otSession, ot)
  progress(1)
  const masks = plan.states.map(({ next }) => valueMask(plan, bundle.seed, next))
  const after = session && { id, step: step + 1, masks }
  return { outputs, label: labels[0], labels, session: after }
}

/** Bytes of a session's name. */
const SESSION_ID_BYTES = 16

/**
 * The host's side: answers one InferRequest. `burn` takes a bundle out of storage durably and resolves to it, before
 * anything that depends on it is sent; it rejects with UNKNOWN_BUNDLE where there is none.
 */
export async function inferAsServer(
  frames: Frames,
  model: HostedModel,
  burn: (id: Uint8Array) => Promise<ServerBundle>,
  sessions: OtSessions<GarblerTransfers>,
  { offload = inline, states }: { offload?: Offload; states?: StateStore } = {},
): Promise<void> {
  const request = await frames.receiveControl(InferRequest)
  const { plan } = model.published.manifest
  if (request.bundleId.length !== BUNDLE_ID_BYTES) {
    throw new MinionnError(
      'BAD_PEER',
      `expected a bundle id of ${BUNDLE_ID_BYTES} bytes, got ${request.bundleId.length}`,
    )
  }
  const before = await statesBefore(plan, request.session, request.step, states)
  const bundle = await burn(request.bundleId)
  const kept = sessions.take(request.otSession)
  const otSession = kept === undefined ? nextSessionId() : request.otSession
  const hashSeed = randomSeed()
  await frames.sendControl(InferAccept, { otSession, resumed: kept !== undefined, hashSeed })
  const ot = kept ?? (await setupGarbler(frames))
  const stages = stagesOf(plan)

  /** Value j less its mask, or the client's share of it less the mask. */
  const receiveMasked = async (j: number) => {
    const ring = valueRing(plan, j)
    const size = valueSize(plan, j)
    return unpackBits(await frames.receive(FrameType.masked, packedBytes(size, ring)), size, ring)
  }
  /** Values less their masks. */
  const values = [await receiveMasked(0)]
  for (const state of before) {
    const j = values.length
    values.push(reduceInto(addInto(await receiveMasked(j), state), valueRing(plan, j)))
  }
  const garbled = [...stages.keys()].filter((i) => stages[i] !== undefined)
  const zeroLabels = (i: number | undefined) =>
    i === undefined ? undefined : new ZeroLabels(frames, ot.forward, stages[i]!)
  let zero = zeroLabels(garbled.shift())
  /** What the client still sends of the stage before: a stage that does not take it need not wait for it. */
  let pending: { readonly value: number; readonly done: Promise<void> } | undefined
  const settle = async () => {
    await pending?.done
    pending = undefined
  }
  for (const [i, s] of plan.stages.entries()) {
    const result = resultOf(plan, i)
    const stage = stages[i]
    if (pending !== undefined && takenBy(s).includes(pending.value)) await settle()
    const y = serverShare(model, bundle, i, values)
    if (stage === undefined) {
      await settle()
      if (i === plan.stages.length - 1) {
        await keepStates(plan, request.session, request.step, states, values)
        await frames.send(FrameType.shares, packBits(y, s.ring))
        break
      }
      await zero?.receiveAll()
      values[result] = reduceInto(addInto(y, await receiveMasked(result)), valueRing(plan, result))
      continue
    }
    if (stage.projection === undefined) {
      await settle()
      await keepStates(plan, request.session, request.step, states, values)
    }
    const streams = { seed: hashSeed, stage: i }
    const { shares, selection } = await garbleStage(frames, offload, stage, streams, ot, zero!, y)
    await settle()
    zero = zeroLabels(garbled.shift())
    await zero?.receiveAll()
    if (stage.projection === undefined) continue
    const { ring } = stage.projection
    const receive = async () => {
      if (selection !== undefined) {
        addInto(shares, await receiveSelected(frames, selection.chosen, selection.permute, ring))
      }
      values[result] = reduceInto(addInto(shares, await receiveMasked(result)), ring)
    }
    pending = { value: result, done: receive() }
    // Whoever needs it sees the failure.
    pending.done.catch(() => {})
  }
  if (sessions.size < MAX_IDLE_OT_SESSIONS) sessions.put(otSession, ot)
}

/** The states that an inference begins with. Throws BAD_PEER or UNKNOWN_SESSION before anything is burned. */
async function statesBefore(
  plan: Plan,
  session: Uint8Array,
  step: number,
  states: StateStore | undefined,
): Promise<readonly Uint32Array[]> {
  const zeros = () => plan.states.map(({ size }) => new Uint32Array(size))
  if (session.length === 0) return zeros()
  if (session.length !== SESSION_ID_BYTES || plan.states.length === 0) {
    throw new MinionnError(
      'BAD_PEER',
      `expected a session of ${SESSION_ID_BYTES} bytes of a model with states, got ${session.length} bytes for one with ${plan.states.length}`,
    )
  }
  if (step === 0) return zeros()
  const known = await states?.get(Buffer.from(session).toString('hex'), step)
  if (known === undefined) {
    throw new MinionnError(
      'UNKNOWN_SESSION',
      `the host does not keep this session's states of step ${step} (any more); begin it anew (--begin)`,
    )
  }
  return known
}

/** Keeps what a session's next inference begins with. */
async function keepStates(
  plan: Plan,
  session: Uint8Array,
  step: number,
  states: StateStore | undefined,
  values: readonly Uint32Array[],
): Promise<void> {
  if (session.length === 0) return
  await states?.put(
    Buffer.from(session).toString('hex'),
    step + 1,
    plan.states.map(({ next }) => values[next]),
  )
}

let sessionCounter = 0
function nextSessionId(): number {
  sessionCounter = (sessionCounter % 0x7fffffff) + 1
  return sessionCounter
}

/** y_S = post(W pre(x - r) + b + u) plus skips of masked values and the rounding offset, mod 2^k. */
function serverShare(model: HostedModel, bundle: ServerBundle, i: number, values: readonly Uint32Array[]): Uint32Array {
  const { plan } = model.published.manifest
  const s = plan.stages[i]
  const y = stageLinear(s, model.secret.stages[i], values)
  if (s.linear.kind !== 'identity') {
    // u = -u', and post is linear.
    const u = responseMask(plan, bundle.seed, i)
    subtractInto(y, s.post === undefined ? u : sumPool(s.post, u))
  }
  return reduceInto(y, s.ring)
}
