/**
 * Boolean circuits, written once: the same description is counted, evaluated in the clear, garbled and evaluated
 * garbled. XOR and NOT are free (Kolesnikov and Schneider 2008); cost is the number of AND gates.
 * Constants are folded and negations carried on the wires, so that neither reaches the garbler.
 */

/** A wire as seen by circuit code: an id with a pending negation, or a constant. */
export type Wire = { readonly id: number; readonly negated: boolean } | { readonly constant: 0 | 1 }

export const ZERO: Wire = { constant: 0 }
export const ONE: Wire = { constant: 1 }

/** An adder is a full adder of one AND gate: carry = c xor ((a xor c) and (b xor c)), sum = a xor b xor c. */
export const GateKind = { xor: 0, and: 1, adder: 2 } as const

export interface Gate {
  readonly kind: 0 | 1 | 2
  /** Wire ids of the inputs; those of the AND, also of an adder's, may be negated, those of XOR never are. */
  readonly a: number
  readonly b: number
  readonly negateA: boolean
  readonly negateB: boolean
  /** The result; of an adder the carry. */
  readonly out: number
  /** An adder's carry in, and its sum where anything needs it. */
  readonly c?: number
  readonly sum?: number
}

/** One instance of a circuit. Wire ids: garbler inputs, evaluator inputs, then gates in order. */
export interface Circuit {
  readonly garblerInputs: number
  readonly evaluatorInputs: number
  readonly gates: readonly Gate[]
  readonly outputs: readonly { readonly id: number; readonly negated: boolean }[]
  readonly andGates: number
}

export class CircuitBuilder {
  readonly garblerInputs: number
  readonly evaluatorInputs: number
  readonly #gates: Gate[] = []
  #next: number

  constructor(garblerInputs: number, evaluatorInputs: number) {
    this.garblerInputs = garblerInputs
    this.evaluatorInputs = evaluatorInputs
    this.#next = garblerInputs + evaluatorInputs
  }

  /** `count` input wires of the garbler from index `from`, least significant first. */
  garbler(from: number, count: number): Wire[] {
    return Array.from({ length: count }, (_, i) => ({ id: from + i, negated: false }))
  }

  /** `count` input wires of the evaluator from index `from`, least significant first. */
  evaluator(from: number, count: number): Wire[] {
    return this.garbler(this.garblerInputs + from, count)
  }

  not(a: Wire): Wire {
    return 'constant' in a ? (a.constant ? ZERO : ONE) : { id: a.id, negated: !a.negated }
  }

  xor(a: Wire, b: Wire): Wire {
    if ('constant' in a) return a.constant ? this.not(b) : b
    if ('constant' in b) return b.constant ? this.not(a) : a
    if (a.id === b.id) return a.negated === b.negated ? ZERO : ONE
    const out = this.#push({ kind: GateKind.xor, a: a.id, b: b.id, negateA: false, negateB: false })
    return { id: out, negated: a.negated !== b.negated }
  }

  and(a: Wire, b: Wire): Wire {
    if ('constant' in a) return a.constant ? b : ZERO
    if ('constant' in b) return b.constant ? a : ZERO
    if (a.id === b.id) return a.negated === b.negated ? a : ZERO
    const out = this.#push({ kind: GateKind.and, a: a.id, b: b.id, negateA: a.negated, negateB: b.negated })
    return { id: out, negated: false }
  }

  /** Carry and sum of three bits, one AND. */
  fullAdder(a: Wire, b: Wire, c: Wire): { carry: Wire; sum: Wire } {
    if ('constant' in a || 'constant' in b || 'constant' in c || new Set([a.id, b.id, c.id]).size < 3) {
      const ac = this.xor(a, c)
      return { carry: this.xor(c, this.and(ac, this.xor(b, c))), sum: this.xor(ac, b) }
    }
    const negateA = a.negated !== c.negated
    const negateB = b.negated !== c.negated
    const carry = this.#next++
    const sum = this.#next++
    this.#gates.push({ kind: GateKind.adder, a: a.id, b: b.id, c: c.id, negateA, negateB, out: carry, sum })
    return { carry: { id: carry, negated: c.negated }, sum: { id: sum, negated: negateA !== b.negated } }
  }

  or(a: Wire, b: Wire): Wire {
    return this.not(this.and(this.not(a), this.not(b)))
  }

  /** select ? a : b, one AND. */
  mux(select: Wire, a: Wire, b: Wire): Wire {
    return this.xor(b, this.and(select, this.xor(a, b)))
  }

  /** Drops gates that no output needs and closes the circuit. */
  build(outputs: readonly Wire[]): Circuit {
    const wires = outputs.map((wire) => {
      if ('constant' in wire) throw new Error('a circuit output is constant: the caller must not garble it')
      return wire
    })
    const live = new Set(wires.map((wire) => wire.id))
    const kept: Gate[] = []
    for (const gate of this.#gates.toReversed()) {
      const needsSum = gate.sum !== undefined && live.has(gate.sum)
      if (!live.has(gate.out) && !needsSum) continue
      live.add(gate.a).add(gate.b)
      if (gate.c !== undefined) live.add(gate.c)
      if (needsSum && !live.has(gate.out)) {
        // An adder whose carry nobody needs is free.
        const half = this.#next++
        const xor = { kind: GateKind.xor, negateA: false, negateB: false }
        kept.push({ ...xor, a: half, b: gate.c!, out: gate.sum! }, { ...xor, a: gate.a, b: gate.b, out: half })
        continue
      }
      kept.push(needsSum ? gate : { ...gate, sum: undefined })
    }
    const gates = kept.reverse()
    return {
      garblerInputs: this.garblerInputs,
      evaluatorInputs: this.evaluatorInputs,
      gates,
      outputs: wires,
      andGates: gates.filter((gate) => gate.kind !== GateKind.xor).length,
    }
  }

  #push(gate: Omit<Gate, 'out'>): number {
    const out = this.#next++
    this.#gates.push({ ...gate, out })
    return out
  }
}

/** Evaluates one instance in the clear; the twin of garbling in tests. Bits are 0 or 1. */
export function evaluatePlain(circuit: Circuit, garbler: ArrayLike<number>, evaluator: ArrayLike<number>): number[] {
  const value = new Map<number, number>()
  for (let i = 0; i < circuit.garblerInputs; i++) value.set(i, garbler[i])
  for (let i = 0; i < circuit.evaluatorInputs; i++) value.set(circuit.garblerInputs + i, evaluator[i])
  for (const g of circuit.gates) {
    const a = value.get(g.a)! ^ Number(g.negateA)
    const b = value.get(g.b)! ^ Number(g.negateB)
    if (g.c === undefined) {
      value.set(g.out, g.kind === GateKind.and ? a & b : a ^ b)
      continue
    }
    const c = value.get(g.c)!
    value.set(g.out, c ^ ((a ^ c) & (b ^ c)))
    if (g.sum !== undefined) value.set(g.sum, value.get(g.a)! ^ value.get(g.b)! ^ c)
  }
  return circuit.outputs.map((wire) => value.get(wire.id)! ^ Number(wire.negated))
}
