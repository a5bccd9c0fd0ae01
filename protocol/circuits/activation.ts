/**
 * The circuit of a garbled stage: y = yS + yC mod 2^k, requantised by an arithmetic shift, the largest of a window,
 * ReLU, saturation. Max-pooling comes before ReLU because they commute and one ReLU then serves a whole window. MiniONN
 * sections 5.2 and 5.3; the paper re-shares inside the circuit, here garbling/projection.ts does, for no AND gate.
 */

import { add, any, maximum } from './arithmetic.js'
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
}

/**
 * Garbler inputs: window * ringIn bits of yS. Evaluator inputs: window * ringIn bits of yC. Outputs: the bits of f(y),
 * least significant first, with the sign last where there is one; activationWeights() says what each counts for.
 */
export function activationCircuit(shape: ActivationShape): Circuit {
  const { window, ringIn, shift } = shape
  const c = new CircuitBuilder(window * ringIn, window * ringIn)
  let layer = Array.from({ length: window }, (_, i) =>
    add(c, c.garbler(i * ringIn, ringIn), c.evaluator(i * ringIn, ringIn)).slice(shift),
  )
  while (layer.length > 1) {
    const next: Wire[][] = []
    for (let i = 0; i + 1 < layer.length; i += 2) next.push(maximum(c, layer[i], layer[i + 1]))
    if (layer.length % 2 === 1) next.push(layer[layer.length - 1])
    layer = next
  }
  return c.build(shape.relu ? relu(c, layer[0], shape) : signed(c, layer[0], shape))
}

/** What each output bit adds to the value: powers of two, and the sign's negative one. */
export function activationWeights({ relu, bits, ringIn, shift }: ActivationShape): number[] {
  const magnitude = Math.min(bits, ringIn - shift - 1)
  const weights = Array.from({ length: magnitude }, (_, i) => 2 ** i)
  return relu ? weights : [...weights, -(2 ** magnitude)]
}

function relu(c: CircuitBuilder, value: readonly Wire[], { bits, saturate }: ActivationShape): Wire[] {
  const positive = c.not(value[value.length - 1])
  const magnitude = value.slice(0, -1)
  const over = saturate ? any(c, magnitude.slice(bits)) : ZERO
  return magnitude.slice(0, bits).map((wire) => c.and(positive, c.or(wire, over)))
}

function signed(c: CircuitBuilder, value: readonly Wire[], { bits, saturate }: ActivationShape): Wire[] {
  const sign = value[value.length - 1]
  const magnitude = value.slice(0, -1)
  const beyond = magnitude.slice(bits).map((wire) => c.xor(wire, sign))
  const over = saturate ? any(c, beyond) : ZERO
  return [...magnitude.slice(0, bits).map((wire) => c.mux(over, c.not(sign), wire)), sign]
}

/**
 * What activationCircuit computes, on the largest of a window as a signed integer: the reference semantics. Shift and ReLU
 * keep order, so the largest is enough.
 */
export function activate(largest: number, { relu, shift, bits, saturate }: ActivationShape): number {
  const value = Math.floor(largest / 2 ** shift)
  if (relu && value < 0) return 0
  const high = 2 ** bits
  return saturate ? Math.min(Math.max(value, -high), high - 1) : value
}
