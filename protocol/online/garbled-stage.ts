/**
 * One garbled stage over the wire, both sides next to each other: oblivious transfer of the evaluator's labels, then
 * chunk by chunk the garbler's active labels and the tables, streamed while later chunks are still being garbled.
 */

import { type ActivationShape, activationCircuit } from '../circuits/activation.js'
import { argmaxCircuit } from '../circuits/argmax.js'
import { Evaluator } from '../garbling/evaluator.js'
import { Garbler } from '../garbling/garbler.js'
import type { HashKeys } from '../garbling/hash.js'
import {
  CHUNK_INSTANCES,
  chunkSizes,
  compileProgram,
  gatesPerFrame,
  LABEL_BYTES,
  LABEL_WORDS,
  type Program,
} from '../garbling/program.js'
import { BULK_FRAME_BYTES } from '../limits.js'
import { activationInputs, activationShape, type Plan, stageSizes } from '../model/plan.js'
import type { Prg } from '../random.js'
import { correctionBytes, type OtReceiver, type OtSender, otBatches } from '../transfer/softspoken.js'
import { type Frames, FrameType } from '../wire/frames.js'

/** A batch of equal circuits and which elements of y each takes. */
export interface GarbledStage {
  readonly program: Program
  readonly instances: number
  /** Elements of y, [instance][window]. */
  readonly inputs: Int32Array
  readonly window: number
  readonly ringIn: number
  /** Bits of the mask of the next input; 0 for argmax, which has no next stage. */
  readonly ringOut: number
}

/** The stages to garble for a plan: one per activation, and argmax where only the label is revealed. */
export function garbledStages(plan: Plan): GarbledStage[] {
  const stages: GarbledStage[] = plan.stages.flatMap((s, i) => {
    if (s.activation === undefined) return []
    const shape: ActivationShape = activationShape(plan, i)
    return [
      {
        program: compileProgram(activationCircuit(shape)),
        instances: stageSizes(s).instances,
        inputs: activationInputs(s),
        window: shape.window,
        ringIn: shape.ringIn,
        ringOut: shape.ringOut,
      },
    ]
  })
  if (plan.card.reveal === 'label') {
    const classes = plan.output.size
    const ringIn = plan.stages[plan.stages.length - 1].ring
    stages.push({
      program: compileProgram(argmaxCircuit(classes, ringIn)),
      instances: 1,
      inputs: Int32Array.from({ length: classes }, (_, i) => i),
      window: classes,
      ringIn,
      ringOut: 0,
    })
  }
  return stages
}

/** Oblivious transfers a stage needs: one per input bit of the evaluator. */
export function transferCount(stage: GarbledStage): number {
  return stage.program.circuit.evaluatorInputs * stage.instances
}

/** Exact payload bytes of a stage: corrections and colours up; labels and tables down. */
export function stageBytes(stage: GarbledStage): { up: number; down: number; andGates: number } {
  const { circuit } = stage.program
  const andGates = circuit.andGates * stage.instances
  const corrections = otBatches(transferCount(stage)).reduce((sum, count) => sum + correctionBytes(count), 0)
  const argmax = stage.ringOut === 0
  return {
    up: corrections + (argmax ? 0 : coloursBytes(stage)),
    down:
      circuit.garblerInputs * stage.instances * LABEL_BYTES +
      andGates * 2 * LABEL_BYTES +
      (argmax ? coloursBytes(stage) : 0),
    andGates,
  }
}

function coloursBytes(stage: GarbledStage): number {
  const outputs = stage.program.circuit.outputs.length
  return chunkSizes(stage.instances).reduce((sum, size) => sum + Math.ceil((outputs * size) / 8), 0)
}

/** Bits of y's share in wire order, one byte each: [wire][instance] of the chunk starting at `first`. */
function windowBits(stage: GarbledStage, share: Uint32Array, first: number, size: number): Uint8Array {
  const { window, ringIn, inputs } = stage
  const out = new Uint8Array(window * ringIn * size)
  for (let w = 0; w < window; w++) {
    for (let i = 0; i < size; i++) {
      const value = share[inputs[(first + i) * window + w]]
      for (let bit = 0; bit < ringIn; bit++) out[(w * ringIn + bit) * size + i] = (value >>> bit) & 1
    }
  }
  return out
}

/** The evaluator's choice bits of a whole stage, chunk after chunk, packed in words for the OT batches. */
export function choiceBits(stage: GarbledStage, share: Uint32Array, mask: Uint32Array): Uint32Array {
  const total = otBatches(transferCount(stage)).reduce((sum, count) => sum + count, 0)
  const words = new Uint32Array(total / 32)
  let at = 0
  for (let first = 0; first < stage.instances; first += CHUNK_INSTANCES) {
    const size = Math.min(CHUNK_INSTANCES, stage.instances - first)
    for (const bit of windowBits(stage, share, first, size)) {
      words[at >>> 5] |= bit << (at & 31)
      at++
    }
    for (let bit = 0; bit < stage.ringOut; bit++) {
      for (let i = 0; i < size; i++, at++) words[at >>> 5] |= ((mask[first + i] >>> bit) & 1) << (at & 31)
    }
  }
  return words
}

