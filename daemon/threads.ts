/**
 * Worker threads for the heavy work of protocol/offload.ts, each with WebAssembly memories of its own. The main thread is left
 * with the network, so that one session's computation never holds up the others.
 *
 * A thread does one job at a time. Homomorphic jobs have one of their own, which keeps the weights' polynomials; large stages are
 * garbled and evaluated on the others while one is free, small ones and the rest on the main thread.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { programOf } from '../protocol/circuits/spec.js'
import { ERROR_CODES, type ErrorCode, MinionnError } from '../protocol/errors.js'
import type { Evaluated, EvaluateJob, Garbled, GarbleJob } from '../protocol/garbling/stage.js'
import type { RespondJob } from '../protocol/homomorphic/respond.js'
import { inline, type Offload } from '../protocol/offload.js'
import { type FromThread, ITEMS_AHEAD, type ToThread } from './thread-messages.js'

/** AND gates below which a stage is done sooner than handed over. */
const LARGE_STAGE_GATES = 1 << 18

type Job = Extract<ToThread, { job: unknown }>

/** One worker and the queue of those who wait for it. */
class Thread {
  #worker: Worker | undefined
  #last: Promise<unknown> = Promise.resolve()
  #inbox: FromThread[] = []
  #wake: () => void = () => {}
  #ended = false
  /** Jobs running or waiting. */
  load = 0

  /** Runs `use` once the thread is free, with the job started. */
  async run<T>(job: Job, transfer: ArrayBuffer[], use: () => Promise<T>): Promise<T> {
    this.load++
    const before = this.#last
    const mine = (async () => {
      await before.catch(() => {})
      this.#inbox = []
      this.send(job, transfer)
      try {
        return await use()
      } finally {
        await this.#settle()
      }
    })()
    this.#last = mine.catch(() => {})
    try {
      return await mine
    } finally {
      this.load--
    }
  }

  send(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#started().postMessage(message, transfer)
  }

  /** The next message of the job; throws where it failed. */
  async next(): Promise<Exclude<FromThread, { kind: 'failed' }>> {
    while (this.#inbox.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const message = this.#inbox.shift()!
    if (message.kind === 'done') this.#ended = true
    if (message.kind !== 'failed') return message
    this.#ended = true
    const code = (ERROR_CODES as readonly string[]).includes(message.code) ? (message.code as ErrorCode) : 'INTERNAL'
    throw new MinionnError(code, message.message)
  }

  /** Whether messages wait. */
  get waiting(): boolean {
    return this.#inbox.length > 0
  }

  /** Has a job that nobody follows any more come to its end. */
  async #settle(): Promise<void> {
    if (!this.#ended) this.send({ kind: 'end' })
    while (!this.#ended) await this.next().catch(() => {})
    this.#ended = false
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(new URL('./thread.js', import.meta.url))
    const push = (message: FromThread) => {
      this.#inbox.push(message)
      this.#wake()
    }
    worker.on('message', push)
    const lost = (message: string) => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      push({ kind: 'failed', code: 'INTERNAL', message })
    }
    worker.on('error', (error) => lost(`a worker thread failed: ${error.message}`))
    worker.on('exit', (code) => lost(`a worker thread ended with ${code}`))
    this.#worker = worker
    return worker
  }

  async stop(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}

export class Threads implements Offload {
  readonly #homomorphic = new Thread()
  readonly #garbling: readonly Thread[]
  readonly #shared = new WeakMap<Int32Array, Int32Array>()

  /**
   * Besides the homomorphic one, a thread for garbling for each core that it and the main thread leave. They start with their
   * first job.
   */
  constructor(garbling = Math.max(0, availableParallelism() - 2)) {
    this.#garbling = Array.from({ length: garbling }, () => new Thread())
  }

  async *respond(job: RespondJob): AsyncGenerator<Uint8Array> {
    const thread = this.#homomorphic
    const whole = { ...job, weights: this.#share(job.weights) }
    // The thread never waits for the network: a slow peer must not hold up the others' sets.
    yield* await thread.run({ kind: 'respond', job: whole }, [], async () => {
      const responses: Uint8Array[] = []
      for (;;) {
        const message = await thread.next()
        if (message.kind !== 'item') return responses
        responses.push(message.item)
        thread.send({ kind: 'taken' })
      }
    })
  }

  async garble(
    job: GarbleJob,
    fill: (inputs: number) => Promise<void>,
    send: (tables: Uint8Array) => Promise<void>,
  ): Promise<Garbled> {
    const thread = await this.#threadFor(job, fill)
    if (thread === undefined) return await inline.garble(job, fill, send)
    const transfer = [job.evaluatorZero, job.bits].map(({ buffer }) => buffer as ArrayBuffer)
    return await thread.run({ kind: 'garble', job }, transfer, async () => {
      for (;;) {
        const message = await thread.next()
        if (message.kind === 'done') return message.result as Garbled
        if (message.kind !== 'item') continue
        await send(message.item)
        thread.send({ kind: 'taken' })
      }
    })
  }

  async evaluate(
    job: EvaluateJob,
    fill: (inputs: number) => Promise<void>,
    receive: () => Promise<Uint8Array | undefined>,
  ): Promise<Evaluated> {
    const thread = await this.#threadFor(job, fill)
    if (thread === undefined) return await inline.evaluate(job, fill, receive)
    return await thread.run({ kind: 'evaluate', job }, [job.evaluatorLabels.buffer as ArrayBuffer], async () => {
      let ahead = 0
      for (let tables = await receive(); tables !== undefined; tables = await receive()) {
        thread.send({ kind: 'tables', tables })
        ahead++
        while (ahead === ITEMS_AHEAD || thread.waiting) {
          await thread.next()
          ahead--
        }
      }
      thread.send({ kind: 'end' })
      for (;;) {
        const message = await thread.next()
        if (message.kind === 'done') return message.result as Evaluated
      }
    })
  }

  async stop(): Promise<void> {
    for (const thread of [this.#homomorphic, ...this.#garbling]) await thread.stop()
  }

  /**
   * A thread that is free now, for a large stage whose labels are all there. None is waited for: what holds it may be a slow
   * network, or the other party of the same session.
   */
  async #threadFor(
    { spec, instances }: GarbleJob | EvaluateJob,
    fill: (inputs: number) => Promise<void>,
  ): Promise<Thread | undefined> {
    const { andGates, evaluatorInputs } = programOf(spec).circuit
    if (this.#garbling.length === 0 || andGates * instances < LARGE_STAGE_GATES) return undefined
    await fill(instances * evaluatorInputs)
    return this.#garbling.find((thread) => thread.load === 0)
  }

  /** Weights in memory that threads see without a copy. */
  #share(weights: Int32Array): Int32Array {
    let shared = this.#shared.get(weights)
    if (shared === undefined) {
      shared = new Int32Array(new SharedArrayBuffer(weights.byteLength))
      shared.set(weights)
      this.#shared.set(weights, shared)
    }
    return shared
  }
}
