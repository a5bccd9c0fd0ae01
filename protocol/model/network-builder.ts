/**
 * Builds a Network operator by operator and merges as it goes: an operator joins the linear layer under construction
 * wherever the algebra is exact, and otherwise closes it with an activation.
 */
import {
  type ConvGeometry,
  convolutionTaps,
  type DenseGeometry,
  type PoolGeometry,
  type Transposition,
  transposedOrder,
} from '../ring/linear.js'
import type { ScalarFunction } from './functions.js'
import {
  type ActivationLayer,
  elements,
  type LinearLayer,
  type Network,
  type NetworkStage,
  type Skip,
} from './layers.js'

interface OpenLinear {
  readonly names: readonly string[]
  /** Before all else. */
  readonly transpose: Transposition | undefined
  /** Mean pool before the weights. */
  readonly pre: PoolGeometry | undefined
  /** Element-wise map after `pre` that waits for weights to be folded into. */
  readonly pending: { readonly scale: Float64Array; readonly shift: Float64Array } | undefined
  readonly map:
    | { readonly geometry: ConvGeometry | DenseGeometry; readonly weights: Float64Array; readonly bias: Float64Array }
    | undefined
  readonly post: PoolGeometry | undefined
}

/** A tensor of the graph under translation: a linear map, still open, of a value of the network, and values added to it. */
export interface Tensor {
  /** Without the batch. */
  readonly shape: readonly number[]
  readonly from: number
  readonly linear: OpenLinear
  readonly skips: readonly Skip[]
  /** What is read is the linear map's result so transposed: element-wise operators need not care. */
  readonly view: Transposition | undefined
}

const NOTHING: OpenLinear = {
  names: [],
  transpose: undefined,
  pre: undefined,
  pending: undefined,
  map: undefined,
  post: undefined,
}

export class NetworkBuilder {
  readonly #inputShape: readonly number[]
  readonly #stages: NetworkStage[] = []

  constructor(inputShape: readonly number[]) {
    this.#inputShape = inputShape
  }

