/**
 * All chunks of one stage, without any input or output: the garbler's side as a generator of table frames, the evaluator's as
 * something that takes them. Runs on whatever thread it is called on.
 */
import { activationOffset, activationWeights } from '../circuits/activation.js'
import { type CircuitSpec, programOf } from '../circuits/spec.js'
import { Evaluator } from './evaluator.js'
import { Garbler } from './garbler.js'
import { chunkSizes, gatesPerFrame, LABEL_BYTES, LABEL_WORDS } from './program.js'
import { chunkKeys, garblerLabels, type StageSeed } from './streams.js'

export interface GarbleJob {
  readonly spec: CircuitSpec
  readonly instances: number
  readonly streams: StageSeed
  /** Bytes of a frame of tables, about. */
  readonly frameBytes: number
  /** Secret: the offset, the evaluator's zero labels [chunk][wire][instance], the garbler's bits, a byte each, in that order. */
  readonly delta: Uint32Array
  readonly evaluatorZero: Uint32Array
  readonly bits: Uint8Array
  /** Where shares are selected: the garbler's, one an instance. */
  readonly selected: Uint32Array | undefined
}

export interface Garbled {
  /** The garbler's shares of the outputs, and the corrections of the projections, [chunk][output][instance]; empty for argmax. */
  readonly shares: Uint32Array
  readonly corrections: Uint32Array
  /** For argmax what decodes the outputs; for a selection the permute bits of the first output; a byte each. */
  readonly colours: Uint8Array
}

/**
 * Garbles a stage; yields its tables frame by frame, and before a chunk how many of the evaluator's inputs must have their labels in
 * `evaluatorZero` when it goes on.
 */
export function* garbleChunks(job: GarbleJob): Generator<Uint8Array | number, Garbled> {
  const { spec, instances, selected } = job
  const program = programOf(spec)
  const { garblerInputs, evaluatorInputs, outputs } = program.circuit
  const projecting = spec.kind === 'activation'
  const outputWeights = projecting ? activationWeights(spec.shape) : []
  const keys = chunkKeys(job.streams)
  const labels = garblerLabels(job.streams)
  const shares = new Uint32Array(projecting ? instances : 0)
  const corrections = new Uint32Array(projecting ? outputs.length * instances : 0)
  const colours = new Uint8Array(projecting ? (selected === undefined ? 0 : instances) : outputs.length * instances)
  let garbler: Garbler | undefined
  let first = 0
  try {
    for (const size of chunkSizes(instances)) {
      if (garbler?.instances !== size) {
        garbler?.release()
        garbler = new Garbler(program, job.delta, size, gatesPerFrame(size, job.frameBytes))
      }
      const active = labels.bytes(garblerInputs * size * LABEL_BYTES)
      yield (first + size) * evaluatorInputs
      const offset = first * evaluatorInputs * LABEL_WORDS
      const theirs = job.evaluatorZero.subarray(offset, offset + evaluatorInputs * size * LABEL_WORDS)
      garbler.setInputs(active, theirs, job.bits.subarray(first * garblerInputs, (first + size) * garblerInputs))
      const cipher = keys.next()
      yield* garbler.garble(cipher)
      if (projecting) {
        const chunk = corrections.subarray(first * outputs.length, (first + size) * outputs.length)
        const weights = outputWeights.map((w) => (w === 'shares' ? selected!.subarray(first, first + size) : w))
        shares.set(garbler.project(cipher, weights, chunk), first)
        if (selected !== undefined) colours.set(garbler.outputColours().subarray(0, size), first)
      } else {
        colours.set(garbler.outputColours(), first * outputs.length)
      }
      first += size
    }
  } finally {
    garbler?.release()
  }
  const offset = projecting ? activationOffset(spec.shape) : 0
  if (offset !== 0) for (let i = 0; i < shares.length; i++) shares[i] += offset
  return { shares, corrections, colours }
}

