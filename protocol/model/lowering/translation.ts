/** A graph on its way to a network: what is known so far, and what operators ask of it. */
import { MinionnError } from '../../errors.js'
import { isScalarOp, type ScalarFunction, scalarFunction } from '../functions.js'
import { elements } from '../layers.js'
import { type Tensor as Hidden, NetworkBuilder } from '../network-builder.js'
import type { OnnxGraph, OnnxNode, Tensor } from '../onnx.js'
import type { NodeReader } from './node-reader.js'

export type { Hidden }

export type Image = readonly [number, number, number]

/** Operators that find labels, and what may lie between them and an output. */
const LABEL_OPS = new Set(['ArgMax', 'ai.onnx.ml.ArrayFeatureExtractor', 'ai.onnx.ml.LabelEncoder'])
const LABEL_STEPS = new Set(['Cast', 'Reshape', 'Squeeze', 'Unsqueeze', 'Identity', 'Flatten'])

export interface LowerOptions {
  /** Inputs and the outputs that they become in the next inference of a session, besides those named NAME and NAME_out. */
  readonly states?: Readonly<Record<string, string>>
  /** The output to predict where there are several. */
  readonly output?: string
}

/** States by the usual name. */
function derivedStates(graph: OnnxGraph): Record<string, string> {
  const named = graph.inputs.filter(({ name }) => graph.outputs.includes(`${name}_out`))
  return Object.fromEntries(named.map(({ name }) => [name, `${name}_out`]))
}

/** An input's dimensions, without the batch where that is apart; a batch of any size is one otherwise. */
function inputDims(name: string, shape: readonly (number | null)[], lead: 0 | 1): number[] {
  if (shape.length < 1 + lead) {
    throw new MinionnError(
      'BAD_MODEL',
      `input "${name}" has shape [${shape}]; a batch dimension and at least one more are expected`,
    )
  }
  const dims = lead === 1 ? shape.slice(1) : [shape[0] ?? 1, ...shape.slice(1)]
  if (dims.some((dim) => dim === null)) {
    throw new MinionnError(
      'BAD_MODEL',
      `input "${name}" has a dimension of unknown size besides the batch; export with fixed sizes`,
    )
  }
  return dims as number[]
}

/** Why an operator cannot be translated row by row. */
export const AS_A_WHOLE = 'its first dimension is time, not a batch'

export class Translation {
  readonly graph: OnnxGraph
  /** Inputs and the outputs that they become in the next inference of a session. */
  readonly states: Readonly<Record<string, string>>
  readonly outputs: readonly string[]
  readonly constants: Map<string, Tensor>
  readonly builder: NetworkBuilder
  /** 1 where the first dimension is a batch whose rows are inferences of their own, 0 where it is part of one inference. */
  readonly lead: 0 | 1
  batch: number
  /** What depends on the input, by name. */
  readonly hidden = new Map<string, Hidden>()
  /** Tensors that are a function of each element of another one, the last that is not: activations that exporters spell out. */
  readonly functions = new Map<string, { readonly base: string; readonly fn: ScalarFunction; readonly bent: boolean }>()
  /** Names, or other names of one tensor, that several nodes use. */
  readonly shared = new Set<string>()
  /** The hidden input of the node under translation: its name, and the tensor on its way to the node's output. */
  current: string
  output = ''
  x: Hidden
  readonly softmaxed = new Set<string>()
  /** Images in one inference, at an operator on them. */
  images = 1

