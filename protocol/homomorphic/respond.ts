/** The host's answer to one set of ciphertexts, as a job that any thread can do. */
import type { ConvGeometry, DenseGeometry } from '../ring/linear.js'
import { type EngineName, engineOf } from './engine.js'
import { packingOf } from './packing.js'
import { keptWeights } from './weight-cache.js'

export interface RespondJob {
  readonly engine: EngineName
  /** Names the model, stage and batch that the weights are packed for. */
  readonly key: string
  readonly geometry: ConvGeometry | DenseGeometry
  /** Bundles of the batch, which decides the packing. */
  readonly batch: number
  /** Secret. */
  readonly weights: Int32Array
  /** Ring of the stage, and the widest of the plan. */
  readonly ring: number
  readonly widestRing: number
  readonly encryptionOfZero: Uint8Array
  readonly inputs: readonly Uint8Array[]
  /** Per output ciphertext the used coefficients and the masks u'. */
  readonly outputs: readonly { readonly at: Int32Array; readonly masks: Uint32Array }[]
}

/** The responses, in order. Throws BAD_PEER where an input is not a ciphertext. */
export async function* respondSet(job: RespondJob): AsyncGenerator<Uint8Array> {
  const engine = await engineOf(job.engine, job.widestRing)
  const packing = packingOf(job.geometry, job.batch)
  const host = engine.newHost(job.encryptionOfZero)
  try {
    const weights = keptWeights(`${job.key}/${job.engine}`, () => engine.weights(packing, job.weights))
    // All at once: the weights' memory serves one set at a time.
    yield* [...host.respond(packing, weights, job.inputs, job.ring, job.outputs)]
  } finally {
    host.dispose()
  }
}
