/**
 * A circuit compiled for batched garbling: wires become slots of a structure of arrays, reused as soon as a wire is
 * dead, so that one chunk of instances stays in the processor's cache.
 */
import type { Circuit } from '../circuits/builder.js'

/** Instances garbled together. A chunk's wires fit the second-level cache. */
export const CHUNK_INSTANCES = 512

/** Bytes of a wire label. */
export const LABEL_BYTES = 16
/** 32-bit words of a wire label. */
export const LABEL_WORDS = 4

/** Fields of one instruction in Program.code. */
export const INSTRUCTION_WORDS = 7

export interface Program {
  readonly circuit: Circuit
  readonly slots: number
  /** Per gate: kind, slots of a, b and the result, negation flags (1 = a, 2 = b), an adder's slots of carry in and sum or -1. */
  readonly code: Int32Array
  /** Slots of the outputs and whether they are negated. */
  readonly outputs: readonly { readonly slot: number; readonly negated: boolean }[]
}

/** Allocates slots: inputs take 0 .. garblerInputs + evaluatorInputs - 1, in order. */
export function compileProgram(circuit: Circuit): Program {
  const inputs = circuit.garblerInputs + circuit.evaluatorInputs
  const lastUse = new Map<number, number>()
  circuit.gates.forEach((gate, at) => {
    lastUse.set(gate.a, at).set(gate.b, at)
    if (gate.c !== undefined) lastUse.set(gate.c, at)
  })
  for (const output of circuit.outputs) lastUse.set(output.id, Number.POSITIVE_INFINITY)

  const slotOf = new Map<number, number>()
  for (let i = 0; i < inputs; i++) slotOf.set(i, i)
  const free: number[] = []
  let slots = inputs
  const code = new Int32Array(circuit.gates.length * INSTRUCTION_WORDS)
  circuit.gates.forEach((gate, at) => {
    const a = slotOf.get(gate.a)!
    const b = slotOf.get(gate.b)!
    // Kernels read both inputs of an element before they write it, so the result may take over a dying input.
    const c = gate.c === undefined ? -1 : slotOf.get(gate.c)!
    for (const wire of new Set([gate.a, gate.b, gate.c ?? gate.a])) {
      if (lastUse.get(wire) === at) free.push(slotOf.get(wire)!)
    }
    const place = (wire: number) => {
      const slot = free.pop() ?? slots++
      slotOf.set(wire, slot)
      return slot
    }
    const out = place(gate.out)
    const sum = gate.sum === undefined ? -1 : place(gate.sum)
    const flags = Number(gate.negateA) | (Number(gate.negateB) << 1)
    code.set([gate.kind, a, b, out, flags, c, sum], at * INSTRUCTION_WORDS)
    // A carry that nothing uses leaves its slot at once.
    if (!lastUse.has(gate.out)) free.push(out)
  })
  const outputs = circuit.outputs.map(({ id, negated }) => ({ slot: slotOf.get(id)!, negated }))
  return { circuit, slots, code, outputs }
}

/** Bytes of garbled tables of `instances` instances: two rows an AND gate (half-gates). */
export function tableBytes(circuit: Circuit, instances: number): number {
  return circuit.andGates * instances * 2 * LABEL_BYTES
}

/** Sizes of the chunks that `instances` are cut into. */
export function chunkSizes(instances: number): number[] {
  const sizes: number[] = []
  for (let left = instances; left > 0; left -= CHUNK_INSTANCES) sizes.push(Math.min(left, CHUNK_INSTANCES))
  return sizes
}

/** AND gates whose tables travel in one frame, so that a frame holds about `bytes`. */
export function gatesPerFrame(instances: number, bytes: number): number {
  return Math.max(1, Math.floor(bytes / (instances * 2 * LABEL_BYTES)))
}
