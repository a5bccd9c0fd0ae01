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
  /**
   * Garbles a stage, handing over its tables frame by frame. `fill` resolves once so many of the evaluator's inputs have their
   * zero labels in the job.
   */
  garble(
    job: GarbleJob,
    fill: (inputs: number) => Promise<void>,
    send: (tables: Uint8Array) => Promise<void>,
  ): Promise<Garbled>
  /** Evaluates a stage, asking for its tables frame by frame, undefined once there are no more, and for labels as garble does. */
  evaluate(
    job: EvaluateJob,
    fill: (inputs: number) => Promise<void>,
    receive: () => Promise<Uint8Array | undefined>,
  ): Promise<Evaluated>
}

export const inline: Offload = {
  respond: respondSet,

  async garble(job, fill, send) {
    const chunks = garbleChunks(job)
    try {
      for (;;) {
        const step = chunks.next()
        if (step.done) return step.value
        await (typeof step.value === 'number' ? fill(step.value) : send(step.value))
      }
    } finally {
      chunks.return(undefined as never)
    }
  },

  async evaluate(job, fill, receive) {
    const evaluation = new StageEvaluation(job)
    try {
      while (!evaluation.finished) {
        if (evaluation.needs > 0) await fill(evaluation.needs)
        evaluation.advance(evaluation.needs > 0 ? undefined : await receive())
      }
      return evaluation.result
    } finally {
      evaluation.release()
    }
  },
}
