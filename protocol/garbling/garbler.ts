/**
 * The garbler: half-gates (Zahur, Rosulek, Evans, EUROCRYPT 2015), free XOR and point-and-permute over a chunk of
 * instances of one circuit. A wire is an array of zero labels, one per instance, in an arena of its own.
 *
 * Leaks nothing but the circuit and the number of instances. Secret: delta and the zero labels.
 */
import { GateKind } from '../circuits/builder.js'
import { Arena } from '../kernels/arena.js'
import type { ChunkCipher } from './hash.js'
import { INSTRUCTION_WORDS, LABEL_BYTES, LABEL_WORDS, type Program } from './program.js'

export class Garbler {
  readonly #program: Program
  readonly #arena = Arena.take()
  readonly #wires: number
  readonly #delta: number
  readonly #keys: number
  readonly #hash: number
  readonly #table: number
  readonly #bits: number
  /** Weights, shares and corrections of a projection, 32 bits an instance. */
  readonly #projection: number
  readonly #gatesPerFrame: number
  readonly instances: number

  /**
   * `delta` is the global offset, four words whose lowest bit is set. Frames of tables hold `gatesPerFrame` AND gates.
   * Holds an arena until released.
   */
  constructor(program: Program, delta: Uint32Array, instances: number, gatesPerFrame: number) {
    if ((delta[0] & 1) !== 1) throw new Error('the lowest bit of delta must be set: it carries the colour')
    this.#program = program
    this.instances = instances
    this.#gatesPerFrame = gatesPerFrame
    const array = instances * LABEL_BYTES
    this.#delta = this.#arena.alloc(LABEL_BYTES)
    this.#keys = this.#arena.alloc(4 * array)
    this.#hash = this.#arena.alloc(4 * array)
    this.#table = this.#arena.alloc(gatesPerFrame * 2 * array)
    this.#wires = this.#arena.alloc(program.slots * array)
    this.#bits = this.#arena.alloc(Math.max(1, program.circuit.garblerInputs) * instances)
    this.#projection = this.#arena.alloc(3 * 4 * instances)
    this.#arena.u32(this.#delta, LABEL_WORDS).set(delta)
  }

  release(): void {
    this.#arena.release()
  }

