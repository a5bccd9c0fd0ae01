/**
 * The tweakable circular correlation robust hash of half-gates, batched:
 * H(x, i) = AES_k(K) xor K with K = sigma(x) xor i and sigma(l || r) = (l xor r) || l.
 * Guo, Katz, Wang, Yu, "Efficient and Secure Multiparty Computation from Fixed-Key Block Ciphers", S&P 2020;
 * a fresh key per chunk bounds the queries per key: Guo, Katz, Wang, Weng, Yu, "Better Concrete Security for
 * Half-Gates Garbling (in the Multi-Instance Setting)", CRYPTO 2020. The keys are public.
 */
import { type Cipheriv, createCipheriv } from 'node:crypto'
import type { Prg } from '../random.js'

/** OpenSSL call size above which its output falls to mmap, a system call each time. */
export const MAX_AES_CALL_BYTES = 64 * 1024

/** AES-128-ECB under one chunk's key. */
export class ChunkCipher {
  readonly #cipher: Cipheriv
  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false)
  }

  /** Encrypts `input` (a multiple of 16 bytes) into `output`. */
  encrypt(input: Uint8Array, output: Uint8Array): void {
    for (let at = 0; at < input.length; at += MAX_AES_CALL_BYTES) {
      const result = this.#cipher.update(input.subarray(at, at + MAX_AES_CALL_BYTES))
      output.set(result, at)
      // Without this the collector sees thousands of external buffers late.
      const { buffer } = result
      if (buffer instanceof ArrayBuffer && buffer.byteLength === result.byteLength) buffer.transfer(0)
    }
  }
}

/** Hash keys in order, from a public stream that both parties hold. */
export class HashKeys {
  readonly #prg: Prg
  constructor(prg: Prg) {
    this.#prg = prg
  }
  next(): ChunkCipher {
    return new ChunkCipher(this.#prg.bytes(16))
  }
}