/** Evaluator: sends the corrections; resolves to its active labels, [chunk][wire][instance]. */
export async function receiveLabels(
  frames: Frames,
  ot: OtReceiver,
  stage: GarbledStage,
  choices: Uint32Array,
): Promise<Uint32Array> {
  const labels = new Uint32Array(choices.length * 32 * LABEL_WORDS)
  let done = 0
  for (const count of otBatches(transferCount(stage))) {
    const batch = ot.extend(count, choices.subarray(done / 32, (done + count) / 32))
    labels.set(batch.labels, done * LABEL_WORDS)
    done += count
    await frames.send(FrameType.otCorrection, batch.correction)
  }
  return labels
}

/** Garbler: receives the corrections; resolves to the zero labels, [chunk][wire][instance]. */
export async function sendLabels(frames: Frames, ot: OtSender, stage: GarbledStage): Promise<Uint32Array> {
  const batches = otBatches(transferCount(stage))
  const labels = new Uint32Array(batches.reduce((sum, count) => sum + count, 0) * LABEL_WORDS)
  let done = 0
  for (const count of batches) {
    const correction = await frames.receive(FrameType.otCorrection, correctionBytes(count))
    labels.set(ot.extend(count, correction), done * LABEL_WORDS)
    done += count
  }
  return labels
}

/** Garbler: streams labels and tables of a stage; resolves to the zero colours of the outputs, one array a chunk. */
export async function garbleStage(
  frames: Frames,
  stage: GarbledStage,
  ot: OtSender,
  evaluatorZero: Uint32Array,
  share: Uint32Array,
  hash: HashKeys,
  labels: Prg,
): Promise<Uint8Array[]> {
  const { program } = stage
  const { garblerInputs, evaluatorInputs } = program.circuit
  const colours: Uint8Array[] = []
  let garbler: Garbler | undefined
  let first = 0
  try {
    for (const size of chunkSizes(stage.instances)) {
      if (garbler?.instances !== size) {
        garbler?.release()
        garbler = new Garbler(program, ot.delta, size, gatesPerFrame(size, BULK_FRAME_BYTES))
      }
      const zero = labels.bytes(garblerInputs * size * LABEL_BYTES)
      const offset = first * evaluatorInputs * LABEL_WORDS
      const own = evaluatorZero.subarray(offset, offset + evaluatorInputs * size * LABEL_WORDS)
      const active = garbler.setInputs(zero, own, windowBits(stage, share, first, size))
      await frames.send(FrameType.labels, active)
      for (const tables of garbler.garble(hash.next())) await frames.send(FrameType.tables, tables)
      colours.push(garbler.outputColours())
      first += size
    }
  } finally {
    garbler?.release()
  }
  return colours
}

/** Evaluator: evaluates a stage as it streams in; resolves to the colours of the outputs, one array a chunk. */
export async function evaluateStage(
  frames: Frames,
  stage: GarbledStage,
  evaluatorLabels: Uint32Array,
  hash: HashKeys,
): Promise<Uint8Array[]> {
  const { program } = stage
  const { garblerInputs, evaluatorInputs, andGates } = program.circuit
  const colours: Uint8Array[] = []
  let evaluator: Evaluator | undefined
  let first = 0
  try {
    for (const size of chunkSizes(stage.instances)) {
      const perFrame = gatesPerFrame(size, BULK_FRAME_BYTES)
      if (evaluator?.instances !== size) {
        evaluator?.release()
        evaluator = new Evaluator(program, size, perFrame)
      }
      const active = await frames.receive(FrameType.labels, garblerInputs * size * LABEL_BYTES)
      const offset = first * evaluatorInputs * LABEL_WORDS
      evaluator.setInputs(active, evaluatorLabels.subarray(offset, offset + evaluatorInputs * size * LABEL_WORDS))
      const cipher = hash.next()
      for (let left = andGates; left > 0; left -= perFrame) {
        const bytes = Math.min(left, perFrame) * size * 2 * LABEL_BYTES
        evaluator.advance(cipher, await frames.receive(FrameType.tables, bytes))
      }
      colours.push(evaluator.outputColours())
      first += size
    }
  } finally {
    evaluator?.release()
  }
  return colours
}

/** Sends colours, one bit each. */
export async function sendColours(frames: Frames, colours: readonly Uint8Array[]): Promise<void> {
  const packed = colours.map((bits) => {
    const out = new Uint8Array(Math.ceil(bits.length / 8))
    for (let i = 0; i < bits.length; i++) out[i >>> 3] |= bits[i] << (i & 7)
    return out
  })
  await frames.send(FrameType.colours, Buffer.concat(packed))
}

/** Receives the other side's colours and decodes the outputs with one's own: one number an instance. */
export async function receiveOutputs(
  frames: Frames,
  stage: GarbledStage,
  own: readonly Uint8Array[],
): Promise<Uint32Array> {
  const packed = await frames.receive(FrameType.colours, coloursBytes(stage))
  const outputs = stage.program.circuit.outputs.length
  const values = new Uint32Array(stage.instances)
  let at = 0
  let first = 0
  for (const bits of own) {
    const size = bits.length / outputs
    for (let n = 0; n < bits.length; n++) {
      const bit = bits[n] ^ ((packed[at + (n >>> 3)] >>> (n & 7)) & 1)
      values[first + (n % size)] |= bit << Math.floor(n / size)
    }
    at += Math.ceil(bits.length / 8)
    first += size
  }
  return values
}