export interface EvaluateJob {
  readonly spec: CircuitSpec
  readonly instances: number
  readonly streams: StageSeed
  readonly frameBytes: number
  /** Active labels of the evaluator's inputs, [chunk][wire][instance]. */
  readonly evaluatorLabels: Uint32Array
}

export interface Evaluated {
  /** Sums of the hashes of the outputs' labels, one an instance; empty for argmax. */
  readonly sums: Uint32Array
  /** Colours of the outputs, [chunk][output][instance], a byte each. */
  readonly colours: Uint8Array
}

/** Bytes of the frames of tables of a stage, in order. */
export function* tableFrames(spec: CircuitSpec, instances: number, frameBytes: number): Generator<number> {
  const { andGates } = programOf(spec).circuit
  for (const size of chunkSizes(instances)) {
    const perFrame = gatesPerFrame(size, frameBytes)
    for (let left = andGates; left > 0; left -= perFrame) yield Math.min(left, perFrame) * size * 2 * LABEL_BYTES
  }
}

/** Takes the frames of tableFrames() one by one. */
export class StageEvaluation {
  readonly #steps: Generator<number | undefined, Evaluated, Uint8Array | undefined>
  #result: Evaluated | undefined
  /** How many of the evaluator's inputs must have their labels before the next frame; 0 where it does not matter. */
  needs = 0

  constructor(job: EvaluateJob) {
    this.#steps = evaluateChunks(job)
    this.#step(undefined)
  }

  /** The next frame of tables, or that the labels needed are there. */
  advance(tables: Uint8Array | undefined): void {
    this.#step(tables)
  }

  get finished(): boolean {
    return this.#result !== undefined
  }

  /** Once all frames were taken. */
  get result(): Evaluated {
    if (this.#result === undefined) throw new Error('the stage is not evaluated yet')
    return this.#result
  }

  /** Gives up what is held, at any time. */
  release(): void {
    this.#steps.return(undefined as never)
  }

  #step(tables: Uint8Array | undefined): void {
    const step = this.#steps.next(tables)
    this.needs = step.done ? 0 : (step.value ?? 0)
    if (step.done) this.#result = step.value
  }
}

/** Yields how many labels it needs, or undefined for the next tables. */
function* evaluateChunks(job: EvaluateJob): Generator<number | undefined, Evaluated, Uint8Array | undefined> {
  const program = programOf(job.spec)
  const { garblerInputs, evaluatorInputs, andGates, outputs } = program.circuit
  const keys = chunkKeys(job.streams)
  const labels = garblerLabels(job.streams)
  const sums = new Uint32Array(job.spec.kind === 'activation' ? job.instances : 0)
  const colours = new Uint8Array(outputs.length * job.instances)
  let evaluator: Evaluator | undefined
  let first = 0
  try {
    for (const size of chunkSizes(job.instances)) {
      const perFrame = gatesPerFrame(size, job.frameBytes)
      if (evaluator?.instances !== size) {
        evaluator?.release()
        evaluator = new Evaluator(program, size, perFrame)
      }
      const active = labels.bytes(garblerInputs * size * LABEL_BYTES)
      yield (first + size) * evaluatorInputs
      const offset = first * evaluatorInputs * LABEL_WORDS
      evaluator.setInputs(active, job.evaluatorLabels.subarray(offset, offset + evaluatorInputs * size * LABEL_WORDS))
      const cipher = keys.next()
      for (let left = andGates; left > 0; left -= perFrame) evaluator.advance(cipher, (yield undefined)!)
      // Gates behind the last AND, or all of them where there is none.
      evaluator.advance(cipher, new Uint8Array(0))
      colours.set(evaluator.outputColours(), first * outputs.length)
      if (sums.length > 0) sums.set(evaluator.project(cipher), first)
      first += size
    }
  } finally {
    evaluator?.release()
  }
  return { sums, colours }
}
