/**
 * ONNX's RNN, GRU and LSTM spelled out step by step, as the operators' specification defines them. Weights as ONNX has them, of one
 * direction: W [gates * hidden, inputs], R [gates * hidden, hidden], B [2 * gates * hidden], W's biases first.
 */
import { isScalarOp, type ScalarFunction, scalarFunction } from './functions.js'
import type { NetworkBuilder, Tensor } from './network-builder.js'

export type RecurrentKind = 'RNN' | 'GRU' | 'LSTM'

/** Gates of each: RNN i; GRU z, r, h; LSTM i, o, f, c. */
export const GATES: Readonly<Record<RecurrentKind, number>> = { RNN: 1, GRU: 3, LSTM: 4 }

export interface RecurrentWeights {
  readonly kind: RecurrentKind
  readonly name: string
  readonly inputs: number
  readonly hidden: number
  readonly w: Float64Array
  readonly r: Float64Array
  readonly b: Float64Array
  /** Of an LSTM: peepholes i, o, f; empty without. */
  readonly peepholes: Float64Array
  /** Of gates, of the candidate, of an LSTM's cell. */
  readonly activations: readonly Activation[]
  readonly linearBeforeReset: boolean
}

export type Activation = 'relu' | ScalarFunction

/** What is carried from step to step; undefined where it is zeros. */
export interface Carried {
  readonly h: Tensor | undefined
  readonly c: Tensor | undefined
}

/** An activation of the operators' attribute; undefined where there is none of the name. */
export function recurrentActivation(
  name: string,
  alpha: number | undefined,
  beta: number | undefined,
): Activation | undefined {
  if (name === 'Relu') return 'relu'
  const defaults: Record<string, readonly number[]> = {
    LeakyRelu: [alpha ?? 0.01],
    HardSigmoid: [alpha ?? 0.2, beta ?? 0.5],
    Elu: [alpha ?? 1],
  }
  if (name === 'Affine') return { op: name, apply: (x) => (alpha ?? 1) * x + (beta ?? 0) }
  if (name === 'ScaledTanh') return { op: name, apply: (x) => (alpha ?? 1) * Math.tanh((beta ?? 1) * x) }
  return ['Sigmoid', 'Tanh', 'Softsign', 'Softplus'].includes(name) || name in defaults
    ? isScalarOp(name)
      ? scalarFunction(name, defaults[name] ?? [])
      : undefined
    : undefined
}

/** One step on an input of shape [inputs]: what is carried on, both of shape [hidden]. */
export function recurrentStep(
  b: NetworkBuilder,
  weights: RecurrentWeights,
  x: Tensor,
  carried: Carried,
): Carried & { h: Tensor } {
  const { kind, name, hidden, activations } = weights
  const [gate, candidate, cell] = activations
  const act = (y: Tensor, f: Activation) => (f === 'relu' ? b.relu(y, name, false) : b.scalar(y, name, f, false))
  const all = Array.from({ length: GATES[kind] }, (_, g) => g)
  if (kind === 'RNN') return { h: act(gates(b, weights, all, x, carried.h), gate), c: undefined }
  const rows = (y: Tensor, g: number) => b.slice(y, name, [g * hidden], [1], [hidden])
  const product = (left: Tensor, right: Tensor | undefined) => right && b.multiply(left, right, name)
  const sum = (left: Tensor, right: Tensor | undefined) => (right === undefined ? left : b.add(left, right, name, 1))
  if (kind === 'LSTM') {
    const y = gates(b, weights, all, x, carried.h)
    const peep = (g: number, c: Tensor | undefined) => {
      const p = weights.peepholes.subarray(g * hidden, (g + 1) * hidden)
      return c === undefined || p.length === 0 ? undefined : b.affine(c, name, p.slice(), new Float64Array(hidden))
    }
    const i = act(sum(rows(y, 0), peep(0, carried.c)), gate)
    const f = act(sum(rows(y, 2), peep(2, carried.c)), gate)
    const c = sum(b.multiply(i, act(rows(y, 3), candidate), name), product(f, carried.c))
    const o = act(sum(rows(y, 1), peep(1, c)), gate)
    return { h: b.multiply(o, act(c, cell), name), c }
  }
  const zr = gates(b, weights, [0, 1], x, carried.h)
  const [z, reset] = [act(rows(zr, 0), gate), act(rows(zr, 1), gate)]
  let h: Tensor
  if (weights.linearBeforeReset) {
    const past = recurrentPart(b, weights, 2, carried.h)
    const present = inputPart(b, weights, 2, x)
    h = act(b.add(present, b.multiply(reset, past, name), name, 1), candidate)
  } else {
    h = act(gates(b, weights, [2], x, product(reset, carried.h)), candidate)
  }
  const less = b.affine(z, name, new Float64Array(hidden).fill(-1), new Float64Array(hidden).fill(1))
  return { h: sum(b.multiply(less, h, name), product(z, carried.h)), c: undefined }
}

const block = (values: Float64Array, gate: number, size: number) => values.slice(gate * size, (gate + 1) * size)

/** W x + R h + both biases, of some gates, one behind the other. */
function gates(
  b: NetworkBuilder,
  weights: RecurrentWeights,
  which: readonly number[],
  x: Tensor,
  h: Tensor | undefined,
): Tensor {
  const { name, inputs, hidden, w, r } = weights
  const columns = h === undefined ? inputs : inputs + hidden
  const matrix = new Float64Array(which.length * hidden * columns)
  const bias = new Float64Array(which.length * hidden)
  which.forEach((g, n) => {
    for (let o = 0; o < hidden; o++) {
      const row = n * hidden + o
      const from = g * hidden + o
      matrix.set(w.subarray(from * inputs, (from + 1) * inputs), row * columns)
      if (h !== undefined) matrix.set(r.subarray(from * hidden, (from + 1) * hidden), row * columns + inputs)
      bias[row] = biasOf(weights, g, o, 0) + biasOf(weights, g, o, 1)
    }
  })
  const joined = h === undefined ? x : b.concat([x, h], name, 0)
  return b.linear(joined, name, { kind: 'dense', inputs: columns, outputs: which.length * hidden }, matrix, bias)
}

/** The bias of W, or of R, for unit o of a gate. */
function biasOf({ kind, hidden, b }: RecurrentWeights, gate: number, o: number, of: 0 | 1): number {
  return b.length === 0 ? 0 : b[(of * GATES[kind] + gate) * hidden + o]
}

function inputPart(b: NetworkBuilder, weights: RecurrentWeights, gate: number, x: Tensor): Tensor {
  const { name, inputs, hidden, w } = weights
  const bias = Float64Array.from({ length: hidden }, (_, o) => biasOf(weights, gate, o, 0))
  return b.linear(x, name, { kind: 'dense', inputs, outputs: hidden }, block(w, gate, hidden * inputs), bias)
}

function recurrentPart(b: NetworkBuilder, weights: RecurrentWeights, gate: number, h: Tensor | undefined): Tensor {
  const { name, hidden, r } = weights
  const bias = Float64Array.from({ length: hidden }, (_, o) => biasOf(weights, gate, o, 1))
  if (h === undefined) return b.affine(b.zeros([hidden]), name, new Float64Array(hidden).fill(1), bias)
  return b.linear(h, name, { kind: 'dense', inputs: hidden, outputs: hidden }, block(r, gate, hidden * hidden), bias)
}
