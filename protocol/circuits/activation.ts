/**
 * The circuit of a garbled stage: y = yS + yC mod 2^k, requantised by an arithmetic shift, the largest of a window,
 * ReLU, saturation. Max-pooling comes before ReLU because they commute and one ReLU then serves a whole window. MiniONN
 * sections 5.2 and 5.3; the paper re-shares inside the circuit, here garbling/projection.ts does, for no AND gate.
 *
 * Where a ReLU has no window, the circuit may compute no more than which values pass, `select`: those are then
 * multiplied by the shares outside (transfer/selection.ts). With m = k - shift, hS and hC the upper m bits of the shares and c
 * the carry out of the lower ones, y >> shift = hS + hC + c - 2^m w, and for y >= 0 w is the OR of the shares' top bits.
 */

import { add, addWithCarry, any, maximum } from './arithmetic.js'
import { type Circuit, CircuitBuilder, type Wire, ZERO } from './builder.js'
import { evaluatePieces, type Pieces, piecesOutputs } from './pieces.js'

/** Identity is plain requantisation; reshare is no circuit at all: shares of y are masked anew. */
export const ACTIVATION_FUNCTIONS = ['identity', 'relu', 'square', 'pieces', 'product', 'reshare'] as const
export type ActivationFunction = (typeof ACTIVATION_FUNCTIONS)[number]

/** One factor of a product: shifted right, then kept in [-2^bits, 2^bits - 1]. */
export interface Operand {
  readonly shift: number
  readonly bits: number
  readonly saturate: boolean
  /** False where the plan proves that it is never negative: [0, 2^bits - 1]. */
  readonly signed: boolean
}

/** A product that is summed, times a whole number. */
export interface Term {
  readonly factor: number
  readonly left: Operand
  readonly right: Operand
}

export interface ActivationShape {
  /** Elements of a pooling window, or operands of a product's terms, left and right in turn; 1 without either. */
  readonly window: number
  /** What is computed on the shifted, clamped value. */
  readonly fn: ActivationFunction
  /** Where fn is `pieces`. */
  readonly pieces?: Pieces
  /** Where fn is `product`: the result is the sum; shift, bits and saturate are the operands'. */
  readonly terms?: readonly Term[]
  /** Arithmetic right shift of y (floor). */
  readonly shift: number
  /** The shifted value is kept in [-2^bits, 2^bits - 1]; a ReLU's result lies in [0, 2^bits - 1]. */
  readonly bits: number
  /** Whether the circuit must clamp to that range; false where the plan proves that the result fits. */
  readonly saturate: boolean
  /** k: ring of the window's shares. */
  readonly ringIn: number
  /** Ring of the result's shares. */
  readonly ringOut: number
  /** A ReLU without window whose circuit yields the passing bit and corrections instead of the value's bits. */
  readonly select: boolean
}

/** What an output wire adds to the value: a constant, or the sum of both parties' shifted shares. */
export type OutputWeight = number | 'shares'

/**
 * Garbler inputs: window * ringIn bits of yS. Evaluator inputs: window * ringIn bits of yC. Outputs: the bits of f(y),
 * least significant first, with the sign last where there is one; activationWeights() says what each counts for.
 */
export function activationCircuit(shape: ActivationShape): Circuit {
  return outputsOf(shape).circuit
}

/** What each output adds to the value, offset not included. */
export function activationWeights(shape: ActivationShape): OutputWeight[] {
  return outputsOf(shape).weights
}

/** What the garbler adds to its share of the value. */
export function activationOffset({ pieces }: ActivationShape): number {
  return pieces === undefined ? 0 : pieces.offset + (pieces.symmetric ? pieces.slopes[0] : 0)
}

interface WeightedCircuit {
  readonly circuit: Circuit
  readonly weights: OutputWeight[]
}

function outputsOf(shape: ActivationShape): WeightedCircuit {
  if (shape.select) return { circuit: selectingCircuit(shape), weights: selectionWeights(shape) }
  const { window, ringIn, shift } = shape
  const c = new CircuitBuilder(window * ringIn, window * ringIn)
  if (shape.terms !== undefined) {
    const { outputs, weights } = productOutputs(c, shape.terms, ringIn)
    return { circuit: c.build(outputs), weights }
  }
  let layer = Array.from({ length: window }, (_, i) =>
    add(c, c.garbler(i * ringIn, ringIn), c.evaluator(i * ringIn, ringIn)).slice(shift),
  )
  while (layer.length > 1) {
    const next: Wire[][] = []
    for (let i = 0; i + 1 < layer.length; i += 2) next.push(maximum(c, layer[i], layer[i + 1]))
    if (layer.length % 2 === 1) next.push(layer[layer.length - 1])
    layer = next
  }
  const [value] = layer
  const powers = (count: number) => Array.from({ length: count }, (_, i) => 2 ** i)
  if (shape.fn === 'relu') {
    const outputs = relu(c, value, shape)
    return { circuit: c.build(outputs), weights: powers(outputs.length) }
  }
  const kept = signed(c, value, shape)
  const top = kept.length - 1
  if (shape.fn === 'identity') return { circuit: c.build(kept), weights: [...powers(top), -(2 ** top)] }
  const { outputs, weights } =
    shape.fn === 'square' ? squareOutputs(c, kept) : piecesOutputs(c, kept, shape.pieces as Pieces)
  return { circuit: c.build(outputs), weights }
}

