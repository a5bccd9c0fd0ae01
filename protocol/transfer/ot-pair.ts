/**
 * The two OT extensions of a session. Forward, the garbler sends and the evaluator receives its input labels. Backward, the
 * evaluator sends: selection.ts needs it. The backward one takes its 128 base OTs from the forward one, so that public-key
 * operations are done once.
 */
import { createHash } from 'node:crypto'
import { SEED_BYTES } from '../random.js'
import { type Frames, FrameType } from '../wire/frames.js'
import { correctionBytes, KAPPA, OtReceiver, OtSender } from './softspoken.js'

/** The garbler's ends. */
export interface GarblerTransfers {
  readonly forward: OtSender
  readonly backward: OtReceiver
}

/** The evaluator's ends. */
export interface EvaluatorTransfers {
  readonly forward: OtReceiver
  readonly backward: OtSender
}

/** A key from row `i` of the forward extension: breaks the correlation by delta. */
function baseKey(row: Uint32Array, i: number): Uint8Array {
  return createHash('sha256')
    .update('minionn backward ot')
    .update(Uint8Array.of(i))
    .update(new Uint8Array(row.buffer, row.byteOffset, row.byteLength))
    .digest()
    .subarray(0, SEED_BYTES)
}

const rowOf = (rows: Uint32Array, i: number) => rows.subarray(4 * i, 4 * i + 4)

export async function setupGarbler(frames: Frames): Promise<GarblerTransfers> {
  const forward = await OtSender.setup(frames)
  const backward = await OtReceiver.setup(frames, async () => {
    const zero = new Uint32Array(4 * KAPPA)
    forward.extend(KAPPA, await frames.receive(FrameType.otCorrection, correctionBytes(KAPPA)), zero)
    return Array.from({ length: KAPPA }, (_, i) => {
      const row = rowOf(zero, i)
      return [
        baseKey(row, i),
        baseKey(
          row.map((word, w) => word ^ forward.delta[w]),
          i,
        ),
      ]
    })
  })
  return { forward, backward }
}

export async function setupEvaluator(frames: Frames): Promise<EvaluatorTransfers> {
  const forward = await OtReceiver.setup(frames)
  const backward = await OtSender.setup(frames, async (_, choices) => {
    const words = new Uint32Array(KAPPA / 32)
    choices.forEach((choice, i) => {
      words[i >>> 5] |= choice << (i & 31)
    })
    const labels = new Uint32Array(4 * KAPPA)
    await frames.send(FrameType.otCorrection, forward.extend(KAPPA, words, labels))
    return choices.map((_, i) => baseKey(rowOf(labels, i), i))
  })
  return { forward, backward }
}
