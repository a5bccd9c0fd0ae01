/**
 * Correlated OT extension for garbling: SoftSpokenOT (Roy, CRYPTO 2022), semi-honest, with fields of 2^k elements.
 *
 * The correlation is the garbling offset: for choice bit c the sender's row q and the receiver's row t satisfy
 * t = q xor c * delta. So q *is* the zero label of an evaluator input wire and t *is* its active label; nothing
 * flows from sender to receiver. The receiver sends 128/k bits a transfer.
 *
 * Each of the 128/k blocks is a small-field VOLE (section 3): the receiver knows 2^k seeds, the sender all but the
 * one at its secret index delta_i, handed over by a GGM tree and k base OTs (Boyle et al., CCS 2019, section 4).
 */
import { createHash, randomBytes } from 'node:crypto'
import { Arena } from '../kernels/arena.js'
import { Prg, ReadAhead, SEED_BYTES } from '../random.js'
import { type Frames, FrameType } from '../wire/frames.js'
import { baseOtReceive, baseOtSend } from './base-ot.js'

/** k: 2^k streams a block and 128/k bits a transfer. Larger k: fewer bytes, more AES. */
export const FIELD_BITS = 4
export const KAPPA = 128
const BLOCKS = KAPPA / FIELD_BITS
const LEAVES = 1 << FIELD_BITS

/**
 * Transfers extended at once: the fixed cost of a batch is spread, and a correction frame is about 512 KiB. Streams and rows lie this
 * many bits apart, and 64 bytes more than a power of two keep them out of the same lines of the cache.
 */
export const OT_BATCH = (1 << 17) + 512

/** Bytes of the correction of a batch of `count` transfers (a multiple of 128). */
export function correctionBytes(count: number): number {
  return (BLOCKS * count) / 8
}

/** Batches that `count` transfers are cut into, each padded to a multiple of 128. */
export function otBatches(count: number): number[] {
  const sizes: number[] = []
  for (let left = count; left > 0; left -= OT_BATCH) sizes.push(Math.min(Math.ceil(left / 128) * 128, OT_BATCH))
  return sizes
}

/** The receiver's side of base OTs: the key of each choice. */
export type BaseReceive = (frames: Frames, choices: readonly number[]) => Promise<Uint8Array[]>
/** The sender's side: pairs of keys. */
export type BaseSend = (frames: Frames, count: number) => Promise<[Uint8Array, Uint8Array][]>

/** The two children of a GGM node. */
function children(seed: Uint8Array): [Uint8Array, Uint8Array] {
  const digest = createHash('sha256').update('minionn ggm').update(seed).digest()
  return [digest.subarray(0, SEED_BYTES), digest.subarray(SEED_BYTES)]
}

function xorBytes(into: Uint8Array, other: Uint8Array): void {
  for (let i = 0; i < into.length; i++) into[i] ^= other[i]
}

/** The streams of one block laid out in an arena, folded into four rows and their sum. */
function foldBlock(
  arena: Arena,
  prgs: readonly (ReadAhead | undefined)[],
  streams: number,
  rows: number,
  sum: number,
  bytes: number,
): void {
  prgs.forEach((prg, i) => {
    const stream = arena.u8(streams + i * bytes, bytes)
    if (prg === undefined) stream.fill(0)
    else prg.into(stream)
  })
  arena.run.fold16(streams, rows, sum, bytes)
}

/** The garbler's end. Stateful: both ends must extend the same counts in the same order. */
export class OtSender {
  /** The global offset, four words, lowest bit set. Secret. */
  readonly delta: Uint32Array
  readonly #indices: Uint8Array
  readonly #streams: (ReadAhead | undefined)[][]

  private constructor(delta: Uint32Array, indices: Uint8Array, streams: (ReadAhead | undefined)[][]) {
    this.delta = delta
    this.#indices = indices
    this.#streams = streams
  }

