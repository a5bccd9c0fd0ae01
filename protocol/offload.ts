/**
 * Where heavy work is done. `inline` does it on the caller's thread; a daemon has threads of its own for it, so that its main thread
 * is free for the network.
 */
import {
  type Evaluated,
  type EvaluateJob,
  type Garbled,
  type GarbleJob,
  garbleChunks,
  StageEvaluation,
} from './garbling/stage.js'
import { type RespondJob, respondSet } from './homomorphic/respond.js'

export interface Offload {
  /** The responses of one set. */
  respond(job: RespondJob): AsyncIterable<Uint8Array>
  /** Garbles a stage, handing over its tables frame by frame. */
  garble(job: GarbleJob, send: (tables: Uint8Array) => Promise<void>): Promise<Garbled>
  /** Evaluates a stage, asking for its tables frame by frame; undefined once there are no more. */
  evaluate(job: EvaluateJob, receive: () => Promise<Uint8Array | undefined>): Promise<Evaluated>
}

export const inline: Offload = {
  respond: respondSet,

  async garble(job, send) {
    const chunks = garbleChunks(job)
    try {
      for (;;) {
        const step = chunks.next()
        if (step.done) return step.value
        await send(step.value)
      }
    } finally {
      chunks.return(undefined as never)
    }
  },

  async evaluate(job, receive) {
    const evaluation = new StageEvaluation(job)
    try {
      for (let tables = await receive(); tables !== undefined; tables = await receive()) evaluation.advance(tables)
      return evaluation.result
    } finally {
      evaluation.release()
    }
  },
}
