/**
 * The network between import and quantisation: stages of real-valued linear maps and activations, batch dimension dropped, batch
 * norms and divisors folded, neighbouring linear maps merged.
 */
import type { LinearGeometry, PoolGeometry, Transposition } from '../ring/linear.js'
import type { Part, View } from '../ring/parts.js'
import type { ScalarFunction } from './functions.js'

/** y = post(W pre(transposed x) + b), pools taking means. Pools and transpositions are public maps on shares and cost nothing. */
export interface LinearLayer {
  readonly kind: 'linear'
  /** ONNX nodes it came from. */
  readonly name: string
  readonly transpose: Transposition | undefined
  readonly pre: PoolGeometry | undefined
  readonly geometry: LinearGeometry
  /** What an identity multiplies by, not 0; 1 for others. */
  readonly gain: number
  /** Layout of ring/linear.ts. */
  readonly weights: Float64Array
  /** One per output of W. */
  readonly bias: Float64Array
  readonly post: PoolGeometry | undefined
}

/**
 * Largest of each window (if pooled), then the function. Neither: plain requantisation. Of a product, y is [a1, b1, a2, b2 ...] one
 * behind the other, and the result the sum of signs times a b, element by element.
 */
export interface ActivationLayer {
  readonly kind: 'activation'
  readonly name: string
  readonly pool: PoolGeometry | undefined
  readonly fn: 'identity' | 'relu' | 'square' | 'product' | ScalarFunction
  /** Of a product's terms; empty for others. */
  readonly signs: readonly (1 | -1)[]
}

/** A value that is added to a linear layer's result as it is, or subtracted. */
export interface Skip {
  readonly from: number
  readonly view?: View
  readonly sign: 1 | -1
}

/**
 * One stage: a linear layer on earlier values put together, others added, then an activation, whose result is the next value. Value 0
 * is the input, the states follow, then what each stage makes. The last stage has no activation.
 */
export interface NetworkStage {
  /** What the linear layer takes: parts of values that are there. */
  readonly parts: readonly Part[]
  readonly linear: LinearLayer
  readonly skips: readonly Skip[]
  readonly activation: ActivationLayer | undefined
}

/** A value that one inference leaves to the next of its session. */
export interface State {
  /** Name of the graph's input. */
  readonly name: string
  readonly size: number
  /** The value it becomes. */
  readonly next: number
}

/** Stages in an order in which each takes only values that are there. */
export interface Network {
  /** Shape without the batch dimension. */
  readonly inputShape: readonly number[]
  readonly states: readonly State[]
  readonly outputSize: number
  readonly stages: readonly NetworkStage[]
}

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1)
}

/** Elements of a network's value. */
export function networkValueSize(network: Pick<Network, 'inputShape' | 'states' | 'stages'>, j: number): number {
  if (j === 0) return elements(network.inputShape)
  const { states, stages } = network
  return j <= states.length ? states[j - 1].size : activationSize(stages[j - 1 - states.length])
}

/** Elements of a stage's y. */
export function linearSize({ linear: { geometry: g, post } }: NetworkStage): number {
  if (post !== undefined) return elements(post.output)
  return g.kind === 'conv' ? elements(g.output) : g.kind === 'dense' ? g.outputs : g.size
}

/** Elements of what a stage makes. */
export function activationSize(stage: NetworkStage): number {
  const { activation } = stage
  if (activation?.pool !== undefined) return elements(activation.pool.output)
  return activation?.fn === 'product' ? linearSize(stage) / (2 * activation.signs.length) : linearSize(stage)
}