  /** Base OTs, as their receiver, by public-key operations or from another extension: the keys of the choices. */
  static async setup(frames: Frames, base: BaseReceive = baseOtReceive): Promise<OtSender> {
    const bytes = new Uint8Array(randomBytes(KAPPA / 8))
    bytes[0] |= 1
    const delta = new Uint32Array(bytes.buffer)
    const bit = (i: number) => (delta[i >>> 5] >>> (i & 31)) & 1
    const indices = new Uint8Array(BLOCKS)
    for (let i = 0; i < KAPPA; i++) indices[Math.floor(i / FIELD_BITS)] |= bit(i) << (i % FIELD_BITS)
    // Level d of a block's tree branches on bit k-1-d of the leaf index. Learning the sum of the siblings of the
    // path's node needs the key of the other branch.
    const choices = Array.from({ length: KAPPA }, (_, n) => {
      const block = Math.floor(n / FIELD_BITS)
      const level = n % FIELD_BITS
      return 1 - ((indices[block] >>> (FIELD_BITS - 1 - level)) & 1)
    })
    const keys = await base(frames, choices)
    const corrections = await frames.receive(FrameType.baseOt, KAPPA * 2 * SEED_BYTES)
    const streams = Array.from({ length: BLOCKS }, (_, block) => {
      let level: (Uint8Array | undefined)[] = [undefined]
      for (let d = 0; d < FIELD_BITS; d++) {
        const n = block * FIELD_BITS + d
        const side = choices[n]
        const next: (Uint8Array | undefined)[] = []
        for (const seed of level) next.push(...(seed === undefined ? [undefined, undefined] : children(seed)))
        // The sum of all nodes on this side, less those known, is the sibling of the path's node.
        const sibling = corrections.slice((2 * n + side) * SEED_BYTES, (2 * n + side + 1) * SEED_BYTES)
        xorBytes(sibling, keys[n])
        next.forEach((seed, i) => {
          if ((i & 1) === side && seed !== undefined) xorBytes(sibling, seed)
        })
        const path = indices[block] >>> (FIELD_BITS - 1 - d)
        next[path ^ 1] = sibling
        level = next
      }
      // Reindexed by x xor delta_i, so that extend() folds straight to v_j + delta_j u.
      return level.map((_, x) => {
        const seed = level[x ^ indices[block]]
        return seed === undefined ? undefined : new ReadAhead(new Prg(seed))
      })
    })
    return new OtSender(delta, indices, streams)
  }

  /** Writes the zero labels of `count` transfers (a multiple of 128), four words each, from the receiver's correction. */
  extend(count: number, correction: Uint8Array, out: Uint32Array): void {
    Arena.with((arena) => {
      const bytes = count / 8
      const streams = arena.alloc(LEAVES * bytes)
      const sum = arena.alloc(bytes)
      const d = arena.alloc(BLOCKS * bytes)
      const matrix = arena.alloc(KAPPA * bytes)
      const labels = arena.alloc(count * 16)
      arena.u8(d, correction.length).set(correction)
      for (let block = 0; block < BLOCKS; block++) {
        const rows = matrix + block * FIELD_BITS * bytes
        foldBlock(arena, this.#streams[block], streams, rows, sum, bytes)
        for (let j = 0; j < FIELD_BITS; j++) {
          // v_j + delta_j u + delta_j (u + c) = v_j + delta_j c; the missing stream has weight zero.
          const mask = -((this.#indices[block] >>> j) & 1)
          arena.run.xorMasked(rows + j * bytes, d + block * bytes, mask, bytes)
        }
      }
      arena.run.transpose128(matrix, labels, count)
      out.set(arena.u32(labels, count * 4))
    })
  }
}

/** The evaluator's end. */
export class OtReceiver {
  readonly #streams: ReadAhead[][]

  private constructor(streams: ReadAhead[][]) {
    this.#streams = streams
  }

  static async setup(frames: Frames, base: BaseSend = baseOtSend): Promise<OtReceiver> {
    const pairs = await base(frames, KAPPA)
    const corrections = new Uint8Array(KAPPA * 2 * SEED_BYTES)
    const streams = Array.from({ length: BLOCKS }, (_, block) => {
      let level: Uint8Array[] = [randomBytes(SEED_BYTES)]
      for (let d = 0; d < FIELD_BITS; d++) {
        level = level.flatMap((seed) => children(seed))
        const n = block * FIELD_BITS + d
        for (const side of [0, 1]) {
          const sum = corrections.subarray((2 * n + side) * SEED_BYTES, (2 * n + side + 1) * SEED_BYTES)
          sum.set(pairs[n][side])
          level.forEach((seed, i) => {
            if ((i & 1) === side) xorBytes(sum, seed)
          })
        }
      }
      return level.map((seed) => new ReadAhead(new Prg(seed)))
    })
    await frames.send(FrameType.baseOt, corrections)
    return new OtReceiver(streams)
  }

  /**
   * Extends `count` transfers (a multiple of 128) with the choice bits packed least significant first in words.
   * Writes the active labels, four words each, and returns the correction to send.
   */
  extend(count: number, choices: Uint32Array, out: Uint32Array): Uint8Array {
    if (choices.length !== count / 32)
      throw new Error(`expected ${count / 32} words of choice bits, got ${choices.length}`)
    return Arena.with((arena) => {
      const bytes = count / 8
      const streams = arena.alloc(LEAVES * bytes)
      const chosen = arena.alloc(bytes)
      const correction = arena.alloc(BLOCKS * bytes)
      const matrix = arena.alloc(KAPPA * bytes)
      const labels = arena.alloc(count * 16)
      arena.u32(chosen, choices.length).set(choices)
      for (let block = 0; block < BLOCKS; block++) {
        const sum = correction + block * bytes
        foldBlock(arena, this.#streams[block], streams, matrix + block * FIELD_BITS * bytes, sum, bytes)
        arena.run.xorLabels(sum, chosen, sum, bytes)
      }
      arena.run.transpose128(matrix, labels, count)
      out.set(arena.u32(labels, count * 4))
      return arena.u8(correction, BLOCKS * bytes).slice()
    })
  }
}
