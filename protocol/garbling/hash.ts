/**
 * The tweakable circular correlation robust hash of half-gates, batched:
 * H(x, i) = AES_k(K) xor K with K = sigma(x) xor i and sigma(l || r) = (l xor r) || l.
 * Guo, Katz, Wang, Yu, "Efficient and Secure Multiparty Computation from Fixed-Key Block Ciphers", S&P 2020;
 * a fresh key per chunk bounds the queries per key: Guo, Katz, Wang, Weng, Yu, "Better Concrete Security for
 * Half-Gates Garbling (in the Multi-Instance Setting)", CRYPTO 2020. The keys are public.
 */
import { type Cipheriv, createCipheriv } from 'node:crypto'
import { Prg } from '../random.js'

/** OpenSSL call size above which its output falls to mmap (DESIGN). */
export const MAX_AES_CALL_BYTES = 64 * 1024

/** AES-128-ECB under one chunk's key. */
export class ChunkCipher {
  readonly #cipher: Cipheriv
  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false)
  }

  /** Encrypts `words` (a multiple of 4) and hands the result to `use`, then frees it. */
  encrypt(words: Uint32Array, use: (encrypted: Uint32Array) => void): void {
    const result = this.#cipher.update(new Uint8Array(words.buffer, words.byteOffset, words.byteLength))
    if ((result.byteOffset & 3) === 0) {
      use(new Uint32Array(result.buffer, result.byteOffset, words.length))
    } else {
      use(new Uint32Array(result.buffer.slice(result.byteOffset, result.byteOffset + result.byteLength)))
    }
    // Without this the collector sees thousands of external buffers late and time doubles (DESIGN).
    if (result.buffer instanceof ArrayBuffer && result.byteLength === result.buffer.byteLength)
      result.buffer.transfer(0)
  }
}

/** The hash keys of one inference's chunks, in order, from the public seed both parties hold. */
export class HashKeys {
  readonly #prg: Prg
  constructor(seed: Uint8Array) {
    this.#prg = new Prg(seed)
  }
  next(): ChunkCipher {
    return new ChunkCipher(this.#prg.bytes(16))
  }
}
