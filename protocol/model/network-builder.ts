/**
 * Builds a Network operator by operator and merges as it goes: an operator joins the linear layer under construction
 * wherever the algebra is exact, and otherwise closes it with an activation.
 */
import { MinionnError } from '../errors.js'
import { MAX_PARTS, MAX_TERMS } from '../limits.js'
import {
  type ConvGeometry,
  convolutionTaps,
  type DenseGeometry,
  type PoolGeometry,
  type Transposition,
  transposedOrder,
} from '../ring/linear.js'
import { type Part, partSize, type View, viewOrder, wholeView } from '../ring/parts.js'
import type { ScalarFunction } from './functions.js'
import {
  type ActivationLayer,
  elements,
  type LinearLayer,
  type Network,
  type NetworkStage,
  networkValueSize,
  type Skip,
  type State,
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

/** A tensor of the graph under translation: a linear map, still open, of values of the network put together, and values added to it. */
export interface Tensor {
  /** Without the batch. */
  readonly shape: readonly number[]
  readonly parts: readonly Part[]
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
  /** Shapes of the states' tensors. */
  readonly #states: readonly { readonly name: string; readonly shape: readonly number[] }[]
  readonly #stages: NetworkStage[] = []
  /** What tensors became that were needed as values of their own, so that none is made twice. */
  readonly #made = new WeakMap<Tensor, Tensor>()
  /** Values that may have several takers: their stages stay as they are. */
  readonly #fixed = new Set<number>()

  constructor(
    inputShape: readonly number[],
    states: readonly { readonly name: string; readonly shape: readonly number[] }[] = [],
  ) {
    this.#inputShape = inputShape
    this.#states = states
  }

  get input(): Tensor {
    return value(0, this.#inputShape)
  }

  /** The tensor of state `s` before the inference. */
  state(s: number): Tensor {
    return value(1 + s, this.#states[s].shape)
  }

  /** Zeros. */
  zeros(shape: readonly number[]): Tensor {
    return { shape, parts: [{ zeros: elements(shape) }], linear: NOTHING, skips: [], view: undefined }
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

  /** Of each dimension `sizes` elements from `starts`, `steps` apart. */
  slice(
    x: Tensor,
    name: string,
    starts: readonly number[],
    steps: readonly number[],
    sizes: readonly number[],
  ): Tensor {
    const whole = wholeView(x.shape)
    const seen = sliced(whole, starts, steps, sizes)
    if (sizes.join() === x.shape.join() && steps.every((step) => step === 1)) return x
    const picked = this.#pick(x, viewOrder(seen), sizes)
    if (picked !== undefined) return picked
    const part = this.#single(x, name)
    if ('zeros' in part.part) return this.zeros(sizes)
    const view = sliced(part.view, starts, steps, sizes)
    return { ...value(part.part.from, sizes), parts: [{ from: part.part.from, view }] }
  }

  /** ONNX's Gather with constant indices along one dimension. */
  gather(x: Tensor, name: string, axis: number, indices: readonly number[]): Tensor {
    const sizes = x.shape.map((size, d) => (d === axis ? indices.length : size))
    const order = viewOrder(wholeView(x.shape))
    const inner = elements(x.shape.slice(axis + 1))
    const block = inner * x.shape[axis]
    const rows = Int32Array.from({ length: elements(sizes) }, (_, n) => {
      const outer = Math.floor(n / (inner * indices.length))
      return order[outer * block + indices[Math.floor(n / inner) % indices.length] * inner + (n % inner)]
    })
    const picked = this.#pick(x, rows, sizes)
    if (picked !== undefined) return picked
    // Runs of indices at equal distances are slices.
    const runs: Tensor[] = []
    const { part } = this.#single(x, name)
    const plain: Tensor = { ...x, linear: NOTHING, skips: [], view: undefined, parts: [part] }
    for (let i = 0; i < indices.length; ) {
      let length = Math.min(2, indices.length - i)
      const step = length === 2 ? indices[i + 1] - indices[i] : 1
      while (i + length < indices.length && indices[i + length] - indices[i + length - 1] === step) length++
      const at = (v: number, other: number) => x.shape.map((_, d) => (d === axis ? v : other))
      const run = x.shape.map((size, d) => (d === axis ? length : size))
      runs.push(this.slice(plain, name, at(indices[i], 0), at(step, 1), run))
      i += length
    }
    return this.concat(runs, name, axis)
  }

  /** One behind the other along a dimension. */
  concat(tensors: readonly Tensor[], name: string, axis: number): Tensor {
    if (tensors.length === 1) return tensors[0]
    const [{ shape }] = tensors
    const size = tensors.reduce((sum, x) => sum + x.shape[axis], 0)
    const whole = shape.map((s, d) => (d === axis ? size : s))
    if (elements(shape.slice(0, axis)) === 1) {
      const parts = tensors.flatMap((x) => this.#partsOf(x, name))
      return { ...this.zeros(whole), parts }
    }
    // The dimension goes first, so that parts follow each other, and is moved back behind.
    const first = [axis, ...shape.keys()].filter((d, i) => i === 0 || d !== axis)
    const parts = tensors.map((x): Part => {
      const { part, view } = this.#single(x, name)
      if ('zeros' in part) return part
      const move = (list: readonly number[]) => first.map((d) => list[d])
      return { from: part.from, view: { ...view, sizes: move(view.sizes), strides: move(view.strides) } }
    })
    const perm = shape.map((_, d) => first.indexOf(d))
    return { ...this.zeros(whole), parts, view: { shape: first.map((d) => whole[d]), perm } }
  }

  /** ONNX's broadcasting: dimensions of size 1 are repeated, missing ones added in front. */
  expand(x: Tensor, name: string, shape: readonly number[]): Tensor {
    if (x.shape.join() === shape.join()) return x
    const { part, view } = this.#single(x, name)
    if ('zeros' in part) return this.zeros(shape)
    const missing = shape.length - x.shape.length
    const strides = shape.map((_, d) => (d < missing || x.shape[d - missing] === 1 ? 0 : view.strides[d - missing]))
    return { ...value(part.from, shape), parts: [{ from: part.from, view: { ...view, sizes: shape, strides } }] }
  }

  /** `alone`: nothing else uses x, so that it may become part of the result. */
  relu(x: Tensor, name: string, alone = true): Tensor {
    const last = this.#activationOf(x, alone)
    // ReLU twice is ReLU.
    if (last?.fn === 'identity' || last?.fn === 'relu') return this.#replace(x, { ...last, fn: 'relu' })
    return this.#close(x, activation(name, 'relu'))
  }

  /** A function of each element. */
  scalar(x: Tensor, name: string, fn: 'square' | ScalarFunction, alone = true): Tensor {
    const last = this.#activationOf(x, alone)
    if (last?.fn === 'identity') return this.#replace(x, { ...last, fn })
    if (last?.fn === 'relu' && typeof fn === 'object') return this.#replace(x, { ...last, fn: behindRelu(fn) })
    return this.#close(x, activation(name, fn))
  }

  /** a times b, element by element. */
  multiply(a: Tensor, b: Tensor, name: string): Tensor {
    const alike = isRaw(a) && isRaw(b) && sameView(a.view, b.view) && a.parts.length === 1 && b.parts.length === 1
    const [left, right] = alike ? [a.parts[0], b.parts[0]] : [this.#single(a, name).part, this.#single(b, name).part]
    if ('zeros' in left || 'zeros' in right) return this.zeros(a.shape)
    return this.#product(name, [left, right], [1], a.shape, alike ? a.view : undefined)
  }

  /** The largest of several tensors, element by element. */
  maximum(tensors: readonly Tensor[], name: string): Tensor {
    const parts = tensors.flatMap((x) => this.#partsOf(x, name))
    const [{ shape }] = tensors
    return { ...this.#maxOver({ ...this.zeros(shape), parts }, name, tensors.length, elements(shape), false), shape }
  }

  /** The largest, or the mean, over dimensions; those that stay keep their order. */
  reduce(x: Tensor, name: string, kind: 'max' | 'mean', axes: readonly number[]): Tensor {
    const kept = [...x.shape.keys()].filter((d) => !axes.includes(d))
    const { part, view } = this.#single(x, name)
    const order = [...kept, ...axes]
    const move = (list: readonly number[]) => order.map((d) => list[d])
    const parts: Part[] =
      'zeros' in part
        ? [part]
        : [{ from: part.from, view: { ...view, sizes: move(view.sizes), strides: move(view.strides) } }]
    const [size, window] = [kept, axes].map((dims) => elements(dims.map((d) => x.shape[d])))
    const shape = kept.map((d) => x.shape[d])
    const moved = { ...this.zeros(move(x.shape)), parts }
    if (kind === 'max') return { ...this.#maxOver(moved, name, window, size, true), shape }
    return { ...this.meanPool(moved, name, lineWindows(window, size, true)), shape }
  }

  maxPool(x: Tensor, name: string, pool: PoolGeometry, alone = true): Tensor {
    if (x.view !== undefined) return this.maxPool(this.#settle(x, name), name, pool)
    const last = this.#activationOf(x, alone)
    const commutes = last?.fn === 'relu' || last?.fn === 'identity'
    // The largest and ReLU commute.
    if (commutes && last.pool === undefined) return { ...this.#replace(x, { ...last, name, pool }), shape: pool.output }
    return { ...this.#close(x, { ...activation(name, 'identity'), pool }), shape: pool.output }
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
    const before = l.map === undefined && l.pre === undefined && this.#wholeChannels(x, pool.input)
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
    if (geometry.kind === 'conv' && l.map === undefined && !this.#wholeChannels(x, geometry.input)) return again()
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
    if (x.parts.every((part) => 'zeros' in part)) {
      // A constant: what is folded into the bias is all there is.
      return this.affine(this.zeros(shape), name, new Float64Array(map.bias.length).fill(1), map.bias)
    }
    return { ...x, shape, linear: { ...l, map, pending: undefined, names: [...l.names, name] } }
  }

  /** a + sign b, element by element. One of the two becomes a value of its own where neither is. */
  add(a: Tensor, b: Tensor, name: string, sign: 1 | -1): Tensor {
    if (!sameView(a.view, b.view)) return this.add(this.#settle(a, name), this.#settle(b, name), name, sign)
    const [p, q] = [this.#stageOf(a), this.#stageOf(b)]
    if (p?.activation?.fn === 'product' && q?.activation?.fn === 'product') {
      // A sum of products is one stage. The two go, unless something else takes them.
      const signs = [...p.activation.signs, ...q.activation.signs.map((s) => (s * sign) as 1 | -1)]
      return this.#product(name, [...p.parts, ...q.parts], signs, a.shape, a.view)
    }
    const skip = (x: Tensor, s: 1 | -1): Skip | undefined => {
      const [part] = x.parts
      return isRaw(x) && x.parts.length === 1 && 'from' in part ? { ...part, sign: s } : undefined
    }
    const second = skip(b, sign)
    if (second !== undefined) return { ...a, skips: [...a.skips, second] }
    const first = skip(a, 1)
    if (first !== undefined && sign === 1) return { ...b, skips: [...b.skips, first] }
    return this.add(a, this.#requantise(b, name), name, sign)
  }

  /** Closes with x as the output, and the tensors that the states become. */
  finish(x: Tensor, next: readonly Tensor[] = []): Network {
    const states = next.map((state, s): State => {
      const { name, shape } = this.#states[s]
      return { name, size: elements(shape), next: this.#valueOf(state, `state ${name}`) }
    })
    this.#push(this.#settle(x, 'the output'), undefined)
    const network = { inputShape: this.#inputShape, states, stages: this.#stages }
    return { ...network, ...withoutUnused(states, this.#stages), outputSize: elements(x.shape) }
  }

  get #inputs(): number {
    return 1 + this.#states.length
  }

  /** The stage that x is the result of, where it is no more than that. */
  #stageOf(x: Tensor): NetworkStage | undefined {
    const from = plainValue(x)
    return from === undefined || from < this.#inputs ? undefined : this.#stages[from - this.#inputs]
  }

  /** The activation whose result x is, where it may still be changed. */
  #activationOf(x: Tensor, alone: boolean): ActivationLayer | undefined {
    return alone && !this.#fixed.has(plainValue(x) ?? -1) ? this.#stageOf(x)?.activation : undefined
  }

  #replace(x: Tensor, activation: ActivationLayer): Tensor {
    const at = plainValue(x)! - this.#inputs
    this.#stages[at] = { ...this.#stages[at], activation }
    return x
  }

  /** The same tensor without a view: what is put together of values takes it up. */
  #settle(x: Tensor, name: string): Tensor {
    const { view } = x
    if (view === undefined) return x
    if (!isRaw(x)) return this.#settle(this.#requantise(x, name), name)
    return { ...x, linear: { ...NOTHING, transpose: view }, view: undefined }
  }

  /** x as parts in the order of its elements; it becomes a value where it is more than that. */
  #partsOf(x: Tensor, name: string): readonly Part[] {
    if (isRaw(x) && x.view === undefined) return x.parts
    const { part, view } = this.#single(x, name)
    return ['zeros' in part ? part : { from: part.from, view }]
  }

  /** x as one part, and the view of its value by the dimensions of x. */
  #single(x: Tensor, name: string): { part: Part; view: View } {
    const [part] = x.parts
    if (isRaw(x) && x.parts.length === 1) {
      if ('zeros' in part) return { part, view: wholeView(x.shape) }
      const dims = x.view?.shape ?? x.shape
      const own = part.view ?? wholeView(dims)
      if (own.sizes.join() === dims.join()) {
        if (x.view === undefined) return { part, view: own }
        const move = (list: readonly number[]) => x.view!.perm.map((d) => list[d])
        const view = { ...own, sizes: move(own.sizes), strides: move(own.strides) }
        if (view.sizes.join() === x.shape.join()) return { part: { from: part.from, view }, view }
      }
    }
    let made = this.#made.get(x)
    if (made === undefined) {
      // Multi-part or reshaped transpositions are put in order first, so that the value has the order of x.
      made = this.#requantise(isRaw(x) ? this.#settle(x, name) : x, name)
      this.#fixed.add(plainValue(made)!)
      this.#made.set(x, made)
    }
    return this.#single(made, name)
  }

  /** The value that x is, in the order of its elements. */
  #valueOf(x: Tensor, name: string): number {
    const from = x.view === undefined ? plainValue(x) : undefined
    if (from === undefined) return this.#valueOf(this.#requantise(this.#settle(x, name), name), name)
    this.#fixed.add(from)
    return from
  }

  /** Elements of the result of a dense map, or whole filters of a convolution: a map of fewer rows. */
  #pick(x: Tensor, order: Int32Array, shape: readonly number[]): Tensor | undefined {
    const { map, post } = x.linear
    if (map === undefined || post !== undefined || x.skips.length > 0 || x.view !== undefined) return undefined
    const { geometry: g, weights, bias } = map
    const area = g.kind === 'conv' ? g.output[1] * g.output[2] : 1
    if (g.kind === 'conv' && (g.groups !== 1 || order.some((at, n) => at % area !== n % area))) return undefined
    const rows = Array.from({ length: order.length / area }, (_, n) => Math.floor(order[n * area] / area))
    if (g.kind === 'conv' && order.some((at, n) => Math.floor(at / area) !== rows[Math.floor(n / area)]))
      return undefined
    const size = weights.length / (g.kind === 'conv' ? g.output[0] : g.outputs)
    const picked = new Float64Array(rows.length * size)
    rows.forEach((row, n) => void picked.set(weights.subarray(row * size, (row + 1) * size), n * size))
    const geometry: ConvGeometry | DenseGeometry =
      g.kind === 'conv' ? { ...g, output: [rows.length, g.output[1], g.output[2]] } : { ...g, outputs: rows.length }
    return {
      ...x,
      shape,
      linear: { ...x.linear, map: { geometry, weights: picked, bias: Float64Array.from(order, (at) => bias[at]) } },
    }
  }

  /** Whether the parts of what a convolution or pool takes are whole channels: each then has one scale. */
  #wholeChannels(x: Tensor, [, height, width]: readonly number[]): boolean {
    if (x.parts.filter((part) => 'from' in part).length <= 1) return true
    const network = {
      inputShape: this.#inputShape,
      states: this.#states.map((s) => ({ ...s, size: elements(s.shape), next: 0 })),
      stages: this.#stages,
    }
    const size = (part: Part) => partSize(part, (j) => networkValueSize(network, j))
    return x.linear.transpose === undefined && x.parts.every((part) => size(part) % (height * width) === 0)
  }

  #product(
    name: string,
    parts: readonly Part[],
    signs: readonly (1 | -1)[],
    shape: readonly number[],
    view: Transposition | undefined,
  ): Tensor {
    const size = elements(shape) * 2 * signs.length
    const closed = this.#close({ ...this.zeros([size]), parts }, { ...activation(name, 'product'), signs })
    return { ...closed, shape, view }
  }

  /** The largest over `window` neighbours, or over as many rows. */
  #maxOver(x: Tensor, name: string, window: number, size: number, neighbours: boolean): Tensor {
    return this.maxPool({ ...x, shape: [1, size, window] }, name, lineWindows(window, size, neighbours))
  }

  /** Ends the linear layer with a stage that only rescales or shares anew: always possible, and exact up to its rounding. */
  #requantise(x: Tensor, name: string): Tensor {
    return this.#close(x, activation(`before ${name}`, 'identity'))
  }

  #close(x: Tensor, activation: ActivationLayer): Tensor {
    this.#push(x, activation)
    return { ...value(this.#inputs + this.#stages.length - 1, x.shape), view: x.view }
  }

  #push(x: Tensor, activation: ActivationLayer | undefined): void {
    const l = x.linear
    // The linear map's own shape, whatever is seen of it.
    const own = x.view?.shape ?? x.shape
    let { map } = l
    let gain = 1
    let bias: Float64Array | undefined
    if (map === undefined && l.pending !== undefined) {
      const { scale, shift } = l.pending
      const [channels, height, width] = own.length === 3 ? own : [elements(own), 1, 1]
      if (scale[0] !== 0 && uniformOver(scale, scale.length)) {
        // One factor for all elements is a matter of scales.
        gain = scale[0]
        bias = shift
      } else {
        // An element-wise map with nothing to fold into: a 1x1 convolution with a group per element or channel.
        const perChannel = uniformOver(scale, height * width) && this.#wholeChannels(x, [channels, height, width])
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
        map = { geometry, weights: Float64Array.from({ length: shape[0] }, (_, c) => scale[c * area]), bias: shift }
      }
    }
    const size = l.pre === undefined ? elements(x.shape) : elements(l.pre.output)
    const linear: LinearLayer = {
      kind: 'linear',
      name: l.names.join(' + ') || 'identity',
      transpose: l.transpose,
      pre: l.pre,
      geometry: map?.geometry ?? { kind: 'identity', size },
      gain,
      weights: map?.weights ?? new Float64Array(0),
      bias: map?.bias ?? bias ?? new Float64Array(size),
      post: l.post,
    }
    for (const [what, count, most] of [
      ['pieces put together', x.parts.length, MAX_PARTS],
      ['values added', x.skips.length, MAX_PARTS],
      ['products summed', activation?.signs.length ?? 0, MAX_TERMS],
    ] as const) {
      if (count <= most) continue
      const name = activation?.name ?? linear.name
      throw new MinionnError('BAD_MODEL', `"${name}" needs ${count} ${what} at once; at most ${most} are supported`)
    }
    this.#stages.push({ parts: x.parts, linear, skips: x.skips, activation })
  }
}

/** Whether two tensors are of one value. */
export function sameValue(a: Tensor, b: Tensor): boolean {
  const [left, right] = [a.parts[0], b.parts[0]]
  return a.parts.length === 1 && b.parts.length === 1 && 'from' in left && 'from' in right && left.from === right.from
}

function value(from: number, shape: readonly number[]): Tensor {
  return { shape, parts: [{ from }], linear: NOTHING, skips: [], view: undefined }
}

function activation(name: string, fn: ActivationLayer['fn']): ActivationLayer {
  return { kind: 'activation', name, pool: undefined, fn, signs: [] }
}

/** Windows over a matrix: its rows of neighbours, or its columns. */
function lineWindows(window: number, size: number, neighbours: boolean): PoolGeometry {
  const [input, output, kernel] = neighbours
    ? ([
        [1, size, window],
        [1, size, 1],
        [1, window],
      ] as const)
    : ([
        [1, window, size],
        [1, 1, size],
        [window, 1],
      ] as const)
  return { input, output, kernel, strides: kernel, pads: [0, 0, 0, 0] }
}

/** The slice of a view. */
function sliced(view: View, starts: readonly number[], steps: readonly number[], sizes: readonly number[]): View {
  const offset = starts.reduce((at, start, d) => at + start * view.strides[d], view.offset)
  return { offset, sizes, strides: view.strides.map((stride, d) => stride * steps[d]) }
}

/** f of the ReLU: so PyTorch writes ReLU6. */
function behindRelu({ op, apply, bends }: ScalarFunction): ScalarFunction {
  const own = bends && [0, ...bends.filter((x) => x > 0)]
  return { op: `Relu, ${op}`, apply: (x) => apply(Math.max(x, 0)), bends: own }
}

/** The stages that the last one and the states need, renumbered. */
function withoutUnused(states: readonly State[], stages: readonly NetworkStage[]): Pick<Network, 'states' | 'stages'> {
  const inputs = 1 + states.length
  const last = inputs + stages.length - 1
  const used = new Set([last, ...states.map((state) => state.next)])
  const taken = ({ parts, skips }: NetworkStage) => [
    ...parts.flatMap((part) => ('from' in part ? part.from : [])),
    ...skips.map((skip) => skip.from),
  ]
  for (let i = stages.length - 1; i >= 0; i--) {
    if (used.has(inputs + i)) for (const value of taken(stages[i])) used.add(value)
  }
  const kept = stages.filter((_, i) => used.has(inputs + i))
  const renumber = (from: number) => (from < inputs ? from : inputs + kept.indexOf(stages[from - inputs]))
  return {
    states: states.map((state) => ({ ...state, next: renumber(state.next) })),
    stages: kept.map((stage) => ({
      ...stage,
      parts: stage.parts.map((part) => ('from' in part ? { ...part, from: renumber(part.from) } : part)),
      skips: stage.skips.map((skip) => ({ ...skip, from: renumber(skip.from) })),
    })),
  }
}

/** Whether a tensor is no more than values put together. */
function isRaw({ linear, skips }: Tensor): boolean {
  const { transpose, pre, pending, map } = linear
  return skips.length === 0 && [transpose, pre, pending, map].every((part) => part === undefined)
}

/** The value that a tensor is, seen whole, perhaps transposed. */
function plainValue(x: Tensor): number | undefined {
  const [part] = x.parts
  return isRaw(x) && x.parts.length === 1 && 'from' in part && part.view === undefined ? part.from : undefined
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
