/**
 * Randomness: node:crypto's generator, and AES-128-CTR streams expanded from its seeds.
 */
import { createCipheriv, randomBytes } from 'node:crypto'

/** Bytes of a seed: 128 bits of security. */
export const SEED_BYTES = 16

/** A fresh secret seed. */
export function randomSeed(): Uint8Array {
  return randomBytes(SEED_BYTES)
}

let zeroBytes = new Uint8Array(0)
/** A shared array of zeros, only ever read. */
function zeros(length: number): Uint8Array {
  if (zeroBytes.length < length) zeroBytes = new Uint8Array(length)
  return zeroBytes.subarray(0, length)
}

/** AES-128-CTR keystream under a 16-byte seed; two generators of one seed yield the same bytes. */
export class Prg {
  readonly #cipher
  constructor(seed: Uint8Array, domain = 0) {
    const counter = Buffer.alloc(16)
    // The domain sits above the block counter, so that streams of one seed never overlap (2^64 blocks each).
    counter.writeUInt32BE(domain, 4)
    this.#cipher = createCipheriv('aes-128-ctr', seed, counter)
  }

  /** The next `length` bytes of the stream. */
  bytes(length: number): Uint8Array {
    const stream = this.#cipher.update(new Uint8Array(length))
    // No Buffer: its slice() shares memory where a Uint8Array's copies.
    return new Uint8Array(stream.buffer, stream.byteOffset, stream.byteLength)
  }

  /** Fills `out` with the next bytes of the stream. */
  into(out: Uint8Array): void {
    const stream = this.#cipher.update(zeros(out.length))
    out.set(stream)
    const { buffer } = stream
    if (buffer instanceof ArrayBuffer && buffer.byteLength === stream.byteLength) buffer.transfer(0)
  }

  /** The next `length` uniform elements of Z_{2^bits}, bits <= 32. */
  ring(length: number, bits: number): Uint32Array {
    const raw = this.bytes(length * 4)
    const out = new Uint32Array(raw.buffer, raw.byteOffset, length).slice()
    if (bits < 32) {
      const mask = 2 ** bits - 1
      for (let i = 0; i < length; i++) out[i] &= mask
    }
    return out
  }
}

/** Bytes that a small read draws at once. */
const READ_AHEAD = 4096

/** A stream that is read in small pieces: calls of the cipher cost more than their bytes. The bytes are those of the generator. */
export class ReadAhead {
  readonly #prg: Prg
  #ahead = new Uint8Array(0)
  #at = 0

  constructor(prg: Prg) {
    this.#prg = prg
  }

  /** Fills `out` with the next bytes of the stream. */
  into(out: Uint8Array): void {
    const kept = Math.min(out.length, this.#ahead.length - this.#at)
    out.set(this.#ahead.subarray(this.#at, this.#at + kept))
    this.#at += kept
    if (kept === out.length) return
    const rest = out.subarray(kept)
    if (rest.length >= READ_AHEAD) {
      this.#prg.into(rest)
      return
    }
    if (this.#ahead.length === 0) this.#ahead = new Uint8Array(READ_AHEAD)
    this.#prg.into(this.#ahead)
    rest.set(this.#ahead.subarray(0, rest.length))
    this.#at = rest.length
  }
}
