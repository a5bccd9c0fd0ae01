/**
 * The evaluator of half-gates (Zahur, Rosulek, Evans, EUROCRYPT 2015), chunk by chunk, gate by gate as tables arrive.
 */

import { outputColours } from './garbler.js'
import type { ChunkCipher } from './hash.js'
import { GateKind, INSTRUCTION_WORDS, LABEL_WORDS, type Program } from './program.js'

export class Evaluator {
  readonly #program: Program
  readonly #wires: Uint32Array
  readonly #keys: Uint32Array
  readonly instances: number
  #at = 0
  #gate = 0

  constructor(program: Program, instances: number) {
    this.#program = program
    this.instances = instances
    this.#wires = new Uint32Array(program.slots * instances * LABEL_WORDS)
    this.#keys = new Uint32Array(2 * instances * LABEL_WORDS)
  }

  /** Active labels of the inputs of this chunk, [wire][instance][4]. */
  setInputs(garbler: Uint32Array, evaluator: Uint32Array): void {
    this.#wires.set(garbler, 0)
    this.#wires.set(evaluator, garbler.length)
    this.#at = 0
    this.#gate = 0
  }

  /** Evaluates as far as these tables reach: a whole number of AND gates, in the garbler's order. */
  advance(cipher: ChunkCipher, tables: Uint32Array): void {
    const { code } = this.#program
    const n = this.instances * LABEL_WORDS
    const wires = this.#wires
    let used = 0
    for (; this.#at < code.length; this.#at += INSTRUCTION_WORDS) {
      const at = this.#at
      const isAnd = code[at] === GateKind.and
      if (isAnd && used === tables.length) return
      const a = wires.subarray(code[at + 1] * n, (code[at + 1] + 1) * n)
      const b = wires.subarray(code[at + 2] * n, (code[at + 2] + 1) * n)
      const out = wires.subarray(code[at + 3] * n, (code[at + 3] + 1) * n)
      if (isAnd) {
        this.#and(cipher, a, b, out, tables.subarray(used, used + 2 * n))
        used += 2 * n
      } else {
        for (let i = 0; i < n; i++) out[i] = a[i] ^ b[i]
      }
    }
  }

  #and(cipher: ChunkCipher, a: Uint32Array, b: Uint32Array, out: Uint32Array, table: Uint32Array): void {
    const n = a.length
    const keys = this.#keys
    for (let i = 0, t = 2 * this.#gate++ * this.instances; i < n; i += 4, t += 2) {
      keys[i] = a[i] ^ a[i + 2]
      keys[i + 1] = a[i + 1] ^ a[i + 3]
      keys[i + 2] = a[i]
      keys[i + 3] = a[i + 1] ^ t
      keys[n + i] = b[i] ^ b[i + 2]
      keys[n + i + 1] = b[i + 1] ^ b[i + 3]
      keys[n + i + 2] = b[i]
      keys[n + i + 3] = b[i + 1] ^ (t + 1)
    }
    cipher.encrypt(keys, (hash) => {
      for (let i = 0; i < n; i += 4) {
        const sa = -(a[i] & 1)
        const sb = -(b[i] & 1)
        for (let j = i; j < i + 4; j++) {
          const generator = hash[j] ^ keys[j] ^ (table[j] & sa)
          out[j] = generator ^ hash[n + j] ^ keys[n + j] ^ ((table[n + j] ^ a[j]) & sb)
        }
      }
    })
  }

  /** Colours of the active output labels, [output][instance], one bit a byte. */
  outputColours(): Uint8Array {
    return outputColours(this.#program, this.#wires, this.instances, false)
  }
}