  get input(): Tensor {
    return { shape: this.#inputShape, from: 0, linear: NOTHING, skips: [], view: undefined }
  }

  reshape(x: Tensor, shape: readonly number[]): Tensor {
    return { ...x, shape }
  }

  /** ONNX's Transpose, without the batch. */
  transpose(x: Tensor, name: string, perm: readonly number[]): Tensor {
    const shape = perm.map((d) => x.shape[d])
    const { view } = x
    if (view === undefined) return { ...x, shape, view: { shape: x.shape, perm } }
    const seen = view.perm.map((d) => view.shape[d])
    if (seen.join() !== x.shape.join()) return this.transpose(this.#settle(x, name), name, perm)
    const both = perm.map((d) => view.perm[d])
    const undone = both.every((d, i) => d === i)
    return { ...x, shape, view: undone ? undefined : { shape: view.shape, perm: both } }
  }

  /** `alone`: nothing else uses x, so that it may become part of the result. */
  relu(x: Tensor, name: string, alone = true): Tensor {
    const last = this.#activationOf(x, alone)
    // ReLU twice is ReLU.
    if (last?.fn === 'identity' || last?.fn === 'relu') return this.#replace(x, { ...last, fn: 'relu' })
    return this.#close(x, { kind: 'activation', name, pool: undefined, fn: 'relu' })
  }

  /** A function of each element. */
  scalar(x: Tensor, name: string, fn: 'square' | ScalarFunction, alone = true): Tensor {
    const last = this.#activationOf(x, alone)
    if (last?.fn === 'identity') return this.#replace(x, { ...last, fn })
    if (last?.fn === 'relu' && typeof fn === 'object') return this.#replace(x, { ...last, fn: behindRelu(fn) })
    return this.#close(x, { kind: 'activation', name, pool: undefined, fn })
  }

  maxPool(x: Tensor, name: string, pool: PoolGeometry, alone = true): Tensor {
    if (x.view !== undefined) return this.maxPool(this.#settle(x, name), name, pool)
    const last = this.#activationOf(x, alone)
    const commutes = last?.fn === 'relu' || last?.fn === 'identity'
    // The largest and ReLU commute.
    if (commutes && last.pool === undefined) return { ...this.#replace(x, { ...last, name, pool }), shape: pool.output }
    return { ...this.#close(x, { kind: 'activation', name, pool, fn: 'identity' }), shape: pool.output }
  }

  meanPool(x: Tensor, name: string, pool: PoolGeometry): Tensor {
    if (x.view !== undefined) return this.meanPool(this.#settle(x, name), name, pool)
    const l = x.linear
    // Means commute with maps that are the same at every position, as long as no window sees padding.
    const plain = pool.pads.every((pad) => pad === 0)
    const named = (linear: OpenLinear): Tensor => ({
      ...x,
      shape: pool.output,
      linear: { ...linear, names: [...linear.names, name] },
    })
    if (x.skips.length === 0 && l.map !== undefined && l.post === undefined) return named({ ...l, post: pool })
    const before = l.map === undefined && l.pre === undefined
    if (x.skips.length === 0 && before && (l.pending === undefined || (plain && uniform(l.pending, pool)))) {
      if (l.pending === undefined) return named({ ...l, pre: pool })
      const [, height, width] = pool.input
      const pick = (values: Float64Array) => expandChannels(values, height * width, pool.output[1] * pool.output[2])
      return named({ ...l, pre: pool, pending: { scale: pick(l.pending.scale), shift: pick(l.pending.shift) } })
    }
    return this.meanPool(this.#requantise(x, name), name, pool)
  }

  /** y = scale x + shift, element by element. */
  affine(x: Tensor, name: string, scale: Float64Array, shift: Float64Array): Tensor {
    if (x.view !== undefined) {
      const { view } = x
      const inOrder = { ...x, shape: view.shape, view: undefined }
      const mapped = this.affine(inOrder, name, untransposed(view, scale), untransposed(view, shift))
      return { ...mapped, shape: x.shape, view }
    }
    const l = x.linear
    const { map } = l
    const named = (linear: OpenLinear): Tensor => ({ ...x, linear: { ...linear, names: [...linear.names, name] } })
    if (x.skips.length === 0 && map === undefined) {
      const p = l.pending
      const pending =
        p === undefined
          ? { scale, shift }
          : { scale: p.scale.map((v, i) => v * scale[i]), shift: p.shift.map((v, i) => v * scale[i] + shift[i]) }
      return named({ ...l, pending })
    }
    if (x.skips.length === 0 && map !== undefined && l.post === undefined && rowScale(map.geometry, scale)) {
      const perOutput = map.geometry.kind === 'dense' ? map.geometry.outputs : map.geometry.output[0]
      const perWeight = map.weights.length / perOutput
      const area = scale.length / perOutput
      const weights = map.weights.map((v, i) => v * scale[Math.floor(i / perWeight) * area])
      const bias = map.bias.map((v, i) => v * scale[i] + shift[i])
      return named({ ...l, map: { ...map, weights, bias } })
    }
    return this.affine(this.#requantise(x, name), name, scale, shift)
  }

  linear(
    x: Tensor,
    name: string,
    geometry: ConvGeometry | DenseGeometry,
    weights: Float64Array,
    bias: Float64Array,
  ): Tensor {
    if (x.view !== undefined) {
      if (geometry.kind === 'conv') return this.linear(this.#settle(x, name), name, geometry, weights, bias)
      const order = transposedOrder(x.view)
      const columns = new Float64Array(weights.length)
      weights.forEach((w, i) => {
        const column = i % geometry.inputs
        columns[i - column + order[column]] = w
      })
      return this.linear({ ...x, shape: x.view.shape, view: undefined }, name, geometry, columns, bias)
    }
    const l = x.linear
    const shape = geometry.kind === 'conv' ? geometry.output : [geometry.outputs]
    const again = () => this.linear(this.#requantise(x, name), name, geometry, weights, bias)
    if (x.skips.length > 0) return again()
    if (l.map !== undefined) {
      const merged = l.post === undefined ? mergeDense(l.map, { geometry, weights, bias }) : undefined
      if (merged === undefined) return again()
      return { ...x, shape, linear: { ...l, map: merged, names: [...l.names, name] } }
    }
    if (l.pending !== undefined && geometry.kind === 'conv') {
      // A scale that differs within a channel cannot enter a convolution's weights.
      if (!uniformOver(l.pending.scale, geometry.input[1] * geometry.input[2])) return again()
    }
    const map = foldPending(geometry, weights, bias, l.pending)
    return { ...x, shape, linear: { ...l, map, pending: undefined, names: [...l.names, name] } }
  }

  /** a + sign b, element by element. One of the two becomes a value of its own where neither is. */
  add(a: Tensor, b: Tensor, name: string, sign: 1 | -1): Tensor {
    if (!sameView(a.view, b.view)) return this.add(this.#settle(a, name), this.#settle(b, name), name, sign)
    if (isPlain(b)) return { ...a, skips: [...a.skips, { from: b.from, sign }] }
    if (isPlain(a) && sign === 1) return { ...b, skips: [...b.skips, { from: a.from, sign }] }
    return this.add(a, this.#requantise(b, name), name, sign)
  }

  /** Closes with x as the output. */
  finish(x: Tensor): Network {
    this.#push(this.#settle(x, 'the output'), undefined)
    return { inputShape: this.#inputShape, outputSize: elements(x.shape), stages: withoutUnused(this.#stages) }
  }

  /** The activation whose result x is, where it may still be changed. */
  #activationOf(x: Tensor, alone: boolean): ActivationLayer | undefined {
    return alone && isPlain(x) && x.from > 0 ? this.#stages[x.from - 1].activation : undefined
  }

  #replace(x: Tensor, activation: ActivationLayer): Tensor {
    this.#stages[x.from - 1] = { ...this.#stages[x.from - 1], activation }
    return x
  }

  /** The same tensor without a view: a plain value's becomes part of the next linear map. */
  #settle(x: Tensor, name: string): Tensor {
    const { view } = x
    if (view === undefined) return x
    if (!isPlain(x)) return this.#settle(this.#requantise(x, name), name)
    return { ...x, linear: { ...NOTHING, transpose: view }, view: undefined }
  }

  /** Ends the linear layer with a garbled stage that only rescales: always possible, and exact up to its rounding. */
  #requantise(x: Tensor, name: string): Tensor {
    return this.#close(x, { kind: 'activation', name: `before ${name}`, pool: undefined, fn: 'identity' })
  }

  #close(x: Tensor, activation: ActivationLayer): Tensor {
    this.#push(x, activation)
    return { shape: x.shape, from: this.#stages.length, linear: NOTHING, skips: [], view: x.view }
  }

  #push(x: Tensor, activation: ActivationLayer | undefined): void {
    const l = x.linear
    // The linear map's own shape, whatever is seen of it.
    const own = x.view?.shape ?? x.shape
    let { map } = l
    if (map === undefined && l.pending !== undefined) {
      // An element-wise map with nothing to fold into: a 1x1 convolution with a group per element or channel.
      const [channels, height, width] = own.length === 3 ? own : [elements(own), 1, 1]
      const perChannel = uniformOver(l.pending.scale, height * width)
      const shape: [number, number, number] = perChannel ? [channels, height, width] : [elements(own), 1, 1]
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
      const { scale, shift } = l.pending
      map = { geometry, weights: Float64Array.from({ length: shape[0] }, (_, c) => scale[c * area]), bias: shift }
    }
    const size = l.pre === undefined ? elements(x.shape) : elements(l.pre.output)
    const linear: LinearLayer = {
      kind: 'linear',
      name: l.names.join(' + ') || 'identity',
      transpose: l.transpose,
      pre: l.pre,
      geometry: map?.geometry ?? { kind: 'identity', size },
      weights: map?.weights ?? new Float64Array(0),
      bias: map?.bias ?? new Float64Array(size),
      post: l.post,
    }
    this.#stages.push({ from: x.from, linear, skips: x.skips, activation })
  }
}

/** f of the ReLU: so PyTorch writes ReLU6. */
function behindRelu({ op, apply, bends }: ScalarFunction): ScalarFunction {
  const own = bends && [0, ...bends.filter((x) => x > 0)]
  return { op: `Relu, ${op}`, apply: (x) => apply(Math.max(x, 0)), bends: own }
}

/** The stages that the last one needs, renumbered. */
function withoutUnused(stages: readonly NetworkStage[]): NetworkStage[] {
  const used = new Set([stages.length])
  for (let i = stages.length - 1; i >= 0; i--) {
    if (used.has(i + 1))
      for (const value of [stages[i].from, ...stages[i].skips.map((skip) => skip.from)]) used.add(value)
  }
  const numbers = new Map([[0, 0]])
  const kept = stages.filter((_, i) => used.has(i + 1))
  stages.forEach((stage, i) => {
    if (used.has(i + 1)) numbers.set(i + 1, kept.indexOf(stage) + 1)
  })
  return kept.map((stage) => ({
    ...stage,
    from: numbers.get(stage.from)!,
    skips: stage.skips.map((skip) => ({ ...skip, from: numbers.get(skip.from)! })),
  }))
}

/** Whether a tensor is a value of the network as it is. */
function isPlain({ linear, skips }: Tensor): boolean {
  const { transpose, pre, pending, map } = linear
  return skips.length === 0 && [transpose, pre, pending, map].every((part) => part === undefined)
}

function sameView(a: Transposition | undefined, b: Transposition | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Values of the transposed tensor's elements in the order of the tensor. */
function untransposed(view: Transposition, values: Float64Array): Float64Array {
  const out = new Float64Array(values.length)
  transposedOrder(view).forEach((at, n) => {
    out[at] = values[n]
  })
  return out
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
