/**
 * One garbled stage over the wire, both sides next to each other: oblivious transfer of the evaluator's labels, then
 * the tables, chunk by chunk, streamed while later chunks are still being garbled, and the corrections that turn the
 * outputs into shares. The garbler's own active labels come from a public stream (garbler.ts).
 */

import { type ActivationShape, activationWeights, type OutputWeight } from '../circuits/activation.js'
import { labelBits } from '../circuits/argmax.js'
import { type CircuitSpec, programOf } from '../circuits/spec.js'
import { chunkSizes, LABEL_BYTES, LABEL_WORDS, type Program } from '../garbling/program.js'
import { applyCorrections, projectionBytes } from '../garbling/projection.js'
import { type EvaluateJob, type GarbleJob, tableFrames } from '../garbling/stage.js'
import { type StageSeed, selectionKeys } from '../garbling/streams.js'
import { Arena } from '../kernels/arena.js'
import { BULK_FRAME_BYTES } from '../limits.js'
import { revealedLabels } from '../model/card.js'
import { activationInputs, activationShape, type Plan, stageSizes } from '../model/plan.js'
import type { Offload } from '../offload.js'
import { packBits, packedBytes, unpackBits } from '../ring/bits.js'
import { addInto } from '../ring/linear.js'
import type { EvaluatorTransfers, GarblerTransfers } from '../transfer/ot-pair.js'
import { choose, offer, selectionBytes } from '../transfer/selection.js'
import { correctionBytes, type OtReceiver, type OtSender, otBatches } from '../transfer/softspoken.js'
import { type Frames, FrameType } from '../wire/frames.js'

/** A batch of equal circuits and which elements of y each takes. */
export interface GarbledStage {
  readonly spec: CircuitSpec
  readonly program: Program
  readonly instances: number
  /** Elements of y, [instance][window]. */
  readonly inputs: Int32Array
  readonly window: number
  readonly ringIn: number
  /**
   * How the outputs become shares of the next stage's input, and by how much the shares that the first output selects are
   * shifted; undefined for argmax, whose label the client decodes.
   */
  readonly projection:
    | { readonly weights: readonly OutputWeight[]; readonly ring: number; readonly selectShift: number | undefined }
    | undefined
}

const circuitOf = (spec: CircuitSpec) => ({ spec, program: programOf(spec) })

/** The stages to garble for a plan, by their number: activations with a circuit, and argmax where only labels are revealed. */
export function garbledStages(plan: Plan): (GarbledStage | undefined)[] {
  const stages = plan.stages.map((s, i): GarbledStage | undefined => {
    if (s.activation === undefined || s.activation.fn === 'reshare') return undefined
    const shape: ActivationShape = activationShape(plan, i)
    return {
      ...circuitOf({ kind: 'activation', shape }),
      instances: stageSizes(s).instances,
      inputs: activationInputs(s),
      window: shape.window,
      ringIn: shape.ringIn,
      projection: {
        weights: activationWeights(shape),
        ring: shape.ringOut,
        selectShift: shape.select ? shape.shift : undefined,
      },
    }
  })
  const count = revealedLabels(plan.card)
  if (count > 0) {
    const classes = plan.output.size
    const ringIn = plan.stages[plan.stages.length - 1].ring
    stages[stages.length - 1] = {
      ...circuitOf({ kind: 'argmax', classes, ring: ringIn, count }),
      instances: 1,
      inputs: Int32Array.from({ length: classes }, (_, i) => i),
      window: classes,
      ringIn,
      projection: undefined,
    }
  }
  return stages
}

/** Oblivious transfers a stage needs: one per input bit of the evaluator. */
export function transferCount(stage: GarbledStage): number {
  return stage.program.circuit.evaluatorInputs * stage.instances
}

/** Exact payload bytes of a stage: OT corrections and shares up; tables and projections, or argmax's colours, down. */
export function stageBytes(stage: GarbledStage): { up: number; down: number; andGates: number } {
  const { circuit } = stage.program
  const andGates = circuit.andGates * stage.instances
  const transfers = otBatches(transferCount(stage)).reduce((sum, count) => sum + correctionBytes(count), 0)
  const tables = andGates * 2 * LABEL_BYTES
  if (stage.projection === undefined) return { up: transfers, down: tables + coloursBytes(stage), andGates }
  const { ring, selectShift } = stage.projection
  const selection = selectShift === undefined ? { up: 0, down: 0 } : selectionBytes(stage.instances, ring)
  return {
    up: transfers + packedBytes(stage.instances, ring) + selection.up,
    down: tables + projectionBytes(circuit.outputs.length, stage.instances, ring) + selection.down,
    andGates,
  }
}