  constructor(graph: OnnxGraph, options: LowerOptions, lead: 0 | 1) {
    this.graph = graph
    this.lead = lead
    this.constants = new Map(graph.initializers)
    this.states = { ...derivedStates(graph), ...options.states }
    for (const [input, output] of Object.entries(this.states)) {
      const known = graph.inputs.some(({ name }) => name === input) && graph.outputs.includes(output)
      if (!known) {
        const names = `inputs ${graph.inputs.map(({ name }) => name).join(', ')} and outputs ${graph.outputs.join(', ')}`
        throw new MinionnError('BAD_MODEL', `the state ${input}: ${output} is none of this model, which has ${names}`)
      }
    }
    const shapes = new Map(graph.inputs.map(({ name, shape }) => [name, inputDims(name, shape, lead)]))
    const [states, inputs] = [true, false].map((kept) => [...shapes].filter(([name]) => name in this.states === kept))
    if (inputs.length === 0) throw new MinionnError('BAD_MODEL', 'the model has no input')
    this.batch = graph.inputs.find(({ name }) => name === inputs[0][0])?.shape[0] ?? 1
    this.current = inputs[0][0]
    // Several inputs are given one behind the other.
    const sizes = inputs.map(([, dims]) => elements(dims))
    const whole = inputs.length === 1 ? inputs[0][1] : [sizes.reduce((sum, size) => sum + size, 0)]
    this.builder = new NetworkBuilder(
      whole,
      states.map(([name, shape]) => ({ name, shape })),
    )
    this.x = this.builder.input
    let offset = 0
    for (const [n, [name, dims]] of inputs.entries()) {
      const part = this.builder.slice(this.builder.input, name, [offset], [1], [sizes[n]])
      this.hidden.set(name, inputs.length === 1 ? this.x : this.builder.reshape(part, dims))
      offset += sizes[n]
    }
    for (const [n, [name]] of states.entries()) this.hidden.set(name, this.builder.state(n))
    this.outputs = options.output === undefined ? predictions(graph, this.states) : [options.output]
    if (options.output !== undefined && !graph.outputs.includes(options.output)) {
      throw new MinionnError(
        'BAD_MODEL',
        `the card's output "${options.output}" is none of ${graph.outputs.join(', ')}`,
      )
    }
  }

  define(node: OnnxNode, value: Omit<Tensor, 'name'>): void {
    this.constants.set(node.outputs[0], { name: node.outputs[0], ...value })
  }

  /** Input `at` must be the running value and all others constant. */
  constant(r: NodeReader, at: number): Tensor {
    const name = r.node.inputs[at]
    const tensor = this.constants.get(name)
    if (tensor === undefined) {
      r.fail(`input ${at} ("${name}") is not a constant; only constant weights are supported`)
    }
    return tensor
  }

  optional(r: NodeReader, at: number): Tensor | undefined {
    return r.node.inputs[at] ? this.constant(r, at) : undefined
  }

  /** Dimensions as the graph has them. */
  full(dims: readonly number[]): number[] {
    return this.lead === 1 ? [this.batch, ...dims] : [...dims]
  }

  /** The running value's shape in words. */
  get shown(): string {
    return this.lead === 1 ? `[N,${this.x.shape}]` : `[${this.x.shape}]`
  }

  /** The running value's images as one, channels of all of them together. */
  image(r: NodeReader): Image {
    const { shape } = this.x
    if (shape.length === 2) return [shape[0], 1, shape[1]]
    if (shape.length !== 3) {
      r.fail(
        `its input has shape [N,${shape}]; images [N, channels, height, width] or lines [N, channels, length] are expected`,
      )
    }
    return shape as unknown as Image
  }

  /** An axis of the graph as one without the batch. */
  axis(r: NodeReader, axis: number): number {
    const rank = this.x.shape.length + this.lead
    const at = axis < 0 ? axis + rank : axis
    if (at < this.lead || at >= rank) {
      r.fail(`attribute axis is ${axis} on a value of shape ${this.shown}; an axis behind the batch is expected`)
    }
    return at - this.lead
  }

  /** A constant spread over the running value's shape, as ONNX broadcasts it (and as opset < 7 did, by axis). */
  broadcast(r: NodeReader, constant: Tensor): Float64Array {
    const shape = this.lead === 1 ? [1, ...this.x.shape] : [...this.x.shape]
    let dims = [...constant.shape]
    if (this.graph.opset < 7 && r.number('broadcast', 0) === 1) {
      const axis = r.number('axis', shape.length - dims.length)
      dims = [...dims, ...Array(Math.max(0, shape.length - axis - dims.length)).fill(1)]
    }
    r.ignore('broadcast', 'axis')
    while (dims.length > 1 && dims.length > shape.length && dims[0] === 1) dims.shift()
    dims = [...Array(Math.max(0, shape.length - dims.length)).fill(1), ...dims]
    if (dims.length !== shape.length || dims.some((dim, i) => dim !== 1 && dim !== shape[i])) {
      r.fail(`a constant of shape [${constant.shape}] does not broadcast to ${this.shown}`)
    }
    const out = new Float64Array(elements(shape))
    const index = new Array<number>(shape.length).fill(0)
    for (let n = 0; n < out.length; n++) {
      let at = 0
      for (let d = 0; d < dims.length; d++) at = at * dims[d] + (dims[d] === 1 ? 0 : index[d])
      out[n] = constant.data[at]
      for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0
    }
    return out
  }

