/**
 * The evaluator of half-gates (Zahur, Rosulek, Evans, EUROCRYPT 2015), chunk by chunk, gate by gate as tables arrive.
 */
import { GateKind } from '../circuits/builder.js'
import { Arena } from '../kernels/arena.js'
import { outputColours, projectionTweak } from './garbler.js'
import type { ChunkCipher } from './hash.js'
import { INSTRUCTION_WORDS, LABEL_BYTES, type Program } from './program.js'

export class Evaluator {
  readonly #program: Program
  readonly #arena = Arena.take()
  readonly #wires: number
  readonly #keys: number
  readonly #hash: number
  readonly #table: number
  readonly instances: number
  #at = 0
  #gate = 0

  /** Frames of tables hold up to `gatesPerFrame` AND gates. Holds an arena until released. */
  constructor(program: Program, instances: number, gatesPerFrame: number) {
    this.#program = program
    this.instances = instances
    const array = instances * LABEL_BYTES
    this.#keys = this.#arena.alloc(2 * array)
    this.#hash = this.#arena.alloc(2 * array)
    this.#table = this.#arena.alloc(gatesPerFrame * 2 * array)
    this.#wires = this.#arena.alloc(program.slots * array)
  }

  release(): void {
    this.#arena.release()
  }

  /** Active labels of the inputs of this chunk, [wire][instance][16 bytes]. */
  setInputs(garbler: Uint8Array, evaluator: Uint32Array): void {
    this.#arena.u8(this.#wires, garbler.length).set(garbler)
    this.#arena.u32(this.#wires + garbler.length, evaluator.length).set(evaluator)
    this.#at = 0
    this.#gate = 0
  }

  /** Evaluates as far as these tables reach: a whole number of AND gates, in the garbler's order. */
  advance(cipher: ChunkCipher, tables: Uint8Array): void {
    const { code } = this.#program
    const { run } = this.#arena
    const array = this.instances * LABEL_BYTES
    this.#arena.u8(this.#table, tables.length).set(tables)
    const keys = this.#arena.u8(this.#keys, 2 * array)
    const hash = this.#arena.u8(this.#hash, 2 * array)
    const wire = (at: number) => this.#wires + code[at] * array
    let used = 0
    for (; this.#at < code.length; this.#at += INSTRUCTION_WORDS) {
      const at = this.#at
      const kind = code[at]
      if (kind !== GateKind.xor && used === tables.length) return
      const a = wire(at + 1)
      const b = wire(at + 2)
      const out = wire(at + 3)
      if (kind === GateKind.xor) {
        run.xorLabels(a, b, out, array)
        continue
      }
      const tweak = 2 * this.#gate++ * this.instances
      if (kind === GateKind.adder) {
        const c = wire(at + 5)
        const sum = code[at + 6] < 0 ? 0 : wire(at + 6)
        run.evaluateAdderKeys(a, b, c, tweak, this.#keys, array)
        cipher.encrypt(keys, hash)
        run.evaluateAdderCombine(a, b, c, this.#keys, this.#hash, this.#table + used, out, sum, array)
      } else {
        run.evaluateKeys(a, b, tweak, this.#keys, array)
        cipher.encrypt(keys, hash)
        run.evaluateCombine(a, b, this.#keys, this.#hash, this.#table + used, out, array)
      }
      used += 2 * array
    }
  }

  /** Colours of the active output labels, [output][instance], one bit a byte. */
  outputColours(): Uint8Array {
    return outputColours(this.#program, this.#arena, this.#wires, this.#keys, this.instances, false)
  }

  /**
   * The evaluator's half of the projection: per instance the sum of the hashes of its active labels, mod 2^32. Where a
   * colour is 1 the garbler's correction must be added.
   */
  project(cipher: ChunkCipher): Uint32Array {
    const { outputs, circuit } = this.#program
    const { run } = this.#arena
    const n = this.instances
    const array = n * LABEL_BYTES
    // The tables are used up by now.
    const sums = this.#table
    const wire = (o: number) => this.#wires + outputs[Math.min(o, outputs.length - 1)].slot * array
    this.#arena.u32(sums, n).fill(0)
    for (let pair = 0; pair < outputs.length; pair += 2) {
      const tweak = projectionTweak(circuit.andGates, pair, n)
      run.evaluateKeys(wire(pair), wire(pair + 1), tweak, this.#keys, array)
      cipher.encrypt(this.#arena.u8(this.#keys, 2 * array), this.#arena.u8(this.#hash, 2 * array))
      for (let o = 0; o < Math.min(2, outputs.length - pair); o++) {
        run.projectEvaluator(this.#keys + o * array, this.#hash + o * array, n, sums)
      }
    }
    return this.#arena.u32(sums, n).slice()
  }
}