function coloursBytes(stage: GarbledStage): number {
  return Math.ceil((stage.program.circuit.outputs.length * stage.instances) / 8)
}

/** Bits of y's share in wire order, one byte each, [chunk][wire][instance]; `then` sees them in the arena. */
function expandShare<T>(stage: GarbledStage, share: Uint32Array, then: (arena: Arena, bits: number) => T): T {
  const { window, ringIn, inputs, instances } = stage
  return Arena.with((arena) => {
    const values = arena.alloc(share.length * 4)
    const indices = arena.alloc(inputs.length * 4)
    const bits = arena.alloc(transferCount(stage))
    arena.u32(values, share.length).set(share)
    arena.u32(indices, inputs.length).set(inputs)
    let first = 0
    for (const size of chunkSizes(instances)) {
      arena.run.expandBits(values, indices, bits + first * window * ringIn, first, size, window, ringIn)
      first += size
    }
    return then(arena, bits)
  })
}

/** The evaluator's choice bits of a whole stage, chunk after chunk, packed in words for the OT batches. */
function choiceBits(stage: GarbledStage, share: Uint32Array): Uint32Array {
  const total = otBatches(transferCount(stage)).reduce((sum, count) => sum + count, 0)
  return expandShare(stage, share, (arena, bits) => {
    arena.alloc(total - transferCount(stage))
    const words = arena.alloc(total / 8)
    arena.u8(bits + transferCount(stage), total - transferCount(stage)).fill(0)
    arena.run.packBytes(bits, words, total)
    return arena.u32(words, total / 32).slice()
  })
}

/**
 * Evaluator: its active labels of a stage, [chunk][wire][instance], made and their corrections sent batch by batch, while garbling and
 * evaluation begin.
 */
export class ActiveLabels {
  readonly share: Uint32Array
  readonly labels: Uint32Array
  /** All corrections are out. */
  readonly sent: Promise<void>
  #done = 0
  #failure: Error | undefined
  #wake: () => void = () => {}

  /** `share` are the values whose bits are chosen by. */
  constructor(frames: Frames, ot: OtReceiver, stage: GarbledStage, share: Uint32Array) {
    this.share = share
    const choices = choiceBits(stage, share)
    this.labels = new Uint32Array(choices.length * 32 * LABEL_WORDS)
    this.sent = this.#send(frames, ot, otBatches(transferCount(stage)), choices)
    this.sent.catch((error) => {
      this.#failure = error
      this.#wake()
    })
  }

