/** A network that is a chain, built operator by operator. */
import type { ScalarFunction } from '../../protocol/model/functions.js'
import type { Network } from '../../protocol/model/layers.js'
import { NetworkBuilder, type Tensor } from '../../protocol/model/network-builder.js'
import type { ConvGeometry, DenseGeometry, PoolGeometry } from '../../protocol/ring/linear.js'

export class Chain {
  readonly #builder: NetworkBuilder
  #x: Tensor

  constructor(inputShape: readonly number[]) {
    this.#builder = new NetworkBuilder(inputShape)
    this.#x = this.#builder.input
  }

  reshape(shape: readonly number[]): void {
    this.#x = this.#builder.reshape(this.#x, shape)
  }

  relu(name: string): void {
    this.#x = this.#builder.relu(this.#x, name)
  }

  scalar(name: string, fn: 'square' | ScalarFunction): void {
    this.#x = this.#builder.scalar(this.#x, name, fn)
  }

  maxPool(name: string, pool: PoolGeometry): void {
    this.#x = this.#builder.maxPool(this.#x, name, pool)
  }

  meanPool(name: string, pool: PoolGeometry): void {
    this.#x = this.#builder.meanPool(this.#x, name, pool)
  }

  affine(name: string, scale: Float64Array, shift: Float64Array): void {
    this.#x = this.#builder.affine(this.#x, name, scale, shift)
  }

  linear(name: string, geometry: ConvGeometry | DenseGeometry, weights: Float64Array, bias: Float64Array): void {
    this.#x = this.#builder.linear(this.#x, name, geometry, weights, bias)
  }

  finish(): Network {
    return this.#builder.finish(this.#x)
  }
}
