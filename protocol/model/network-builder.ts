/**
 * Builds a Network operator by operator and merges as it goes: an operator joins the linear layer under construction
 * wherever the algebra is exact, and otherwise closes it with an activation.
 */
import {
  type ConvGeometry,
  convolutionTaps,
  type DenseGeometry,
  outputSize,
  type PoolGeometry,
} from '../ring/linear.js'
import type { ScalarFunction } from './functions.js'
import { elements, type Layer, type LinearLayer, type Network } from './layers.js'

interface OpenLinear {
  names: string[]
  /** Mean pool before the weights. */
  pre: PoolGeometry | undefined
  /** Element-wise map after `pre` that waits for weights to be folded into. */
  pending: { scale: Float64Array; shift: Float64Array } | undefined
  map: { geometry: ConvGeometry | DenseGeometry; weights: Float64Array; bias: Float64Array } | undefined
  post: PoolGeometry | undefined
}

const open = (): OpenLinear => ({ names: [], pre: undefined, pending: undefined, map: undefined, post: undefined })

export class NetworkBuilder {
  readonly #inputShape: readonly number[]
  readonly #layers: Layer[] = []
  #linear = open()
  #shape: readonly number[]

  constructor(inputShape: readonly number[]) {
    this.#inputShape = inputShape
    this.#shape = inputShape
  }

  /** Shape of the running value, without the batch. */
  get shape(): readonly number[] {
    return this.#shape
  }

  reshape(shape: readonly number[]): void {
    this.#shape = shape
  }

  relu(name: string): void {
    const last = this.#layers.at(-1)
    if (this.#linearIsEmpty() && last?.kind === 'activation' && (last.fn === 'identity' || last.fn === 'relu')) {
      // ReLU twice is ReLU.
      this.#layers[this.#layers.length - 1] = { ...last, fn: 'relu' }
      return
    }
    this.#close()
    this.#layers.push({ kind: 'activation', name, pool: undefined, fn: 'relu' })
  }

  /** A function of each element. */
  scalar(name: string, fn: 'square' | ScalarFunction): void {
    const last = this.#layers.at(-1)
    if (this.#linearIsEmpty() && last?.kind === 'activation' && last.fn === 'identity') {
      this.#layers[this.#layers.length - 1] = { ...last, fn }
      return
    }
    this.#close()
    this.#layers.push({ kind: 'activation', name, pool: undefined, fn })
  }

  maxPool(name: string, pool: PoolGeometry): void {
    const last = this.#layers.at(-1)
    const commutes = last?.kind === 'activation' && (last.fn === 'relu' || last.fn === 'identity')
    if (this.#linearIsEmpty() && commutes && last.pool === undefined) {
      // The largest and ReLU commute.
      this.#layers[this.#layers.length - 1] = { ...last, name, pool }
    } else {
      this.#close()
      this.#layers.push({ kind: 'activation', name, pool, fn: 'identity' })
    }
    this.#shape = pool.output
  }

  meanPool(name: string, pool: PoolGeometry): void {
    const l = this.#linear
    // Means commute with maps that are the same at every position, as long as no window sees padding.
    const plain = pool.pads.every((pad) => pad === 0)
    if (l.map !== undefined && l.post === undefined) {
      l.post = pool
    } else if (
      l.map === undefined &&
      l.pre === undefined &&
      (l.pending === undefined || (plain && uniform(l.pending, pool)))
    ) {
      if (l.pending !== undefined) {
        const [, height, width] = pool.input
        const pick = (values: Float64Array) => expandChannels(values, height * width, pool.output[1] * pool.output[2])
        l.pending = { scale: pick(l.pending.scale), shift: pick(l.pending.shift) }
      }
      l.pre = pool
    } else {
      this.#requantise(name)
      this.#linear.pre = pool
    }
    this.#linear.names.push(name)
    this.#shape = pool.output
  }

  /** y = scale x + shift, element by element. */
  affine(name: string, scale: Float64Array, shift: Float64Array): void {
    const l = this.#linear
    const { map } = l
    if (map === undefined) {
      const p = l.pending
      l.pending =
        p === undefined
          ? { scale, shift }
          : { scale: p.scale.map((v, i) => v * scale[i]), shift: p.shift.map((v, i) => v * scale[i] + shift[i]) }
    } else if (l.post === undefined && rowScale(map.geometry, scale)) {
      const perOutput = map.geometry.kind === 'dense' ? map.geometry.outputs : map.geometry.output[0]
      const perWeight = map.weights.length / perOutput
      const area = scale.length / perOutput
      map.weights = map.weights.map((v, i) => v * scale[Math.floor(i / perWeight) * area])
      map.bias = map.bias.map((v, i) => v * scale[i] + shift[i])
    } else {
      this.#requantise(name)
      this.#linear.pending = { scale, shift }
    }
    this.#linear.names.push(name)
  }

  linear(name: string, geometry: ConvGeometry | DenseGeometry, weights: Float64Array, bias: Float64Array): void {
    const l = this.#linear
    if (l.map !== undefined) {
      const merged = l.post === undefined ? mergeDense(l.map, { geometry, weights, bias }) : undefined
      if (merged !== undefined) {
        l.map = merged
        l.names.push(name)
        this.#shape = [outputSize(geometry)]
        return
      }
      this.#requantise(name)
    }
    const { pending } = this.#linear
    if (pending !== undefined && geometry.kind === 'conv') {
      // A scale that differs within a channel cannot enter a convolution's weights.
      if (!uniformOver(pending.scale, geometry.input[1] * geometry.input[2])) this.#requantise(name)
    }
    const target = this.#linear
    target.map = foldPending(geometry, weights, bias, target.pending)
    target.pending = undefined
    target.names.push(name)
    this.#shape = geometry.kind === 'conv' ? geometry.output : [geometry.outputs]
  }