  /** Resolves once the first `inputs` transfers have their labels. */
  async fill(inputs: number): Promise<void> {
    while (this.#done < inputs) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async #send(frames: Frames, ot: OtReceiver, batches: readonly number[], choices: Uint32Array): Promise<void> {
    for (const count of batches) {
      const part = this.labels.subarray(this.#done * LABEL_WORDS, (this.#done + count) * LABEL_WORDS)
      const correction = ot.extend(count, choices.subarray(this.#done / 32, (this.#done + count) / 32), part)
      this.#done += count
      this.#wake()
      await frames.send(FrameType.otCorrection, correction)
    }
  }
}

/**
 * Garbler: the zero labels of a stage, [chunk][wire][instance], made batch by batch as garbling asks for them. Corrections that came
 * early wait as they are, a quarter of the labels' size.
 */
export class ZeroLabels {
  readonly labels: Uint32Array
  readonly #frames: Frames
  readonly #ot: OtSender
  readonly #batches: readonly number[]
  readonly #corrections: Uint8Array[] = []
  #received = 0
  #extended = 0
  #done = 0

  constructor(frames: Frames, ot: OtSender, stage: GarbledStage) {
    this.#frames = frames
    this.#ot = ot
    this.#batches = otBatches(transferCount(stage))
    this.labels = new Uint32Array(this.#batches.reduce((sum, count) => sum + count, 0) * LABEL_WORDS)
  }

  async #receive(): Promise<void> {
    const bytes = correctionBytes(this.#batches[this.#received++])
    this.#corrections.push(await this.#frames.receive(FrameType.otCorrection, bytes))
  }

  /** Takes in all corrections: what the evaluator sends after them can be received then. */
  async receiveAll(): Promise<void> {
    while (this.#received < this.#batches.length) await this.#receive()
  }

  /** Makes the labels of the first `inputs` transfers. */
  async fill(inputs: number): Promise<void> {
    while (this.#done < inputs) {
      if (this.#corrections.length === 0) await this.#receive()
      const count = this.#batches[this.#extended++]
      const part = this.labels.subarray(this.#done * LABEL_WORDS, (this.#done + count) * LABEL_WORDS)
      this.#ot.extend(count, this.#corrections.shift()!, part)
      this.#done += count
    }
  }
}

/** What a selecting stage leaves open for the garbler until the evaluator's answer. */
export interface OpenSelection {
  readonly chosen: Uint32Array
  readonly permute: Uint8Array
}

/** Shares of the inputs, shifted: what a selecting stage multiplies by its bit. */
function shifted(share: Uint32Array, stage: GarbledStage, shift: number): Uint32Array {
  const out = new Uint32Array(stage.inputs.length)
  for (let i = 0; i < out.length; i++) out[i] = share[stage.inputs[i]] >>> shift
  return out
}

/**
 * Garbler: streams the tables of a stage. Resolves to its shares of the outputs, mod 2^32, having sent the corrections;
 * for argmax to nothing, having sent what decodes the label.
 */
export async function garbleStage(
  frames: Frames,
  offload: Offload,
  stage: GarbledStage,
  streams: StageSeed,
  ot: GarblerTransfers,
  zero: ZeroLabels,
  share: Uint32Array,
): Promise<{ shares: Uint32Array; selection: OpenSelection | undefined }> {
  const { spec, instances, projection } = stage
  const shift = projection?.selectShift
  const job: GarbleJob = {
    spec,
    instances,
    streams,
    frameBytes: BULK_FRAME_BYTES,
    delta: ot.forward.delta,
    evaluatorZero: zero.labels,
    bits: expandShare(stage, share, (arena, at) => arena.u8(at, transferCount(stage)).slice()),
    selected: shift === undefined ? undefined : shifted(share, stage, shift),
  }
  const garbled = await offload.garble(
    job,
    (inputs) => zero.fill(inputs),
    (tables) => frames.send(FrameType.tables, tables),
  )
  const { shares, corrections, colours } = garbled
  if (projection === undefined) {
    await frames.send(FrameType.colours, packBits(Uint32Array.from(colours), 1))
    return { shares, selection: undefined }
  }
  await frames.send(FrameType.projections, packBits(corrections, projection.ring))
  if (shift === undefined) return { shares, selection: undefined }
  const chosen = await choose(frames, ot.backward, selectionKeys(streams), colours)
  return { shares, selection: { chosen, permute: colours } }
}

/**
 * Evaluator: evaluates a stage as it streams in. Resolves to its shares of the outputs, mod
 * 2^32, and for a selecting stage to the elements to send; for argmax to the labels.
 */
export async function evaluateStage(
  frames: Frames,
  offload: Offload,
  stage: GarbledStage,
  streams: StageSeed,
  ot: EvaluatorTransfers,
  active: ActiveLabels,
): Promise<{ shares: Uint32Array; elements: Uint8Array | undefined }> {
  const { spec, instances, projection } = stage
  const outputs = programOf(spec).circuit.outputs.length
  const sizes = tableFrames(spec, instances, BULK_FRAME_BYTES)
  const job: EvaluateJob = { spec, instances, streams, frameBytes: BULK_FRAME_BYTES, evaluatorLabels: active.labels }
  const { sums, colours } = await offload.evaluate(
    job,
    (inputs) => active.fill(inputs),
    async () => {
      const { value, done } = sizes.next()
      return done ? undefined : await frames.receive(FrameType.tables, value)
    },
  )
  if (projection === undefined) {
    const theirs = unpackBits(await frames.receive(FrameType.colours, coloursBytes(stage)), outputs, 1)
    const decoded = theirs.map((colour, bit) => colour ^ colours[bit])
    const width = spec.kind === 'argmax' ? labelBits(spec.classes) : 0
    const labels = new Uint32Array(outputs / width)
    decoded.forEach((value, bit) => {
      labels[Math.floor(bit / width)] |= value << (bit % width)
    })
    return { shares: labels, elements: undefined }
  }
  const bytes = projectionBytes(outputs, instances, projection.ring)
  const packed = await frames.receive(FrameType.projections, bytes)
  const chunks = chunkSizes(instances)
  const projected = applyCorrections(sums, colours, packed, outputs, chunks, projection.ring)
  if (projection.selectShift === undefined) return { shares: projected, elements: undefined }
  const passing = new Uint8Array(instances)
  let first = 0
  for (const size of chunks) {
    passing.set(colours.subarray(first * outputs, first * outputs + size), first)
    first += size
  }
  const own = shifted(active.share, stage, projection.selectShift)
  const keys = selectionKeys(streams)
  const { shares, elements } = await offer(frames, ot.backward, keys, passing, own, projection.ring)
  return { shares: addInto(projected, shares), elements }
}
