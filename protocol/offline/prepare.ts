/**
 * The prepare protocol: both parties make a batch of bundles. MiniONN section 4.3 with the packing of
 * homomorphic/packing.ts.
 *
 *   client                                host
 *   PrepareRequest{count, engine} ->
 *                                <-       PrepareAccept{ids}
 *   Enc(0)                       ->
 *   per stage: Enc(r) ...        ->
 *                                <-       per stage: Enc(W r + u') ...
 *                                         stores its bundles durably
 *                                <-       PrepareDone
 *   stores its bundles durably
 *
 * If it breaks off anywhere, neither side reuses anything of it.
 */
import { randomBytes } from 'node:crypto'
import { MinionnError } from '../errors.js'
import { ENGINES, type Engine, type EngineName, engineOf, type Results } from '../homomorphic/engine.js'
import { latticeEngine } from '../homomorphic/lattice-engine.js'
import { DEGREE, type Packing, packingOf } from '../homomorphic/packing.js'
import type { RespondJob } from '../homomorphic/respond.js'
import { MAX_PREPARE_COUNT } from '../limits.js'
import { type Plan, stageSizes, tripleRing } from '../model/plan.js'
import type { HostedModel } from '../model/weights.js'
import { inline, type Offload } from '../offload.js'
import { randomSeed } from '../random.js'
import { type Frames, FrameType } from '../wire/frames.js'
import { PrepareAccept, PrepareDone, PrepareRequest } from '../wire/messages.js'
import { BUNDLE_ID_BYTES, type ClientBundle, mapMask, responseMask, type ServerBundle } from './bundle.js'

/** The triples of one stage for a batch of bundles: sets of ciphertexts, each for some of the bundles. */
export interface TripleBatch {
  readonly stage: number
  readonly packing: Packing
  /** First bundle and number of bundles of each set. */
  readonly sets: readonly { readonly first: number; readonly count: number }[]
}

/** What both parties exchange for `count` bundles. */
export function tripleBatches(plan: Plan, count: number): TripleBatch[] {
  return plan.stages.flatMap((s, stage) => {
    if (s.linear.kind === 'identity') return []
    const packing = packingOf(s.linear, count)
    const sets = []
    for (let first = 0; first < count; first += packing.bundles) {
      sets.push({ first, count: Math.min(packing.bundles, count - first) })
    }
    return [{ stage, packing, sets }]
  })
}

/** Results of output ciphertext o that belong to the first `bundles` bundles of its set. */
function usedResults(packing: Packing, o: number, bundles: number): Results {
  const all = packing.results(o)
  if (bundles === packing.bundles) return all
  const keep = [...all.bundle.keys()].filter((n) => all.bundle[n] < bundles)
  const pick = (values: Int32Array) => Int32Array.from(keep, (n) => values[n])
  return { at: pick(all.at), index: pick(all.index), bundle: pick(all.bundle) }
}

/** Ciphertexts up and down and payload bytes of a batch, exactly. */
export function prepareCosts(
  plan: Plan,
  count: number,
  engine: Engine = latticeEngine,
): { up: number; down: number; bytesUp: number; bytesDown: number } {
  let up = 1
  let down = 0
  let bytesDown = 0
  for (const { stage, packing, sets } of tripleBatches(plan, count)) {
    for (const set of sets) {
      up += packing.inputs
      down += packing.outputs
      for (let o = 0; o < packing.outputs; o++) {
        bytesDown += engine.responseBytes(plan.stages[stage].ring, usedResults(packing, o, set.count).at.length)
      }
    }
  }
  return { up, down, bytesUp: up * engine.encryptionBytes, bytesDown }
}

