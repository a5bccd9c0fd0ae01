/**
 * Index of the largest of n shared numbers, for `reveal: label`: the client learns the label alone.
 * Ties go to the lowest index.
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