  finish(): Network {
    this.#close()
    return { inputShape: this.#inputShape, outputSize: elements(this.#shape), layers: this.#layers }
  }

  #linearIsEmpty(): boolean {
    const { pre, pending, map } = this.#linear
    return pre === undefined && pending === undefined && map === undefined
  }

  /** Ends the linear layer with a garbled stage that only rescales: always possible, and exact up to its rounding. */
  #requantise(name: string): void {
    this.#close()
    this.#layers.push({ kind: 'activation', name: `before ${name}`, pool: undefined, fn: 'identity' })
  }

  #close(): void {
    const l = this.#linear
    if (l.map === undefined && l.pending !== undefined) {
      // An element-wise map with nothing to fold into: a 1x1 convolution with a group per element or channel.
      const [channels, height, width] = this.#shape.length === 3 ? this.#shape : [elements(this.#shape), 1, 1]
      const perChannel = uniformOver(l.pending.scale, height * width)
      const shape: [number, number, number] = perChannel ? [channels, height, width] : [elements(this.#shape), 1, 1]
      const geometry: ConvGeometry = {
        kind: 'conv',
        input: shape,
        output: shape,
        kernel: [1, 1],
        strides: [1, 1],
        pads: [0, 0, 0, 0],
        dilations: [1, 1],
        groups: shape[0],
      }
      const area = shape[1] * shape[2]
      const weights = Float64Array.from({ length: shape[0] }, (_, c) => l.pending!.scale[c * area])
      l.map = { geometry, weights, bias: l.pending.shift }
    }
    const size = l.pre === undefined ? elements(this.#shape) : elements(l.pre.output)
    const layer: LinearLayer = {
      kind: 'linear',
      name: l.names.join(' + ') || 'identity',
      pre: l.pre,
      geometry: l.map?.geometry ?? { kind: 'identity', size },
      weights: l.map?.weights ?? new Float64Array(0),
      bias: l.map?.bias ?? new Float64Array(size),
      post: l.post,
    }
    this.#layers.push(layer)
    this.#linear = open()
  }
}

function uniformOver(values: Float64Array, area: number): boolean {
  return values.every((value, i) => value === values[i - (i % area)])
}

function uniform(pending: { scale: Float64Array; shift: Float64Array }, pool: PoolGeometry): boolean {
  const area = pool.input[1] * pool.input[2]
  return uniformOver(pending.scale, area) && uniformOver(pending.shift, area)
}

function expandChannels(values: Float64Array, areaIn: number, areaOut: number): Float64Array {
  return Float64Array.from(
    { length: (values.length / areaIn) * areaOut },
    (_, i) => values[Math.floor(i / areaOut) * areaIn],
  )
}

/** Whether an element-wise scale is a scale of whole weight rows. */
function rowScale(geometry: ConvGeometry | DenseGeometry, scale: Float64Array): boolean {
  return geometry.kind === 'dense' || uniformOver(scale, geometry.output[1] * geometry.output[2])
}

/** W (scale x + shift) + b as W' x + b'. Padding stays zero: the shift enters through the taps that see the image. */
function foldPending(
  geometry: ConvGeometry | DenseGeometry,
  weights: Float64Array,
  bias: Float64Array,
  pending: OpenLinear['pending'],
): NonNullable<OpenLinear['map']> {
  if (pending === undefined) return { geometry, weights, bias }
  const { scale, shift } = pending
  const newBias = bias.slice()
  if (geometry.kind === 'dense') {
    const { inputs } = geometry
    const scaled = weights.map((v, i) => v * scale[i % inputs])
    weights.forEach((v, i) => {
      newBias[Math.floor(i / inputs)] += v * shift[i % inputs]
    })
    return { geometry, weights: scaled, bias: newBias }
  }
  const [channels, height, width] = geometry.input
  const [filters, outHeight, outWidth] = geometry.output
  const area = height * width
  for (let n = 0; n < newBias.length; n++) {
    const m = Math.floor(n / (outHeight * outWidth))
    convolutionTaps(geometry, m, Math.floor(n / outWidth) % outHeight, n % outWidth, (input, weight) => {
      newBias[n] += weights[weight] * shift[input]
    })
  }
  const taps = geometry.kernel[0] * geometry.kernel[1]
  const perGroup = channels / geometry.groups
  const scaled = weights.map((v, i) => {
    const m = Math.floor(i / (perGroup * taps))
    const c = Math.floor(m / (filters / geometry.groups)) * perGroup + (Math.floor(i / taps) % perGroup)
    return v * scale[c * area]
  })
  return { geometry, weights: scaled, bias: newBias }
}

/** The product of two dense maps, where it has no more weights than the two. */
function mergeDense(first: NonNullable<OpenLinear['map']>, second: NonNullable<OpenLinear['map']>): OpenLinear['map'] {
  const [a, b] = [first.geometry, second.geometry]
  if (a.kind !== 'dense' || b.kind !== 'dense') return undefined
  if (a.inputs * b.outputs > a.inputs * a.outputs + b.inputs * b.outputs) return undefined
  const weights = new Float64Array(a.inputs * b.outputs)
  const bias = second.bias.slice()
  for (let o = 0; o < b.outputs; o++) {
    for (let m = 0; m < b.inputs; m++) {
      const w = second.weights[o * b.inputs + m]
      bias[o] += w * first.bias[m]
      for (let i = 0; i < a.inputs; i++) weights[o * a.inputs + i] += w * first.weights[m * a.inputs + i]
    }
  }
  return { geometry: { kind: 'dense', inputs: a.inputs, outputs: b.outputs }, weights, bias }
}
