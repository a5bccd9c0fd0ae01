/**
 * The garbler: half-gates (Zahur, Rosulek, Evans, EUROCRYPT 2015), free XOR and point-and-permute over a chunk of
 * instances of one circuit. A wire is an array of zero labels, one per instance.
 *
 * Leaks nothing but the circuit and the number of instances. Secret: delta and the zero labels.
 */

import type { ChunkCipher } from './hash.js'
import { GateKind, INSTRUCTION_WORDS, LABEL_WORDS, type Program } from './program.js'

export class Garbler {
  readonly #program: Program
  readonly #delta: Uint32Array
  readonly #wires: Uint32Array
  readonly #keys: Uint32Array
  readonly instances: number

  /** `delta` is the global offset, four words whose lowest bit is set. */
  constructor(program: Program, delta: Uint32Array, instances: number) {
    if ((delta[0] & 1) !== 1) throw new Error('the lowest bit of delta must be set: it carries the colour')
    this.#program = program
    this.#delta = delta
    this.instances = instances
    this.#wires = new Uint32Array(program.slots * instances * LABEL_WORDS)
    this.#keys = new Uint32Array(4 * instances * LABEL_WORDS)
  }

  /** Zero labels of the inputs of this chunk: garbler wires, then evaluator wires, [wire][instance][4]. */
  setInputs(garbler: Uint32Array, evaluator: Uint32Array): void {
    this.#wires.set(garbler, 0)
    this.#wires.set(evaluator, garbler.length)
  }

  /**
   * Garbles the chunk; yields the tables of every `gatesPerFrame` AND gates, per gate
   * [generator half x instances][evaluator half x instances].
   */
  *garble(cipher: ChunkCipher, gatesPerFrame: number): Generator<Uint8Array> {
    const { code, circuit } = this.#program
    const n = this.instances * LABEL_WORDS
    const wires = this.#wires
    let remaining = circuit.andGates
    let frame = new Uint32Array(0)
    let filled = 0
    let gate = 0
    for (let at = 0; at < code.length; at += INSTRUCTION_WORDS) {
      const a = wires.subarray(code[at + 1] * n, (code[at + 1] + 1) * n)
      const b = wires.subarray(code[at + 2] * n, (code[at + 2] + 1) * n)
      const out = wires.subarray(code[at + 3] * n, (code[at + 3] + 1) * n)
      if (code[at] === GateKind.xor) {
        for (let i = 0; i < n; i++) out[i] = a[i] ^ b[i]
        continue
      }
      if (filled === frame.length) {
        if (filled > 0) yield new Uint8Array(frame.buffer)
        frame = new Uint32Array(Math.min(gatesPerFrame, remaining) * 2 * n)
        filled = 0
      }
      this.#and(cipher, a, b, out, code[at + 4], gate++, frame.subarray(filled, filled + 2 * n))
      filled += 2 * n
      remaining--
    }
    if (filled > 0) yield new Uint8Array(frame.buffer)
  }

  #and(
    cipher: ChunkCipher,
    a: Uint32Array,
    b: Uint32Array,
    out: Uint32Array,
    negated: number,
    gate: number,
    table: Uint32Array,
  ): void {
    const n = a.length
    const keys = this.#keys
    const [d0, d1, d2, d3] = this.#delta
    // sigma is linear: sigma(x xor delta) = sigma(x) xor sigma(delta).
    const s0 = d0 ^ d2
    const s1 = d1 ^ d3
    // A negated input swaps the meaning of its labels: its zero label is the other one.
    const na = negated & 1 ? -1 : 0
    const nb = negated & 2 ? -1 : 0
    const tweak = 2 * gate * this.instances
    for (let i = 0, t = tweak; i < n; i += 4, t += 2) {
      const a0 = a[i] ^ (d0 & na)
      const a1 = a[i + 1] ^ (d1 & na)
      const a2 = a[i + 2] ^ (d2 & na)
      const a3 = a[i + 3] ^ (d3 & na)
      const b0 = b[i] ^ (d0 & nb)
      const b1 = b[i + 1] ^ (d1 & nb)
      const b2 = b[i + 2] ^ (d2 & nb)
      const b3 = b[i + 3] ^ (d3 & nb)
      keys[i] = a0 ^ a2
      keys[i + 1] = a1 ^ a3
      keys[i + 2] = a0
      keys[i + 3] = a1 ^ t
      keys[n + i] = a0 ^ a2 ^ s0
      keys[n + i + 1] = a1 ^ a3 ^ s1
      keys[n + i + 2] = a0 ^ d0
      keys[n + i + 3] = a1 ^ d1 ^ t
      keys[2 * n + i] = b0 ^ b2
      keys[2 * n + i + 1] = b1 ^ b3
      keys[2 * n + i + 2] = b0
      keys[2 * n + i + 3] = b1 ^ (t + 1)
      keys[3 * n + i] = b0 ^ b2 ^ s0
      keys[3 * n + i + 1] = b1 ^ b3 ^ s1
      keys[3 * n + i + 2] = b0 ^ d0
      keys[3 * n + i + 3] = b1 ^ d1 ^ (t + 1)
    }
    cipher.encrypt(keys, (hash) => {
      for (let i = 0; i < n; i += 4) {
        const pa = -((a[i] ^ na) & 1)
        const pb = -((b[i] ^ nb) & 1)
        for (let w = 0; w < 4; w++) {
          const j = i + w
          const delta = this.#delta[w]
          const left = a[j] ^ (delta & na)
          const ha = hash[j] ^ keys[j]
          const hb = hash[2 * n + j] ^ keys[2 * n + j]
          const generator = ha ^ hash[n + j] ^ keys[n + j] ^ (delta & pb)
          const evaluator = hb ^ hash[3 * n + j] ^ keys[3 * n + j] ^ left
          table[j] = generator
          table[n + j] = evaluator
          out[j] = ha ^ (generator & pa) ^ hb ^ ((evaluator ^ left) & pb)
        }
      }
    })
  }

  /** Colours of the outputs' zero labels, [output][instance], one bit a byte: what decodes the evaluator's colours. */
  outputColours(): Uint8Array {
    return outputColours(this.#program, this.#wires, this.instances, true)
  }
}

/** Colour bits of the output labels held in `wires`; a garbler's include the negations, an evaluator's do not. */
export function outputColours(
  program: Program,
  wires: Uint32Array,
  instances: number,
  applyNegation: boolean,
): Uint8Array {
  const out = new Uint8Array(program.outputs.length * instances)
  program.outputs.forEach(({ slot, negated }, o) => {
    const flip = applyNegation && negated ? 1 : 0
    for (let i = 0; i < instances; i++) {
      out[o * instances + i] = (wires[(slot * instances + i) * LABEL_WORDS] & 1) ^ flip
    }
  })
  return out
}
