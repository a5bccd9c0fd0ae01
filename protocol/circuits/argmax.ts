/**
 * Index of the largest of n shared numbers, for `reveal: label`, or of the k largest in order, for `reveal: top-k`: the client learns
 * the labels alone. Ties go to the lowest index.
 */

import { add, greater } from './arithmetic.js'
import { type Circuit, CircuitBuilder, ONE, type Wire, ZERO } from './builder.js'

/** Bits of the index of n classes. */
export function labelBits(classes: number): number {
  return Math.max(1, Math.ceil(Math.log2(classes)))
}

/**
 * Garbler inputs: classes * ring bits of yS. Evaluator inputs: classes * ring bits of yC.
 * Outputs: labelBits(classes) bits of the index, to be decoded by the evaluator only. Needs classes >= 2.
 */
export function argmaxCircuit(classes: number, ring: number): Circuit {
  const c = new CircuitBuilder(classes * ring, classes * ring)
  const width = labelBits(classes)
  let layer = Array.from({ length: classes }, (_, i) => ({
    value: add(c, c.garbler(i * ring, ring), c.evaluator(i * ring, ring)),
    index: Array.from({ length: width }, (_, bit): Wire => ((i >>> bit) & 1 ? ONE : ZERO)),
  }))
  while (layer.length > 1) {
    const next: typeof layer = []
    for (let i = 0; i + 1 < layer.length; i += 2) {
      const [left, right] = [layer[i], layer[i + 1]]
      const select = greater(c, right.value, left.value)
      next.push({
        value: right.value.map((wire, j) => c.mux(select, wire, left.value[j])),
        index: right.index.map((wire, j) => c.mux(select, wire, left.index[j])),
      })
    }
    if (layer.length % 2 === 1) next.push(layer[layer.length - 1])
    layer = next
  }
  return c.build(layer[0].index)
}

/**
 * Indices of the `count` largest, the largest first: labelBits(classes) bits each. Inputs as of argmaxCircuit; needs 1 <= count <= classes.
 * Every pass carries the largest of what is left to the end of the row; numbers are compared with their index below them, inverted, so
 * that none are equal.
 */
export function topCircuit(classes: number, ring: number, count: number): Circuit {
  const c = new CircuitBuilder(classes * ring, classes * ring)
  const width = labelBits(classes)
  let left = Array.from({ length: classes }, (_, i): Wire[] => {
    const index = Array.from({ length: width }, (_, bit): Wire => ((i >>> bit) & 1 ? ZERO : ONE))
    return [...index, ...add(c, c.garbler(i * ring, ring), c.evaluator(i * ring, ring))]
  })
  const outputs: Wire[] = []
  for (let place = 0; place < count; place++) {
    let [carried] = left
    const rest: Wire[][] = []
    for (const other of left.slice(1)) {
      const select = greater(c, other, carried)
      const swap = carried.map((wire, j) => c.and(select, c.xor(wire, other[j])))
      rest.push(other.map((wire, j) => c.xor(wire, swap[j])))
      carried = carried.map((wire, j) => c.xor(wire, swap[j]))
    }
    outputs.push(...carried.slice(0, width).map((wire) => c.not(wire)))
    left = rest
  }
  return c.build(outputs)
}
