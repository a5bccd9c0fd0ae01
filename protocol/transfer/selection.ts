/**
 * Shares of q h, where q is a garbled output bit that neither party knows and h is the evaluator's own number: correlated OT
 * backward, from the evaluator to the garbler.
 *
 * The evaluator sees the colour c of q's label, the garbler knows the permute bit p, q = c xor p, so q h = c h + p d with
 * d = (1 - 2c) h. The garbler chooses with p among the hashes z0, z1 of a row; the evaluator sends e = z0 + d - z1. The garbler's share is
 * z_p + p e, the evaluator's c h - z0 (Demmler, Schneider, Zohner, "ABY", NDSS 2015, section III.A.4, with one message).
 * p is uniform and of no use elsewhere, so the transfers never wait for an input.
 */
import type { HashKeys } from '../garbling/hash.js'
import { LABEL_WORDS } from '../garbling/program.js'
import { Arena } from '../kernels/arena.js'
import { packBits, packedBytes, unpackBits } from '../ring/bits.js'
import { type Frames, FrameType } from '../wire/frames.js'
import { correctionBytes, type OtReceiver, type OtSender, otBatches } from './softspoken.js'

/** Bytes of a row. */
const ROW_BYTES = 16
/** Rows hashed at once. */
const HASH_ROWS = 2048

/**
 * First words of the hashes of rows, of each as given under an even tweak and xor delta under an odd one: [plain, moved].
 */
function hashRows(hash: HashKeys, rows: Uint32Array, delta: Uint32Array, count: number): [Uint32Array, Uint32Array] {
  const words: [Uint32Array, Uint32Array] = [new Uint32Array(count), new Uint32Array(count)]
  Arena.with((arena) => {
    const [plain, moved] = [arena.alloc(HASH_ROWS * ROW_BYTES), arena.alloc(HASH_ROWS * ROW_BYTES)]
    const keys = arena.alloc(2 * HASH_ROWS * ROW_BYTES)
    const hashed = arena.alloc(2 * HASH_ROWS * ROW_BYTES)
    const sums = arena.alloc(4 * HASH_ROWS)
    for (let first = 0; first < count; first += HASH_ROWS) {
      const size = Math.min(HASH_ROWS, count - first)
      const bytes = size * ROW_BYTES
      const part = rows.subarray(first * LABEL_WORDS, (first + size) * LABEL_WORDS)
      arena.u32(plain, part.length).set(part)
      const shifted = arena.u32(moved, part.length)
      for (let i = 0; i < part.length; i++) shifted[i] = part[i] ^ delta[i & 3]
      arena.run.evaluateKeys(plain, moved, 0, keys, bytes)
      hash.next().encrypt(arena.u8(keys, 2 * bytes), arena.u8(hashed, 2 * bytes))
      words.forEach((out, n) => {
        arena.u32(sums, size).fill(0)
        arena.run.projectEvaluator(keys + n * bytes, hashed + n * bytes, size, sums)
        out.set(arena.u32(sums, size), first)
      })
    }
  })
  return words
}

/** Bits of 0 or 1, a byte each, as words for the extension, padded to its batches. */
function packChoices(bits: Uint8Array, total: number): Uint32Array {
  return Arena.with((arena) => {
    const bytes = arena.alloc(total)
    const words = arena.alloc(total / 8)
    arena.u8(bytes, total).fill(0)
    arena.u8(bytes, bits.length).set(bits)
    arena.run.packBytes(bytes, words, total)
    return arena.u32(words, total / 32).slice()
  })
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

/** Bytes of `count` selections: corrections to the evaluator, elements of the ring back. */
export function selectionBytes(count: number, ring: number): { down: number; up: number } {
  return { down: sum(otBatches(count).map(correctionBytes)), up: packedBytes(count, ring) }
}

/** Garbler: transfers the choice of the permute bits, a byte each. Resolves to the chosen hashes z_p. */
export async function choose(
  frames: Frames,
  ot: OtReceiver,
  hash: HashKeys,
  permute: Uint8Array,
): Promise<Uint32Array> {
  const batches = otBatches(permute.length)
  const choices = packChoices(permute, sum(batches))
  const rows = new Uint32Array(sum(batches) * LABEL_WORDS)
  let done = 0
  for (const count of batches) {
    const chosen = choices.subarray(done / 32, (done + count) / 32)
    const correction = ot.extend(count, chosen, rows.subarray(done * LABEL_WORDS, (done + count) * LABEL_WORDS))
    done += count
    await frames.send(FrameType.otCorrection, correction)
  }
  const [zero, one] = hashRows(hash, rows, new Uint32Array(LABEL_WORDS), permute.length)
  return zero.map((word, i) => (permute[i] ? one[i] : word))
}

/** Garbler: receives the elements e. Resolves to its shares of q h, mod 2^32. */
export async function receiveSelected(
  frames: Frames,
  chosen: Uint32Array,
  permute: Uint8Array,
  ring: number,
): Promise<Uint32Array> {
  const packed = await frames.receive(FrameType.selections, packedBytes(chosen.length, ring))
  const elements = unpackBits(packed, chosen.length, ring)
  return chosen.map((word, i) => (permute[i] ? word + elements[i] : word))
}

/** Evaluator: its shares of q h mod 2^32, and the elements e to send. `colours` a byte each, `values` mod 2^32. */
export async function offer(
  frames: Frames,
  ot: OtSender,
  hash: HashKeys,
  colours: Uint8Array,
  values: Uint32Array,
  ring: number,
): Promise<{ shares: Uint32Array; elements: Uint8Array }> {
  const batches = otBatches(values.length)
  const rows = new Uint32Array(sum(batches) * LABEL_WORDS)
  let done = 0
  for (const count of batches) {
    const correction = await frames.receive(FrameType.otCorrection, correctionBytes(count))
    ot.extend(count, correction, rows.subarray(done * LABEL_WORDS, (done + count) * LABEL_WORDS))
    done += count
  }
  const [zero, one] = hashRows(hash, rows, ot.delta, values.length)
  const elements = values.map((h, i) => zero[i] - one[i] + (colours[i] ? -h : h))
  const shares = values.map((h, i) => (colours[i] ? h : 0) - zero[i])
  return { shares, elements: packBits(elements, ring) }
}
