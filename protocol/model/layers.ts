/**
 * The network between import and quantisation: stages of real-valued linear maps and activations, batch dimension dropped, batch
 * norms and divisors folded, neighbouring linear maps merged.
 */
import type { LinearGeometry, PoolGeometry, Transposition } from '../ring/linear.js'
import type { ScalarFunction } from './functions.js'

/** y = post(W pre(transposed x) + b), pools taking means. Pools and transpositions are public maps on shares and cost nothing. */
export interface LinearLayer {
  readonly kind: 'linear'
  /** ONNX nodes it came from. */
  readonly name: string
  readonly transpose: Transposition | undefined
  readonly pre: PoolGeometry | undefined
  readonly geometry: LinearGeometry
  /** Layout of ring/linear.ts. */
  readonly weights: Float64Array
  /** One per output of W. */
  readonly bias: Float64Array
  readonly post: PoolGeometry | undefined
}

/** Largest of each window (if pooled), then the function. Neither: plain requantisation. */
export interface ActivationLayer {
  readonly kind: 'activation'
  readonly name: string
  readonly pool: PoolGeometry | undefined
  readonly fn: 'identity' | 'relu' | 'square' | ScalarFunction
}

/** A value that is added to a linear layer's result as it is, or subtracted. */
export interface Skip {
  readonly from: number
  readonly sign: 1 | -1
}

/**
 * One stage: a linear layer on an earlier value, others added, then an activation, whose result is the next value. Value 0 is the
 * input, value i + 1 what stage i makes. The last stage has no activation.
 */
export interface NetworkStage {
  /** The value that the linear layer takes; at most the stage's own number. */
  readonly from: number
  readonly linear: LinearLayer
  readonly skips: readonly Skip[]
  readonly activation: ActivationLayer | undefined
}

/** Stages in an order in which each takes only values that are there. */
export interface Network {
  /** Shape without the batch dimension. */
  readonly inputShape: readonly number[]
  readonly outputSize: number
  readonly stages: readonly NetworkStage[]
}

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1)
}
