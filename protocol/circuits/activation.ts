/**
 * The circuit of a garbled stage: y = yS + yC mod 2^k, requantised by an arithmetic shift, the largest of a window,
 * ReLU, saturation, and the re-sharing f - r mod 2^k'. Max-pooling comes before ReLU because they commute and one
 * ReLU then serves a whole window. MiniONN sections 5.2 and 5.3.
 */

import { add, any, maximum, subtract } from './arithmetic.js'
import { type Circuit, CircuitBuilder, type Wire, ZERO } from './builder.js'

export interface ActivationShape {
  /** Elements of a pooling window; 1 without pooling. */
  readonly window: number
  readonly relu: boolean
  /** Arithmetic right shift of y (floor). */
  readonly shift: number
  /** The result lies in [0, 2^bits - 1] (ReLU) or [-2^bits, 2^bits - 1]. */
  readonly bits: number
  /** Whether the circuit must clamp to that range; false where the plan proves that the result fits. */
  readonly saturate: boolean
  /** k: ring of the window's shares. */
  readonly ringIn: number
  /** k': ring of the result's shares. */
  readonly ringOut: number
}

/**
 * Garbler inputs: window * ringIn bits of yS. Evaluator inputs: window * ringIn bits of yC, then ringOut bits of r.
 * Outputs: ringOut bits of f(y) - r, to be decoded by the garbler only.
 */
export function activationCircuit(shape: ActivationShape): Circuit {
  const { window, ringIn, ringOut, shift } = shape
  const c = new CircuitBuilder(window * ringIn, window * ringIn + ringOut)
  let layer = Array.from({ length: window }, (_, i) =>
    add(c, c.garbler(i * ringIn, ringIn), c.evaluator(i * ringIn, ringIn)).slice(shift),
  )
  while (layer.length > 1) {
    const next: Wire[][] = []
    for (let i = 0; i + 1 < layer.length; i += 2) next.push(maximum(c, layer[i], layer[i + 1]))
    if (layer.length % 2 === 1) next.push(layer[layer.length - 1])
    layer = next
  }
  const value = shape.relu ? relu(c, layer[0], shape) : signed(c, layer[0], shape)
  return c.build(subtract(c, value, c.evaluator(window * ringIn, ringOut)))
}

function relu(c: CircuitBuilder, value: readonly Wire[], { bits, saturate, ringOut }: ActivationShape): Wire[] {
  const positive = c.not(value[value.length - 1])
  const magnitude = value.slice(0, -1)
  const over = saturate ? any(c, magnitude.slice(bits)) : ZERO
  const kept = magnitude.slice(0, bits).map((wire) => c.and(positive, c.or(wire, over)))
  return pad(kept, ringOut, ZERO)
}

function signed(c: CircuitBuilder, value: readonly Wire[], { bits, saturate, ringOut }: ActivationShape): Wire[] {
  const sign = value[value.length - 1]
  const magnitude = value.slice(0, -1)
  const over = saturate
    ? any(
        c,
        magnitude.slice(bits).map((wire) => c.xor(wire, sign)),
      )
    : ZERO
  const kept = magnitude.slice(0, bits).map((wire) => c.mux(over, c.not(sign), wire))
  return pad(kept, ringOut, sign)
}

function pad(bits: readonly Wire[], length: number, fill: Wire): Wire[] {
  return Array.from({ length }, (_, i) => bits[i] ?? fill)
}

/** What activationCircuit computes on one window, on signed integers: the reference semantics. */
export function activate(window: readonly number[], shape: ActivationShape): number {
  let value = Number.NEGATIVE_INFINITY
  for (const y of window) value = Math.max(value, Math.floor(y / 2 ** shape.shift))
  if (shape.relu) value = Math.max(value, 0)
  const high = 2 ** shape.bits
  return shape.saturate ? Math.min(Math.max(value, -high), high - 1) : value
}