/** The client's side: resolves once the host has stored its half. `progress` goes from 0 to 1. */
export async function prepareAsClient(
  frames: Frames,
  plan: Plan,
  count: number,
  progress: (done: number) => void = () => {},
  name: EngineName = 'lattice',
): Promise<ClientBundle[]> {
  await frames.sendControl(PrepareRequest, { count, engine: name })
  const { bundleIds } = await frames.receiveControl(PrepareAccept)
  if (bundleIds.length !== count || bundleIds.some((id) => id.length !== BUNDLE_ID_BYTES)) {
    throw new MinionnError(
      'BAD_PEER',
      `asked for ${count} bundles, the host named ${bundleIds.length} of its own making`,
    )
  }
  const engine = await engineOf(name, tripleRing(plan))
  const key = engine.newClient()
  try {
    const batches = tripleBatches(plan, count)
    const seeds = bundleIds.map(() => randomSeed())
    const v = seeds.map((): (Uint32Array | undefined)[] => plan.stages.map(() => undefined))
    const total = batches.reduce((sum, { packing, sets }) => sum + sets.length * packing.outputs, 0)
    let answered = 0

    const send = async () => {
      await frames.send(FrameType.ciphertexts, key.encrypt(new Uint32Array(DEGREE), tripleRing(plan)))
      for (const { stage, packing, sets } of batches) {
        for (const { first, count } of sets) {
          const vectors = seeds.slice(first, first + count).map((seed) => mapMask(plan, seed, stage))
          for (let i = 0; i < packing.inputs; i++) {
            const plain = new Uint32Array(DEGREE)
            packing.packInput(i, vectors, plain)
            await frames.send(FrameType.ciphertexts, key.encrypt(plain, plan.stages[stage].ring))
          }
        }
      }
    }
    const receive = async () => {
      for (const { stage, packing, sets } of batches) {
        const { ring } = plan.stages[stage]
        for (let b = 0; b < count; b++) v[b][stage] = new Uint32Array(stageSizes(plan.stages[stage]).mapOutput)
        for (const set of sets) {
          for (let o = 0; o < packing.outputs; o++) {
            const { at, index, bundle } = usedResults(packing, o, set.count)
            const response = await frames.receive(FrameType.ciphertexts, engine.responseBytes(ring, at.length))
            const values = key.decrypt(response, at, ring)
            for (let n = 0; n < at.length; n++) {
              v[set.first + bundle[n]][stage]![index[n]] = values[n]
            }
            progress(++answered / total)
          }
        }
      }
      const done = await frames.receiveControl(PrepareDone)
      if (done.count !== count)
        throw new MinionnError('BAD_PEER', `asked for ${count} bundles, the host made ${done.count}`)
    }
    await Promise.all([send(), receive()])
    return bundleIds.map((id, b) => ({ id, seed: seeds[b], v: v[b] }))
  } finally {
    key.dispose()
  }
}

/**
 * The host's side: answers one PrepareRequest. `store` makes the bundles durable before the client is told of them.
 */
export async function prepareAsServer(
  frames: Frames,
  model: HostedModel,
  store: (bundles: ServerBundle[]) => Promise<void>,
  offload: Offload = inline,
): Promise<number> {
  const request = await frames.receiveControl(PrepareRequest)
  const { count } = request
  if (count < 1 || count > MAX_PREPARE_COUNT) {
    throw new MinionnError(
      'BAD_PEER',
      `expected a batch of 1 to ${MAX_PREPARE_COUNT} bundles, the client asked for ${count}`,
    )
  }
  const name = ENGINES.find((known) => known === request.engine)
  if (name === undefined) {
    throw new MinionnError(
      'BAD_PEER',
      `expected one of the engines ${ENGINES.join(', ')}, the client asked for "${request.engine.slice(0, 20)}"`,
    )
  }
  const { plan } = model.published.manifest
  const bundles = Array.from({ length: count }, () => ({ id: randomBytes(BUNDLE_ID_BYTES), seed: randomSeed() }))
  await frames.sendControl(PrepareAccept, { bundleIds: bundles.map((bundle) => bundle.id) })

  const engine = await engineOf(name, tripleRing(plan))
  const encryptionOfZero = await frames.receive(FrameType.ciphertexts, engine.encryptionBytes)
  // Refused now and not with the first set.
  engine.newHost(encryptionOfZero).dispose()
  for (const { stage, packing, sets } of tripleBatches(plan, count)) {
    const { ring, linear } = plan.stages[stage]
    if (linear.kind === 'identity') continue
    for (const { first, count: size } of sets) {
      const inputs: Uint8Array[] = []
      for (let i = 0; i < packing.inputs; i++) {
        inputs.push(await frames.receive(FrameType.ciphertexts, engine.encryptionBytes))
      }
      const masks = bundles.slice(first, first + size).map(({ seed }) => responseMask(plan, seed, stage))
      const outputs = Array.from({ length: packing.outputs }, (_, o) => {
        const { at, index, bundle } = usedResults(packing, o, size)
        return { at, masks: Uint32Array.from(index, (element, n) => masks[bundle[n]][element]) }
      })
      const job: RespondJob = {
        engine: name,
        key: `${model.published.id}/${stage}/${count}`,
        geometry: linear,
        batch: count,
        weights: model.secret.stages[stage].weights,
        ring,
        widestRing: tripleRing(plan),
        encryptionOfZero,
        inputs,
        outputs,
      }
      for await (const response of offload.respond(job)) await frames.send(FrameType.ciphertexts, response)
    }
  }
  await store(bundles)
  await frames.sendControl(PrepareDone, { count })
  return count
}