  /**
   * Takes the garbler's active labels and the evaluator's zero labels, [wire][instance][16 bytes], and the garbler's
   * input bits, one byte each, [wire][instance]. The active labels are public: the zero label of a wire is set to
   * active xor bit * delta, which is as uniform as choosing it first, and nothing needs to be sent.
   */
  setInputs(garbler: Uint8Array, evaluator: Uint32Array, bits: Uint8Array): void {
    const arena = this.#arena
    arena.u8(this.#wires, garbler.length).set(garbler)
    arena.u8(this.#bits, bits.length).set(bits)
    arena.run.activate(this.#wires, this.#bits, this.#delta, bits.length)
    arena.u32(this.#wires + garbler.length, evaluator.length).set(evaluator)
  }

  /**
   * Garbles the chunk; yields the tables frame by frame, per gate
   * [generator half x instances][evaluator half x instances].
   */
  *garble(cipher: ChunkCipher): Generator<Uint8Array> {
    const { code, circuit } = this.#program
    const { run } = this.#arena
    const array = this.instances * LABEL_BYTES
    const keys = this.#arena.u8(this.#keys, 4 * array)
    const hash = this.#arena.u8(this.#hash, 4 * array)
    const wire = (at: number) => this.#wires + code[at] * array
    let filled = 0
    let gate = 0
    for (let at = 0; at < code.length; at += INSTRUCTION_WORDS) {
      const a = wire(at + 1)
      const b = wire(at + 2)
      const out = wire(at + 3)
      if (code[at] === GateKind.xor) {
        run.xorLabels(a, b, out, array)
        continue
      }
      // A negated input swaps the meaning of its labels: its zero label is the other one.
      const na = code[at + 4] & 1 ? -1 : 0
      const nb = code[at + 4] & 2 ? -1 : 0
      const tweak = 2 * gate * this.instances
      const table = this.#table + filled * 2 * array
      if (code[at] === GateKind.adder) {
        const c = wire(at + 5)
        const sum = code[at + 6] < 0 ? 0 : wire(at + 6)
        run.garbleAdderKeys(a, b, c, this.#delta, na, nb, tweak, this.#keys, array)
        cipher.encrypt(keys, hash)
        run.garbleAdderCombine(a, b, c, this.#delta, na, nb, this.#keys, this.#hash, table, out, sum, array)
      } else {
        run.garbleKeys(a, b, this.#delta, na, nb, tweak, this.#keys, array)
        cipher.encrypt(keys, hash)
        run.garbleCombine(a, b, this.#delta, na, nb, this.#keys, this.#hash, table, out, array)
      }
      gate++
      if (++filled === this.#gatesPerFrame || gate === circuit.andGates) {
        yield this.#arena.u8(this.#table, filled * 2 * array).slice()
        filled = 0
      }
    }
  }

  /** Colours of the outputs' zero labels, [output][instance], one bit a byte: what decodes the evaluator's colours. */
  outputColours(): Uint8Array {
    return outputColours(this.#program, this.#arena, this.#wires, this.#bits, this.instances, true)
  }

  /**
   * Projects the output bits to shares mod 2^32 of their weighted sum (projection.ts): writes one correction per output
   * and instance, [output][instance], and returns the garbler's shares. A weight is one for all instances or one each.
   */
  project(cipher: ChunkCipher, weights: readonly (number | Uint32Array)[], corrections: Uint32Array): Uint32Array {
    const { outputs, circuit } = this.#program
    const { run } = this.#arena
    const n = this.instances
    const array = n * LABEL_BYTES
    const wire = (o: number) => this.#wires + outputs[Math.min(o, outputs.length - 1)].slot * array
    const [weightsAt, sharesAt, correctionsAt] = [0, 1, 2].map((part) => this.#projection + part * 4 * n)
    this.#arena.u32(sharesAt, n).fill(0)
    for (let pair = 0; pair < outputs.length; pair += 2) {
      const tweak = projectionTweak(circuit.andGates, pair, n)
      run.garbleKeys(wire(pair), wire(pair + 1), this.#delta, 0, 0, tweak, this.#keys, array)
      cipher.encrypt(this.#arena.u8(this.#keys, 4 * array), this.#arena.u8(this.#hash, 4 * array))
      for (let o = pair; o < Math.min(pair + 2, outputs.length); o++) {
        const weight = weights[o]
        const all = this.#arena.u32(weightsAt, n)
        if (typeof weight === 'number') all.fill(weight)
        else all.set(weight)
        const offset = (o - pair) * 2 * array
        const flip = Number(outputs[o].negated)
        const [keys, hash] = [this.#keys + offset, this.#hash + offset]
        run.projectGarbler(wire(o), keys, hash, n, flip, weightsAt, sharesAt, correctionsAt)
        corrections.set(this.#arena.u32(correctionsAt, n), o * n)
      }
    }
    return this.#arena.u32(sharesAt, n).slice()
  }
}

/** Tweak of a pair of outputs: behind those of all AND gates. */
export function projectionTweak(andGates: number, pair: number, instances: number): number {
  return 2 * (andGates + pair / 2) * instances
}

/**
 * Colour bits of the output labels; a garbler's include the negations, an evaluator's do not. `scratch` holds a byte an instance.
 */
export function outputColours(
  program: Program,
  arena: Arena,
  wires: number,
  scratch: number,
  instances: number,
  applyNegation: boolean,
): Uint8Array {
  const out = new Uint8Array(program.outputs.length * instances)
  program.outputs.forEach(({ slot, negated }, o) => {
    arena.run.colours(wires + slot * instances * LABEL_BYTES, scratch, instances, Number(applyNegation && negated))
    out.set(arena.u8(scratch, instances), o * instances)
  })
  return out
}
