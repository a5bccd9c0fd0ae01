/**
 * The infer protocol: one oblivious prediction. MiniONN section 5; the paper re-shares inside the circuits, here projections and
 * selections do. Value 0 is the input x, value i + 1 what stage i makes, r_j the mask of value j.
 *
 *   client                                      host
 *   InferRequest{bundle, OT session}    ->      burns its half of the bundle durably
 *                                       <-      InferAccept{OT session, hash seed}
 *   [base OTs, once per OT session: 3 messages]
 *   x - r_0                             ->
 *   OT corrections of stage 0           ->
 *   per garbled stage i:
 *     OT corrections of stage i + 1     ->      (while stage i is evaluated)
 *                                       <-      tables of stage i, corrections of its projection and of its selection
 *     elements of the selection         ->      both hold shares of f(y)
 *     its share less r_{i+1}            ->      adds its own: f(y) - r_{i+1}, which the host alone learns
 *                                       <-      the share of the outputs, or argmax and its colours
 *
 * The client burns its half of the bundle durably before it calls in here.
 */
import { MinionnError } from '../errors.js'
import { type Plan, valueRing, valueSize } from '../model/plan.js'
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

/** Either the outputs as signed integers of scale plan.output.scale, or only the index of the largest. */
export type Prediction =
  | { readonly outputs: Int32Array; readonly label: number }
  | { readonly outputs: undefined; readonly label: number }

/** Garbled stages of a plan, compiled once. */
const compiled = new WeakMap<Plan, GarbledStage[]>()
export function stagesOf(plan: Plan): GarbledStage[] {
  let stages = compiled.get(plan)
  if (stages === undefined) {
    stages = garbledStages(plan)
    compiled.set(plan, stages)
  }
  return stages
}

/** The client's side. `bundle` must have been burned; `input` are integers from quantiseInput. */
export async function inferAsClient(
  frames: Frames,
  plan: Plan,
  bundle: ClientBundle,
  input: Int32Array,
  sessions: OtSessions<EvaluatorTransfers>,
  progress: (done: number) => void = () => {},
  offload: Offload = inline,
): Promise<Prediction> {
  const kept = sessions.takeAny()
  await frames.sendControl(InferRequest, { bundleId: bundle.id, otSession: kept?.id ?? 0 })
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
  await sendMasked(Uint32Array.from(input), 0)

  const activeLabels = (i: number) => new ActiveLabels(frames, ot.forward, stages[i], clientShare(plan, bundle, i))
  let active = stages.length > 0 ? activeLabels(0) : undefined
  let label: number | undefined
  for (let i = 0; i < stages.length; i++) {
    const current = active!
    // OT never waits for x: the next stage's runs while this one is evaluated.
    const ahead = current.sent.then(() => {
      active = i + 1 < stages.length ? activeLabels(i + 1) : undefined
      return active?.sent
    })
    const [{ shares, elements }] = await Promise.all([
      evaluateStage(frames, offload, stages[i], { seed, stage: i }, ot, current),
      ahead,
    ])
    if (elements !== undefined) await frames.send(FrameType.selections, elements)
    if (stages[i].projection === undefined) label = shares[0]
    else await sendMasked(shares, i + 1)
    progress((i + 1) / (stages.length + 1))
  }

  let outputs: Int32Array | undefined
  if (label === undefined) {
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
    label = argmax(outputs)
  } else if (label >= plan.output.size) {
    throw new MinionnError('BAD_PEER', `the host's circuit gave label ${label} of ${plan.output.size}`)
  }
  sessions.put(accept.otSession, ot)
  progress(1)
  return { outputs, label } as Prediction
}

/**
 * The host's side: answers one InferRequest. `burn` takes a bundle out of storage durably and resolves to it, before
 * anything that depends on it is sent; it rejects with UNKNOWN_BUNDLE where there is none.
 */
export async function inferAsServer(
  frames: Frames,
  model: HostedModel,
  burn: (id: Uint8Array) => Promise<ServerBundle>,
  sessions: OtSessions<GarblerTransfers>,
  offload: Offload = inline,
): Promise<void> {
  const request = await frames.receiveControl(InferRequest)
  if (request.bundleId.length !== BUNDLE_ID_BYTES) {
    throw new MinionnError(
      'BAD_PEER',
      `expected a bundle id of ${BUNDLE_ID_BYTES} bytes, got ${request.bundleId.length}`,
    )
  }
  const bundle = await burn(request.bundleId)
  const kept = sessions.take(request.otSession)
  const otSession = kept === undefined ? nextSessionId() : request.otSession
  const hashSeed = randomSeed()
  await frames.sendControl(InferAccept, { otSession, resumed: kept !== undefined, hashSeed })
  const ot = kept ?? (await setupGarbler(frames))
  const { plan } = model.published.manifest
  const stages = stagesOf(plan)

  /** Value j less its mask, or the client's share of it less the mask. */
  const receiveMasked = async (j: number) => {
    const ring = valueRing(plan, j)
    const size = valueSize(plan, j)
    return unpackBits(await frames.receive(FrameType.masked, packedBytes(size, ring)), size, ring)
  }
  /** Values less their masks. */
  const values = [await receiveMasked(0)]
  const zeroLabels = (i: number) => (i < stages.length ? new ZeroLabels(frames, ot.forward, stages[i]) : undefined)
  let zero = zeroLabels(0)
  for (let i = 0; i < plan.stages.length; i++) {
    const y = serverShare(model, bundle, i, values)
    const stage = stages[i]
    if (stage === undefined) {
      await frames.send(FrameType.shares, packBits(y, plan.stages[i].ring))
      break
    }
    const { shares: own, selection } = await garbleStage(
      frames,
      offload,
      stage,
      { seed: hashSeed, stage: i },
      ot,
      zero!,
      y,
    )
    zero = zeroLabels(i + 1)
    await zero?.receiveAll()
    if (stage.projection === undefined) continue
    const { ring } = stage.projection
    if (selection !== undefined) {
      addInto(own, await receiveSelected(frames, selection.chosen, selection.permute, ring))
    }
    values.push(reduceInto(addInto(own, await receiveMasked(i + 1)), ring))
  }
  if (sessions.size < MAX_IDLE_OT_SESSIONS) sessions.put(otSession, ot)
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