  /** The shape that hidden tensors broadcast to. */
  broadcastShape(r: NodeReader, tensors: readonly Hidden[]): number[] {
    const rank = Math.max(...tensors.map((x) => x.shape.length))
    const shapes = tensors.map(({ shape }) => [...Array(rank - shape.length).fill(1), ...shape])
    const dims = shapes[0].map((_, d) => Math.max(...shapes.map((shape) => shape[d])))
    // With the batch apart dimensions would be aligned with it.
    const apart = this.lead === 1 && tensors.some(({ shape }) => shape.length !== rank)
    if (apart || shapes.some((shape) => shape.some((dim, d) => dim !== dims[d] && dim !== 1))) {
      const prefix = this.lead === 1 ? 'N,' : ''
      r.fail(
        `its hidden inputs have shapes ${tensors.map(({ shape }) => `[${prefix}${shape}]`).join(' and ')}; ones that broadcast to each other are expected`,
      )
    }
    return dims
  }

  /** The node under translation as a function of the elements of the first tensor that is not such a function; `bent` if not affine. */
  note(fn: ScalarFunction, bent = true): ScalarFunction {
    const inner = this.functions.get(this.current)
    const whole =
      inner === undefined ? fn : { op: `${inner.fn.op}, ${fn.op}`, apply: (x: number) => fn.apply(inner.fn.apply(x)) }
    this.functions.set(this.output, {
      base: inner?.base ?? this.current,
      fn: whole,
      bent: bent || inner?.bent === true,
    })
    return whole
  }

  /** The running value becomes f of its elements; behind another such function, of that one's input. */
  apply(name: string, fn: ScalarFunction): void {
    const inner = this.functions.get(this.current)
    const whole = this.note(fn)
    if (inner === undefined) this.x = this.builder.scalar(this.x, name, fn, this.alone)
    else this.x = this.builder.scalar(this.hidden.get(inner.base)!, name, whole, false)
  }

  scalar(r: NodeReader, parameters: number[]): void {
    const { op, name } = r.node
    if (!isScalarOp(op)) r.fail(`operator ${op} is no function of single elements`)
    r.ignore('consumed_inputs')
    this.apply(name, scalarFunction(op, parameters))
  }

  /** A bound of Clip: an input since opset 11, an attribute before. */
  bound(r: NodeReader, at: number, attribute: string, fallback: number): number {
    const tensor = this.optional(r, at)
    return tensor === undefined ? r.number(attribute, fallback) : tensor.data[0]
  }

  /** Whether nothing but the node under translation uses its hidden input. */
  get alone(): boolean {
    return !this.shared.has(this.current)
  }

  /** The running value becomes a x + b for numbers a, b. */
  uniform(r: NodeReader, a: number, b: number): void {
    const size = elements(this.x.shape)
    this.note({ op: r.node.op, apply: (x) => a * x + b }, false)
    this.x = this.builder.affine(this.x, r.node.name, new Float64Array(size).fill(a), new Float64Array(size).fill(b))
  }

  negated(x: Hidden, name: string): Hidden {
    const size = elements(x.shape)
    return this.builder.affine(x, name, new Float64Array(size).fill(-1), new Float64Array(size))
  }

  /** A constant as a tensor of the network: zeros with a shift. */
  constantTensor(r: NodeReader, at: number): Hidden {
    const values = this.broadcast(r, this.constant(r, at))
    const { shape } = this.x
    return this.builder.affine(this.builder.zeros(shape), r.node.name, new Float64Array(values.length).fill(1), values)
  }
}

/** The outputs that are no states and no labels: those a client finds itself as the largest of the others. */
function predictions(graph: OnnxGraph, states: Readonly<Record<string, string>>): string[] {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
  const isLabel = (name: string): boolean => {
    const node = producers.get(name)
    if (node === undefined) return false
    return LABEL_OPS.has(node.op) || (LABEL_STEPS.has(node.op) && node.inputs.some(isLabel))
  }
  const next = new Set(Object.values(states))
  const all = graph.outputs.filter((name) => !next.has(name))
  const values = all.filter((name) => !isLabel(name))
  // scikit-learn's map from labels to probabilities shows what goes into it.
  return (values.length > 0 ? values : all).map((name) => {
    const node = producers.get(name)
    return node?.op === 'ai.onnx.ml.ZipMap' ? node.inputs[0] : name
  })
}