/** The passing bit and the corrections of a selected ReLU, in the order of selectionWeights(). */
function selectingCircuit({ ringIn, shift, bits, saturate, ringOut }: ActivationShape): Circuit {
  const c = new CircuitBuilder(ringIn, ringIn)
  const [a, b] = [c.garbler(0, ringIn), c.evaluator(0, ringIn)]
  const { sum, carry } = addWithCarry(c, a, b, shift)
  const positive = c.not(sum[ringIn - 1])
  const over = saturate ? any(c, sum.slice(shift + bits, -1)) : ZERO
  const pass = c.and(positive, c.not(over))
  const outputs = [pass]
  if (shift > 0) outputs.push(c.and(pass, carry))
  if (ringOut > ringIn - shift) outputs.push(c.and(pass, c.or(a[ringIn - 1], b[ringIn - 1])))
  if (clamps({ ringIn, shift, bits, saturate })) outputs.push(c.xor(positive, pass))
  return c.build(outputs)
}

/** Whether there are bits above the kept ones for a saturating ReLU to look at. */
function clamps({ ringIn, shift, bits, saturate }: Pick<ActivationShape, 'ringIn' | 'shift' | 'bits' | 'saturate'>) {
  return saturate && bits < ringIn - shift - 1
}

function selectionWeights(shape: ActivationShape): OutputWeight[] {
  const { bits, ringIn, ringOut, shift } = shape
  const weights: OutputWeight[] = ['shares']
  if (shift > 0) weights.push(1)
  if (ringOut > ringIn - shift) weights.push(-(2 ** (ringIn - shift)))
  if (clamps(shape)) weights.push(2 ** bits - 1)
  return weights
}

/**
 * Squares: with v the sum of weighted bits, v^2 is the sum of the weighted products of all pairs, one AND each, and projections
 * add them up.
 */
function squareOutputs(c: CircuitBuilder, wires: readonly Wire[]): { outputs: Wire[]; weights: number[] } {
  const outputs: Wire[] = []
  const weights: number[] = []
  const place = (i: number) => (i === wires.length - 1 ? -(2 ** i) : 2 ** i)
  wires.forEach((wire, i) => {
    outputs.push(wire)
    weights.push(4 ** i)
    for (let j = 0; j < i; j++) {
      outputs.push(c.and(wire, wires[j]))
      weights.push(2 * place(i) * place(j))
    }
  })
  return { outputs, weights }
}

/** Sums of products, as squares: one AND gate a pair of bits, and projections add up. */
function productOutputs(
  c: CircuitBuilder,
  terms: readonly Term[],
  ringIn: number,
): { outputs: Wire[]; weights: number[] } {
  const outputs: Wire[] = []
  const weights: number[] = []
  const operand = (position: number, { shift, ...kept }: Operand) => {
    const [own, theirs] = [c.garbler(position * ringIn, ringIn), c.evaluator(position * ringIn, ringIn)]
    const wires = signed(c, add(c, own, theirs).slice(shift), kept)
    const top = wires.length - 1
    return wires
      .map((wire, i) => ({ wire, place: i === top ? -(2 ** i) : 2 ** i }))
      .slice(0, kept.signed ? undefined : top)
  }
  terms.forEach(({ factor, left, right }, t) => {
    const b = operand(2 * t + 1, right)
    for (const x of operand(2 * t, left)) {
      for (const y of b) {
        outputs.push(c.and(x.wire, y.wire))
        weights.push(factor * x.place * y.place)
      }
    }
  })
  return { outputs, weights }
}

function relu(c: CircuitBuilder, value: readonly Wire[], { bits, saturate }: ActivationShape): Wire[] {
  const positive = c.not(value[value.length - 1])
  const magnitude = value.slice(0, -1)
  const over = saturate ? any(c, magnitude.slice(bits)) : ZERO
  return magnitude.slice(0, bits).map((wire) => c.and(positive, c.or(wire, over)))
}

function signed(
  c: CircuitBuilder,
  value: readonly Wire[],
  { bits, saturate }: Pick<ActivationShape, 'bits' | 'saturate'>,
): Wire[] {
  // Where nothing has to be clamped all bits from this one on are the sign, and those above need not be computed.
  const sign = value[saturate ? value.length - 1 : Math.min(bits, value.length - 1)]
  const magnitude = value.slice(0, -1)
  const beyond = magnitude.slice(bits).map((wire) => c.xor(wire, sign))
  const over = saturate ? any(c, beyond) : ZERO
  return [...magnitude.slice(0, bits).map((wire) => c.mux(over, c.not(sign), wire)), sign]
}

function kept(value: number, { shift, bits, saturate }: Pick<Operand, 'shift' | 'bits' | 'saturate'>): number {
  const shifted = Math.floor(value / 2 ** shift)
  return saturate ? Math.min(Math.max(shifted, -(2 ** bits)), 2 ** bits - 1) : shifted
}

/**
 * What activationCircuit computes, on the values of a window as signed integers: the reference semantics. Shift and clamping
 * keep order, so of a pooling window the largest is enough.
 */
export function activate(window: ArrayLike<number>, shape: ActivationShape): number {
  const { fn, pieces, terms } = shape
  if (terms !== undefined) {
    return terms.reduce(
      (sum, { factor, left, right }, t) => sum + factor * kept(window[2 * t], left) * kept(window[2 * t + 1], right),
      0,
    )
  }
  let largest = window[0]
  for (let i = 1; i < window.length; i++) largest = Math.max(largest, window[i])
  const value = kept(largest, shape)
  if (fn === 'relu') return Math.max(value, 0)
  if (fn === 'square') return value * value
  return fn === 'pieces' ? evaluatePieces(pieces as Pieces, value) : value
}
