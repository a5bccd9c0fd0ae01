/**
 * The network between import and quantisation: a chain of real-valued linear maps and activations, batch dimension
 * dropped, batch norms and divisors folded, neighbouring linear maps merged.
 */
import type { LinearGeometry, PoolGeometry } from '../ring/linear.js'
import type { ScalarFunction } from './functions.js'

/** y = post(W pre(x) + b), pools taking means. Pools are public maps on shares and cost nothing. */
export interface LinearLayer {
  readonly kind: 'linear'
  /** ONNX nodes it came from. */
  readonly name: string
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

export type Layer = LinearLayer | ActivationLayer

/** Alternates linear, activation, ..., linear: always starts and ends with a linear layer. */
export interface Network {
  /** Shape without the batch dimension. */
  readonly inputShape: readonly number[]
  readonly outputSize: number
  readonly layers: readonly Layer[]
}

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1)
}
