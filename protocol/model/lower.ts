/**
 * From an ONNX graph to a Network: checks every node and attribute, folds constants, batch norms and mean-pool
 * divisors into weights, swaps ReLU behind max-pool, merges neighbouring linear maps and drops the final softmax.
 * Semantics follow the ONNX operator specification; what is not supported is refused by node, operator and attribute.
 */
import { MinionnError } from '../errors.js'
import { MAX_TENSOR_ELEMENTS, MAX_WEIGHTS, MAX_WINDOW } from '../limits.js'
import { type ConvGeometry, outputSize, type PoolGeometry, transposedOrder, weightCount } from '../ring/linear.js'
import { viewOrder, wholeView } from '../ring/parts.js'
import { isScalarOp, type ScalarFunction, scalarFunction } from './functions.js'
import { elements, type Network } from './layers.js'
import { type Tensor as Hidden, NetworkBuilder, sameValue } from './network-builder.js'
import type { OnnxGraph, OnnxNode, Tensor } from './onnx.js'
import {
  type Carried,
  GATES,
  type RecurrentKind,
  type RecurrentWeights,
  recurrentActivation,
  recurrentStep,
} from './recurrent-operators.js'

/** Operators on images, which slide along a line as over an image of one row. */
const IMAGE_OPS = new Set([
  'Conv',
  'ConvTranspose',
  'MaxPool',
  'AveragePool',
  'GlobalAveragePool',
  'GlobalMaxPool',
  'BatchNormalization',
])

type Image = readonly [number, number, number]

const ELEMENTWISE = {
  Add: (x: number, y: number) => x + y,
  Sub: (x: number, y: number) => x - y,
  Mul: (x: number, y: number) => x * y,
  Div: (x: number, y: number) => x / y,
} as const

/** Operators whose inputs may be hidden or constant in any order. */
const MANY_INPUTS = new Set(['Add', 'Mul', 'Sub', 'Concat', 'Max', 'Min', 'Sum', 'Mean'])

/** Why an operator cannot be translated row by row. */
const AS_A_WHOLE = 'its first dimension is time, not a batch'

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

/** A node under translation, with checked access to its attributes. */
class NodeReader {
  readonly node: OnnxNode
  readonly #used = new Set<string>()

  constructor(node: OnnxNode) {
    this.node = node
  }

  fail(problem: string): never {
    throw new MinionnError('BAD_MODEL', `node "${this.node.name}" (${this.node.op}): ${problem}`)
  }

  ints(name: string, fallback: readonly number[]): readonly number[] {
    this.#used.add(name)
    const value = this.node.attributes.get(name)
    if (value === undefined) return fallback
    if (!Array.isArray(value)) this.fail(`attribute ${name} is not a list of integers`)
    return value as readonly number[]
  }

  pair(name: string, fallback: readonly [number, number]): readonly [number, number] {
    const given = this.ints(name, fallback)
    // Along a line: an image of one row.
    const value = given.length === 1 ? [1, ...given] : given
    if (value.length !== 2 || value.some((v) => v < 1)) {
      this.fail(
        `attribute ${name} is [${value}]; one or two positive numbers are expected: only lines and images are supported`,
      )
    }
    return [value[0], value[1]]
  }

  number(name: string, fallback: number): number {
    this.#used.add(name)
    const value = this.node.attributes.get(name) ?? fallback
    if (typeof value !== 'number') this.fail(`attribute ${name} is not a number`)
    return value
  }

  string(name: string, fallback: string): string {
    this.#used.add(name)
    const value = this.node.attributes.get(name) ?? fallback
    if (typeof value !== 'string') this.fail(`attribute ${name} is not a string`)
    return value
  }

  strings(name: string, fallback: readonly string[]): readonly string[] {
    this.#used.add(name)
    const value = this.node.attributes.get(name) ?? fallback
    if (!Array.isArray(value) || value.some((v) => typeof v !== 'string'))
      this.fail(`attribute ${name} is no list of names`)
    return value as string[]
  }

  has(name: string): boolean {
    return this.node.attributes.has(name)
  }

  /** Declares attributes that change nothing here. */
  ignore(...names: string[]): void {
    for (const name of names) this.#used.add(name)
  }

  /** Refuses attributes that nothing looked at. */
  finish(): void {
    for (const name of this.node.attributes.keys()) {
      if (!this.#used.has(name)) this.fail(`attribute ${name} is not supported; export the model without it`)
    }
  }
}

class Lowering {
  readonly #graph: OnnxGraph
  /** Inputs and the outputs that they become in the next inference of a session. */
  readonly #states: Readonly<Record<string, string>>
  readonly #outputs: readonly string[]
  readonly #constants: Map<string, Tensor>
  readonly #builder: NetworkBuilder
  /** 1 where the first dimension is a batch whose rows are inferences of their own, 0 where it is part of one inference. */
  readonly #lead: 0 | 1
  #batch: number
  /** What depends on the input, by name. */
  readonly #hidden = new Map<string, Hidden>()
  /** Tensors that are a function of each element of another one, the last that is not: activations that exporters spell out. */
  readonly #functions = new Map<
    string,
    { readonly base: string; readonly fn: ScalarFunction; readonly bent: boolean }
  >()
  /** Names, or other names of one tensor, that several nodes use. */
  readonly #shared = new Set<string>()
  /** The hidden input of the node under translation: its name, and the tensor on its way to the node's output. */
  #current: string
  #output = ''
  #x: Hidden
  readonly #softmaxed = new Set<string>()
  /** Images in one inference, at an operator on them. */
  #images = 1

  constructor(graph: OnnxGraph, options: LowerOptions, lead: 0 | 1) {
    this.#graph = graph
    this.#lead = lead
    this.#constants = new Map(graph.initializers)
    this.#states = { ...derivedStates(graph), ...options.states }
    for (const [input, output] of Object.entries(this.#states)) {
      const known = graph.inputs.some(({ name }) => name === input) && graph.outputs.includes(output)
      if (!known) {
        const names = `inputs ${graph.inputs.map(({ name }) => name).join(', ')} and outputs ${graph.outputs.join(', ')}`
        throw new MinionnError('BAD_MODEL', `the state ${input}: ${output} is none of this model, which has ${names}`)
      }
    }
    const shapes = new Map(graph.inputs.map(({ name, shape }) => [name, inputDims(name, shape, lead)]))
    const [states, inputs] = [true, false].map((kept) => [...shapes].filter(([name]) => name in this.#states === kept))
    if (inputs.length === 0) throw new MinionnError('BAD_MODEL', 'the model has no input')
    this.#batch = graph.inputs.find(({ name }) => name === inputs[0][0])?.shape[0] ?? 1
    this.#current = inputs[0][0]
    // Several inputs are given one behind the other.
    const sizes = inputs.map(([, dims]) => elements(dims))
    const whole = inputs.length === 1 ? inputs[0][1] : [sizes.reduce((sum, size) => sum + size, 0)]
    this.#builder = new NetworkBuilder(
      whole,
      states.map(([name, shape]) => ({ name, shape })),
    )
    this.#x = this.#builder.input
    let offset = 0
    for (const [n, [name, dims]] of inputs.entries()) {
      const part = this.#builder.slice(this.#builder.input, name, [offset], [1], [sizes[n]])
      this.#hidden.set(name, inputs.length === 1 ? this.#x : this.#builder.reshape(part, dims))
      offset += sizes[n]
    }
    for (const [n, [name]] of states.entries()) this.#hidden.set(name, this.#builder.state(n))
    this.#outputs = options.output === undefined ? this.#predictions() : [options.output]
    if (options.output !== undefined && !graph.outputs.includes(options.output)) {
      throw new MinionnError(
        'BAD_MODEL',
        `the card's output "${options.output}" is none of ${graph.outputs.join(', ')}`,
      )
    }
  }

  /** The outputs that are no states and no labels: those a client finds itself as the largest of the others. */
  #predictions(): string[] {
    const producers = new Map(
      this.#graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)),
    )
    const isLabel = (name: string): boolean => {
      const node = producers.get(name)
      if (node === undefined) return false
      return LABEL_OPS.has(node.op) || (LABEL_STEPS.has(node.op) && node.inputs.some(isLabel))
    }
    const next = new Set(Object.values(this.#states))
    const all = this.#graph.outputs.filter((name) => !next.has(name))
    const values = all.filter((name) => !isLabel(name))
    // scikit-learn's map from labels to probabilities shows what goes into it.
    return (values.length > 0 ? values : all).map((name) => {
      const node = producers.get(name)
      return node?.op === 'ai.onnx.ml.ZipMap' ? node.inputs[0] : name
    })
  }

  run(): Network {
    const needed = this.#needed()
    const nodes = this.#graph.nodes.filter((node) => node.outputs.some((output) => needed.has(output)))
    const uses = new Map<string, number>()
    for (const name of nodes.flatMap((node) => [...new Set(node.inputs)])) uses.set(name, (uses.get(name) ?? 0) + 1)
    // What a session or a client gets is used once more.
    for (const name of [...Object.values(this.#states), ...this.#outputs]) uses.set(name, (uses.get(name) ?? 0) + 1)
    for (const [name, count] of uses) if (count > 1) this.#shared.add(name)
    for (const node of nodes) {
      const reader = new NodeReader(node)
      const name = node.inputs.find((input) => this.#hidden.has(input))
      if (name === undefined) {
        this.#foldConstant(reader)
        continue
      }
      const before = this.#hidden.get(name)!
      this.#current = name
      this.#output = node.outputs[0]
      this.#x = before
      if (node.op === 'Shape') {
        reader.ignore('start', 'end')
        const full = this.#full(before.shape)
        this.#define(node, { shape: [full.length], data: Float64Array.from(full), integer: true })
        continue
      }
      if (this.#softmaxed.has(name)) this.#afterSoftmax(reader)
      else if (IMAGE_OPS.has(node.op)) this.#onImages(reader)
      else this.#node(reader)
      reader.finish()
      const [output] = node.outputs
      if (!this.#hidden.has(output)) this.#hidden.set(output, this.#x)
      if (this.#softmaxed.has(name)) this.#softmaxed.add(output)
      // Another name of the same value is as shared as the first.
      if (this.#shared.has(name) && sameValue(this.#x, before)) this.#shared.add(output)
      if (elements(this.#x.shape) > MAX_TENSOR_ELEMENTS) {
        reader.fail(`its output has ${elements(this.#x.shape)} elements; at most ${MAX_TENSOR_ELEMENTS} are supported`)
      }
    }
    const results = this.#outputs.map((name) => this.#result(name))
    const flat = results.map((x) => this.#builder.reshape(x, [elements(x.shape)]))
    const output = this.#builder.concat(flat, 'the outputs', 0)
    return this.#builder.finish(
      output,
      this.#stateNames().map((name) => this.#result(this.#states[name])),
    )
  }

  /** The states' inputs in the graph's order. */
  #stateNames(): string[] {
    return this.#graph.inputs.map(({ name }) => name).filter((name) => name in this.#states)
  }

  #result(name: string): Hidden {
    const result = this.#hidden.get(name)
    if (result === undefined) {
      throw new MinionnError(
        'BAD_MODEL',
        `output "${name}" does not depend on the input through operators of the graph`,
      )
    }
    return result
  }

  /** Whether nothing but the node under translation uses its hidden input. */
  get #alone(): boolean {
    return !this.#shared.has(this.#current)
  }

  /** Values that the output depends on. */
  #needed(): Set<string> {
    const needed = new Set([...this.#outputs, ...Object.values(this.#states)])
    for (const node of this.#graph.nodes.toReversed()) {
      if (node.outputs.some((output) => needed.has(output))) for (const input of node.inputs) needed.add(input)
    }
    return needed
  }

  #define(node: OnnxNode, value: Omit<Tensor, 'name'>): void {
    this.#constants.set(node.outputs[0], { name: node.outputs[0], ...value })
  }

  /** Shape arithmetic that exporters leave around reshapes. */
  #foldConstant(r: NodeReader): void {
    const { node } = r
    if (node.op === 'Constant') {
      const value = node.attributes.get('value')
      if (value !== undefined && typeof value === 'object' && 'data' in value) return this.#define(node, value)
      const floats = node.attributes.get('value_floats') ?? node.attributes.get('value_ints')
      const scalar = node.attributes.get('value_float') ?? node.attributes.get('value_int')
      if (typeof scalar === 'number') return this.#define(node, { shape: [], data: Float64Array.of(scalar) })
      if (Array.isArray(floats)) return this.#define(node, { shape: [floats.length], data: Float64Array.from(floats) })
      r.fail('it holds no tensor of numbers')
    }
    const inputs = node.inputs.filter((name) => name !== '').map((name) => this.#constants.get(name))
    const missing = node.inputs.find((name) => name !== '' && !this.#constants.has(name))
    if (missing !== undefined) r.fail(`its input "${missing}" is neither a constant nor the output of an earlier node`)
    const tensors = inputs as Tensor[]
    switch (node.op) {
      case 'Identity':
        return this.#define(node, tensors[0])
      case 'Cast': {
        // To int32 or int64.
        const integer = [6, 7].includes(r.number('to', 1))
        const data = integer ? tensors[0].data.map(Math.trunc) : tensors[0].data
        return this.#define(node, { shape: tensors[0].shape, data, integer })
      }
      case 'Expand': {
        const [{ shape, data }] = tensors
        const target = [...tensors[1].data]
        const rank = Math.max(shape.length, target.length)
        const align = (dims: readonly number[]) => [...Array(rank - dims.length).fill(1), ...dims]
        const [from, to] = [align(shape), align(target)]
        const dims = from.map((dim, d) => Math.max(dim, to[d]))
        const strides = wholeView(from).strides.map((stride, d) => (from[d] === 1 ? 0 : stride))
        const order = viewOrder({ offset: 0, sizes: dims, strides })
        return this.#define(node, { ...tensors[0], shape: dims, data: Float64Array.from(order, (at) => data[at]) })
      }
      case 'Unsqueeze':
      case 'Squeeze':
        // Only ever of shape entries, for which scalar or vector makes no difference.
        return this.#define(node, { ...tensors[0], shape: [tensors[0].data.length] })
      case 'Reshape': {
        const { data } = tensors[0]
        const dims = [...(tensors[1]?.data ?? r.ints('shape', []))]
        const known = dims.filter((dim) => dim !== -1).reduce((product, dim) => product * dim, 1)
        return this.#define(node, { ...tensors[0], shape: dims.map((dim) => (dim === -1 ? data.length / known : dim)) })
      }
      case 'Shape':
        return this.#define(node, {
          shape: [tensors[0].shape.length],
          data: Float64Array.from(tensors[0].shape),
          integer: true,
        })
      case 'ConstantOfShape': {
        const value = node.attributes.get('value')
        const fill = value !== undefined && typeof value === 'object' && 'data' in value ? value.data[0] : 0
        const shape = [...tensors[0].data]
        return this.#define(node, { shape, data: new Float64Array(elements(shape)).fill(fill) })
      }
      case 'Transpose': {
        const [{ shape, data }] = tensors
        const perm = r.ints('perm', [...shape.keys()].reverse())
        const order = transposedOrder({ shape, perm })
        return this.#define(node, { shape: perm.map((d) => shape[d]), data: data.map((_, i) => data[order[i]]) })
      }
      case 'Slice': {
        const [{ shape, data }] = tensors
        const { starts, steps, sizes } = this.#sliceOf(r, shape)
        const whole = wholeView(shape)
        const offset = starts.reduce((at, start, d) => at + start * whole.strides[d], 0)
        const order = viewOrder({ offset, sizes, strides: whole.strides.map((stride, d) => stride * steps[d]) })
        return this.#define(node, { ...tensors[0], shape: sizes, data: Float64Array.from(order, (at) => data[at]) })
      }
      case 'Add':
      case 'Sub':
      case 'Mul':
      case 'Div': {
        const [x, y] = tensors
        const apply = ELEMENTWISE[node.op]
        if (x.data.length !== y.data.length && x.data.length !== 1 && y.data.length !== 1) {
          r.fail(
            `it combines constants of shapes [${x.shape}] and [${y.shape}]; equal ones, or a single number, are expected`,
          )
        }
        const larger = x.data.length >= y.data.length ? x : y
        const at = (tensor: Tensor, i: number) => tensor.data[tensor.data.length === 1 ? 0 : i]
        const integer = x.integer === true && y.integer === true
        const exact = larger.data.map((_, i) => apply(at(x, i), at(y, i)))
        return this.#define(node, { shape: larger.shape, data: integer ? exact.map(Math.trunc) : exact, integer })
      }
      case 'Sqrt':
      case 'Neg':
      case 'Exp':
        return this.#define(node, {
          shape: tensors[0].shape,
          data: tensors[0].data.map({ Sqrt: Math.sqrt, Neg: (v: number) => -v, Exp: Math.exp }[node.op]),
        })
      case 'Gather': {
        const size = tensors[0].data.length
        const data = tensors[1].data.map((at) => tensors[0].data[at < 0 ? at + size : at])
        return this.#define(node, { ...tensors[0], shape: tensors[1].shape, data })
      }
      case 'Concat': {
        const data = Float64Array.from(tensors.flatMap((tensor) => [...tensor.data]))
        const integer = tensors.every((tensor) => tensor.integer === true)
        return this.#define(node, { shape: [data.length], data, integer })
      }
      default:
        r.fail(
          `operator ${node.op} on constants is not supported; simplify the model first (for instance with onnxsim)`,
        )
    }
  }

  /** Input `at` must be the running value and all others constant. */
  #constant(r: NodeReader, at: number): Tensor {
    const name = r.node.inputs[at]
    const tensor = this.#constants.get(name)
    if (tensor === undefined) {
      r.fail(`input ${at} ("${name}") is not a constant; only constant weights are supported`)
    }
    return tensor
  }

  #optional(r: NodeReader, at: number): Tensor | undefined {
    return r.node.inputs[at] ? this.#constant(r, at) : undefined
  }

  /** Dimensions as the graph has them. */
  #full(dims: readonly number[]): number[] {
    return this.#lead === 1 ? [this.#batch, ...dims] : [...dims]
  }

  /** The running value's shape in words. */
  get #shown(): string {
    return this.#lead === 1 ? `[N,${this.#x.shape}]` : `[${this.#x.shape}]`
  }

  /** An operator on images: several in one inference are as many groups of channels. */
  #onImages(r: NodeReader): void {
    const { shape } = this.#x
    const [count, dims] = this.#lead === 1 ? [1, shape] : [shape[0], shape.slice(1)]
    if (dims.length < 1) r.fail(`its input has shape ${this.#shown}; a batch and channels are expected`)
    const b = this.#builder
    this.#images = count
    this.#x = b.reshape(this.#x, [count * dims[0], ...dims.slice(1)])
    this.#node(r)
    const made = this.#x.shape
    const own = dims.length === 2 && made.length === 3 ? [made[0], made[2]] : made
    this.#x = b.reshape(this.#x, this.#lead === 1 ? own : [count, own[0] / count, ...own.slice(1)])
  }

  /** The running value's images as one, channels of all of them together. */
  #image(r: NodeReader): Image {
    const { shape } = this.#x
    if (shape.length === 2) return [shape[0], 1, shape[1]]
    if (shape.length !== 3) {
      r.fail(
        `its input has shape [N,${shape}]; images [N, channels, height, width] or lines [N, channels, length] are expected`,
      )
    }
    return shape as unknown as Image
  }

  #afterSoftmax(r: NodeReader): void {
    const { op } = r.node
    if (op !== 'Log' && op !== 'Identity') {
      r.fail('it follows a softmax; only the last softmax of a network is supported, because it is dropped')
    }
  }

  #node(r: NodeReader): void {
    const { node } = r
    if (node.inputs[0] !== this.#current && !MANY_INPUTS.has(node.op)) {
      r.fail('its first input is constant and another one is hidden; only constant weights are supported')
    }
    const b = this.#builder
    switch (node.op) {
      case 'Identity':
        return
      case 'Dropout':
        r.ignore('ratio', 'seed', 'is_test', 'consumed_inputs')
        return
      case 'Relu':
        r.ignore('consumed_inputs')
        this.#x = b.relu(this.#x, node.name, this.#alone)
        return
      case 'Pow': {
        const exponent = this.#constant(r, 1).data
        if (exponent.length !== 1 || !Number.isInteger(exponent[0]) || exponent[0] < 1 || exponent[0] > 8) {
          r.fail(`its exponent is [${exponent}]; one whole number from 1 to 8 is supported`)
        }
        if (exponent[0] !== 2 || this.#functions.has(this.#current)) {
          return this.#apply(node.name, scalarFunction('Pow', [exponent[0]]))
        }
        this.#note({ op: 'Pow', apply: (x) => x * x })
        this.#x = b.scalar(this.#x, node.name, 'square', this.#alone)
        return
      }
      case 'LeakyRelu':
        return this.#scalar(r, [r.number('alpha', 0.01)])
      case 'PRelu': {
        const slopes = this.#constant(r, 1)
        const [first] = slopes.data
        if (slopes.data.every((slope) => slope === first)) {
          return this.#apply(node.name, scalarFunction('LeakyRelu', [first]))
        }
        // x where it is positive and a x elsewhere: a x + (1 - a) ReLU(x).
        const a = this.#broadcast(r, slopes)
        const none = new Float64Array(a.length)
        const passing = b.relu(this.#x, node.name, false)
        const rest = a.map((slope) => 1 - slope)
        this.#x = b.add(b.affine(passing, node.name, rest, none), b.affine(this.#x, node.name, a, none), node.name, 1)
        return
      }
      case 'Clip': {
        const [low, high] = [
          this.#bound(r, 1, 'min', Number.NEGATIVE_INFINITY),
          this.#bound(r, 2, 'max', Number.POSITIVE_INFINITY),
        ]
        if (low > high) r.fail(`it clips to [${low}, ${high}], which is empty`)
        return this.#scalar(r, [low, high])
      }
      case 'HardSigmoid':
        return this.#scalar(r, [r.number('alpha', 0.2), r.number('beta', 0.5)])
      case 'Elu':
      case 'Celu':
        return this.#scalar(r, [r.number('alpha', 1)])
      case 'Selu':
        return this.#scalar(r, [r.number('alpha', 1.6732631921768188), r.number('gamma', 1.0507010221481323)])
      case 'Gelu':
        if (r.string('approximate', 'none') === 'tanh') return this.#apply(node.name, scalarFunction('GeluTanh', []))
        return this.#scalar(r, [])
      case 'Abs':
      case 'HardSwish':
      case 'Sigmoid':
      case 'Tanh':
      case 'Softplus':
      case 'Softsign':
      case 'Mish':
      case 'Erf':
        r.ignore('consumed_inputs')
        return this.#scalar(r, [])
      case 'Conv':
        return this.#conv(r)
      case 'Gemm':
        return this.#gemm(r)
      case 'MatMul': {
        const weights = this.#constant(r, 1)
        if (weights.shape.length !== 2) {
          r.fail(`it multiplies ${this.#shown} with [${weights.shape}]; a matrix of constants is expected`)
        }
        return this.#dense(r, weights, false, 1, undefined)
      }
      case 'Add':
      case 'Sub':
      case 'Mul':
      case 'Div':
        return this.#affine(r)
      case 'BatchNormalization':
        return this.#batchNorm(r)
      case 'MaxPool': {
        r.ignore('storage_order')
        if (node.outputs.length > 1 && node.outputs[1]) r.fail('its second output (indices) is not supported')
        this.#x = b.maxPool(this.#x, node.name, this.#pool(r), this.#alone)
        return
      }
      case 'AveragePool':
        return this.#averagePool(r)
      case 'GlobalMaxPool': {
        const input = this.#image(r)
        const kernel = [input[1], input[2]] as const
        if (kernel[0] * kernel[1] > MAX_WINDOW)
          r.fail(`its window has ${kernel[0] * kernel[1]} elements; at most ${MAX_WINDOW} are supported`)
        const pool = { input, output: [input[0], 1, 1], kernel, strides: kernel, pads: [0, 0, 0, 0] } as const
        this.#x = b.maxPool(this.#x, node.name, pool, this.#alone)
        return
      }
      case 'GlobalAveragePool': {
        const input = this.#image(r)
        const size = [input[1], input[2]] as const
        this.#x = b.meanPool(this.#x, node.name, {
          input,
          output: [input[0], 1, 1],
          kernel: size,
          strides: size,
          pads: [0, 0, 0, 0],
        })
        return
      }
      case 'ReduceMean':
        return this.#reduce(r)
      case 'Flatten': {
        const axis = r.number('axis', 1)
        const { shape } = this.#x
        const at = axis < 0 ? axis + shape.length + this.#lead : axis
        if (this.#lead === 1 && at !== 1) r.fail(`attribute axis is ${axis}; only 1 (keep the batch) is supported`)
        const whole = elements(shape)
        const outer = elements(shape.slice(0, at))
        this.#x = b.reshape(this.#x, this.#lead === 1 ? [whole] : [outer, whole / outer])
        return
      }
      case 'Reshape':
        return this.#reshape(r)
      case 'Transpose': {
        const lead = this.#lead
        const rank = this.#x.shape.length + lead
        const perm = r.ints('perm', [...Array(rank).keys()].reverse())
        const moved = lead === 1 && perm[0] !== 0
        if (perm.length !== rank || moved || ![...perm.keys()].every((d) => perm.includes(d))) {
          r.fail(
            `attribute perm is [${perm}] on a value of ${rank} dimensions; one that keeps the batch first is expected`,
          )
        }
        this.#x = b.transpose(
          this.#x,
          node.name,
          perm.slice(lead).map((d) => d - lead),
        )
        return
      }
      case 'Squeeze':
      case 'Unsqueeze':
        return this.#squeeze(r)
      case 'RNN':
      case 'GRU':
      case 'LSTM':
        return this.#recurrent(r, node.op)
      case 'Split':
        return this.#split(r)
      case 'Slice': {
        const lead = this.#lead
        const { starts, steps, sizes } = this.#sliceOf(r, this.#full(this.#x.shape))
        if (lead === 1 && (sizes[0] !== this.#batch || steps[0] !== 1)) r.fail('it cuts the batch, which stays whole')
        this.#x = b.slice(this.#x, node.name, starts.slice(lead), steps.slice(lead), sizes.slice(lead))
        return
      }
      case 'Gather': {
        const axis = this.#axis(r, r.number('axis', 0))
        const indices = this.#constant(r, 1)
        const size = this.#x.shape[axis]
        const at = [...indices.data].map((index) => (index < 0 ? index + size : index))
        if (at.some((index) => index < 0 || index >= size || !Number.isInteger(index)) || at.length === 0) {
          r.fail(`its indices [${indices.data.slice(0, 10)}] are not all within 0 and ${size - 1}`)
        }
        const picked = b.gather(this.#x, node.name, axis, at)
        const { shape } = this.#x
        this.#x = b.reshape(picked, [...shape.slice(0, axis), ...indices.shape, ...shape.slice(axis + 1)])
        return
      }
      case 'Concat':
        this.#x = this.#concat(r)
        return
      case 'Pad':
        return this.#pad(r)
      case 'Resize':
      case 'Upsample':
        return this.#resize(r)
      case 'Expand':
      case 'Tile':
        return this.#expand(r)
      case 'Max':
      case 'Min':
      case 'Sum':
      case 'Mean':
        return this.#several(r)
      case 'Neg':
        return this.#uniform(r, -1, 0)
      case 'ReduceMax':
      case 'ReduceMin':
      case 'ReduceSum':
        return this.#reduce(r)
      case 'Cast': {
        // Float, float16, double, bfloat16.
        const to = r.number('to', 1)
        r.ignore('saturate')
        if (![1, 10, 11, 16].includes(to))
          r.fail(`it casts a hidden value to ONNX data type ${to}; only floats are supported`)
        return
      }
      case 'ConvTranspose':
        return this.#convTranspose(r)
      case 'Softmax':
      case 'LogSoftmax': {
        const axis = r.number('axis', this.#graph.opset >= 13 ? -1 : 1)
        const { shape } = this.#x
        const at = axis < 0 ? axis + shape.length : axis - this.#lead
        if (shape[at] !== elements(shape)) {
          r.fail(`attribute axis is ${axis} on a value of shape ${this.#shown}; a softmax over the classes is expected`)
        }
        this.#softmaxed.add(node.outputs[0])
        return
      }
      default:
        r.fail(
          `operator ${node.op} is not supported; supported are Conv, ConvTranspose, Gemm, MatMul, Add, Sub and Mul, Div by constants, Concat, Split, Slice, Gather, Pad, Expand, Tile, Resize to nearest, Max, Min, Sum, Mean, BatchNormalization, Relu, LeakyRelu, PRelu, Clip, Abs, HardSigmoid, HardSwish, Sigmoid, Tanh, Softplus, Softsign, Elu, Celu, Selu, Gelu, Mish, Erf, Pow, sums and products of functions of one tensor, MaxPool, AveragePool, GlobalAveragePool, ReduceMean, ReduceMax, ReduceMin, ReduceSum, RNN, GRU, LSTM, Flatten, Reshape, Transpose, Squeeze, Unsqueeze, Dropout, Identity and a final Softmax or LogSoftmax`,
        )
    }
  }

  /** The node under translation as a function of the elements of the first tensor that is not such a function; `bent` if not affine. */
  #note(fn: ScalarFunction, bent = true): ScalarFunction {
    const inner = this.#functions.get(this.#current)
    const whole =
      inner === undefined ? fn : { op: `${inner.fn.op}, ${fn.op}`, apply: (x: number) => fn.apply(inner.fn.apply(x)) }
    this.#functions.set(this.#output, {
      base: inner?.base ?? this.#current,
      fn: whole,
      bent: bent || inner?.bent === true,
    })
    return whole
  }

  /** The running value becomes f of its elements; behind another such function, of that one's input. */
  #apply(name: string, fn: ScalarFunction): void {
    const inner = this.#functions.get(this.#current)
    const whole = this.#note(fn)
    if (inner === undefined) this.#x = this.#builder.scalar(this.#x, name, fn, this.#alone)
    else this.#x = this.#builder.scalar(this.#hidden.get(inner.base)!, name, whole, false)
  }

  #scalar(r: NodeReader, parameters: number[]): void {
    const { op, name } = r.node
    if (!isScalarOp(op)) r.fail(`operator ${op} is no function of single elements`)
    r.ignore('consumed_inputs')
    this.#apply(name, scalarFunction(op, parameters))
  }

  /** A bound of Clip: an input since opset 11, an attribute before. */
  #bound(r: NodeReader, at: number, attribute: string, fallback: number): number {
    const tensor = this.#optional(r, at)
    return tensor === undefined ? r.number(attribute, fallback) : tensor.data[0]
  }

  #conv(r: NodeReader): void {
    const input = this.#image(r)
    const weights = this.#constant(r, 1)
    const bias = this.#optional(r, 2)
    const line = this.#x.shape.length === 2
    if (weights.shape.length !== (line ? 3 : 4)) {
      r.fail(`its weights have shape [${weights.shape}] for an input of shape [N,${this.#x.shape}]`)
    }
    const images = this.#images
    const [filters, perGroup] = [weights.shape[0] * images, weights.shape[1]]
    const [kh, kw] = line ? [1, weights.shape[2]] : weights.shape.slice(2)
    const groups = r.number('group', 1) * images
    const kernel = r.pair('kernel_shape', [kh, kw])
    if (kernel[0] !== kh || kernel[1] !== kw)
      r.fail(`attribute kernel_shape [${kernel}] does not match weights [${weights.shape}]`)
    if (groups < 1 || perGroup * groups !== input[0] || filters % groups !== 0) {
      r.fail(`weights [${weights.shape}] and group ${groups} do not fit an input of ${input[0]} channels`)
    }
    const strides = r.pair('strides', [1, 1])
    const dilations = r.pair('dilations', [1, 1])
    const { pads, size } = this.#window(r, input, kernel, strides, dilations, false)
    const geometry: ConvGeometry = {
      kind: 'conv',
      input,
      kernel,
      strides,
      dilations,
      groups,
      pads,
      output: [filters, ...size],
    }
    if (bias !== undefined && bias.data.length * images !== filters)
      r.fail(`its bias has ${bias.data.length} values for ${weights.shape[0]} filters`)
    if (weightCount(geometry) > MAX_WEIGHTS)
      r.fail(`it has ${weightCount(geometry)} weights; at most ${MAX_WEIGHTS} are supported`)
    const area = size[0] * size[1]
    const expanded = new Float64Array(outputSize(geometry))
    if (bias !== undefined)
      for (let i = 0; i < expanded.length; i++) expanded[i] = bias.data[Math.floor(i / area) % bias.data.length]
    const own = weights.data
    const repeated =
      images === 1 ? own : Float64Array.from({ length: own.length * images }, (_, i) => own[i % own.length])
    this.#x = this.#builder.linear(this.#x, r.node.name, geometry, repeated, expanded)
  }

  /** Output size and pads of a sliding window: auto_pad, pads and ceil_mode as ONNX defines them. */
  #window(
    r: NodeReader,
    input: Image,
    kernel: readonly [number, number],
    strides: readonly [number, number],
    dilations: readonly [number, number],
    ceil: boolean,
  ): { pads: readonly [number, number, number, number]; size: readonly [number, number] } {
    const auto = r.string('auto_pad', 'NOTSET')
    const listed = r.ints('pads', [0, 0, 0, 0])
    const given = listed.length === 2 ? [0, listed[0], 0, listed[1]] : listed
    if (given.length !== 4 || given.some((pad) => pad < 0))
      r.fail(`attribute pads is [${given}]; four numbers of at least 0 are expected`)
    const pads: [number, number, number, number] = [given[0], given[1], given[2], given[3]]
    const size: [number, number] = [0, 0]
    for (const axis of [0, 1] as const) {
      const extent = (kernel[axis] - 1) * dilations[axis] + 1
      const length = input[1 + axis]
      if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
        const total = Math.max(0, (Math.ceil(length / strides[axis]) - 1) * strides[axis] + extent - length)
        const small = Math.floor(total / 2)
        pads[axis] = auto === 'SAME_UPPER' ? small : total - small
        pads[axis + 2] = total - pads[axis]
      } else if (auto === 'VALID') {
        pads[axis] = 0
        pads[axis + 2] = 0
      } else if (auto !== 'NOTSET') {
        r.fail(`attribute auto_pad is ${auto}; NOTSET, VALID, SAME_UPPER or SAME_LOWER is expected`)
      }
      if (pads[axis] >= extent || pads[axis + 2] >= extent) {
        r.fail(`attribute pads [${pads}] reaches past a window of ${extent}: some windows would see padding alone`)
      }
      const steps = (length + pads[axis] + pads[axis + 2] - extent) / strides[axis]
      if (steps < 0) r.fail(`a window of ${extent} does not fit an image of ${length} with pads [${pads}]`)
      size[axis] = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1
      // A window that would start in the padding behind the image is dropped (ONNX MaxPool-22).
      if (ceil && (size[axis] - 1) * strides[axis] >= length + pads[axis]) size[axis]--
    }
    return { pads, size }
  }

  #pool(r: NodeReader): PoolGeometry {
    const input = this.#image(r)
    if (!r.has('kernel_shape')) r.fail('attribute kernel_shape is missing')
    const kernel = r.pair('kernel_shape', [1, 1])
    const strides = r.pair('strides', [1, 1])
    const dilations = r.pair('dilations', [1, 1])
    if (dilations[0] !== 1 || dilations[1] !== 1)
      r.fail(`attribute dilations is [${dilations}]; only 1 is supported in pooling`)
    if (kernel[0] * kernel[1] > MAX_WINDOW)
      r.fail(`its window has ${kernel[0] * kernel[1]} elements; at most ${MAX_WINDOW} are supported`)
    const { pads, size } = this.#window(r, input, kernel, strides, dilations, r.number('ceil_mode', 0) === 1)
    return { input, output: [input[0], ...size], kernel, strides, pads }
  }

  #averagePool(r: NodeReader): void {
    const includePad = r.number('count_include_pad', 0) === 1
    const pool = this.#pool(r)
    const { output, kernel, strides, pads, input } = pool
    const name = r.node.name
    this.#x = this.#builder.meanPool(this.#x, name, pool)
    // Elements that count on either axis: those of the image, or of its padding as well, but none behind that.
    const counted = ([0, 1] as const).map((axis) =>
      Array.from({ length: output[1 + axis] }, (_, o) => {
        const start = o * strides[axis] - pads[axis]
        const low = includePad ? -pads[axis] : 0
        const high = input[1 + axis] + (includePad ? pads[axis + 2] : 0)
        return Math.min(start + kernel[axis], high) - Math.max(start, low)
      }),
    )
    const full = kernel[0] * kernel[1]
    const scale = Float64Array.from({ length: elements(output) }, (_, n) => {
      const [y, x] = [Math.floor(n / output[2]) % output[1], n % output[2]]
      return full / (counted[0][y] * counted[1][x])
    })
    if (scale.some((v) => v !== 1)) this.#x = this.#builder.affine(this.#x, name, scale, new Float64Array(scale.length))
  }

  /** An axis of the graph as one without the batch. */
  #axis(r: NodeReader, axis: number): number {
    const rank = this.#x.shape.length + this.#lead
    const at = axis < 0 ? axis + rank : axis
    if (at < this.#lead || at >= rank) {
      r.fail(`attribute axis is ${axis} on a value of shape ${this.#shown}; an axis behind the batch is expected`)
    }
    return at - this.#lead
  }

  /** Starts, steps and sizes of a Slice on a tensor of this shape, batch included. */
  #sliceOf(r: NodeReader, shape: readonly number[]): { starts: number[]; steps: number[]; sizes: number[] } {
    const list = (at: number, name: string) =>
      r.has(name) ? r.ints(name, []) : r.node.inputs[at] ? [...this.#constant(r, at).data] : undefined
    const [from, to] = [list(1, 'starts') ?? [], list(2, 'ends') ?? []]
    const axes = list(3, 'axes') ?? from.map((_, i) => i)
    const by = list(4, 'steps') ?? from.map(() => 1)
    const starts = shape.map(() => 0)
    const steps = shape.map(() => 1)
    const sizes = [...shape]
    axes.forEach((given, i) => {
      const axis = given < 0 ? given + shape.length : given
      const size = shape[axis]
      const step = by[i]
      if (size === undefined || step === 0 || step === undefined)
        r.fail(`it slices axis ${given} by steps of ${step} of a value of shape [${shape}]`)
      const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + size : v, low), high)
      const start = step > 0 ? clamp(from[i], 0, size) : clamp(from[i], 0, size - 1)
      const end = step > 0 ? clamp(to[i], 0, size) : clamp(to[i], -1, size - 1)
      starts[axis] = start
      steps[axis] = step
      sizes[axis] = Math.max(0, Math.ceil((end - start) / step))
    })
    if (elements(sizes) === 0) r.fail(`it leaves nothing of a value of shape [${shape}]`)
    return { starts, steps, sizes }
  }

  #split(r: NodeReader): void {
    const { node } = r
    const axis = this.#axis(r, r.number('axis', 0))
    r.ignore('num_outputs')
    const size = this.#x.shape[axis]
    const count = node.outputs.length
    const each = Math.ceil(size / count)
    const even = Array.from({ length: count }, (_, i) => Math.min(each, size - i * each))
    const sizes = r.has('split') ? r.ints('split', []) : [...(this.#optional(r, 1)?.data ?? even)]
    if (sizes.length !== count || sizes.reduce((sum, v) => sum + v, 0) !== size || sizes.some((v) => v < 1)) {
      r.fail(`it splits ${size} elements into [${sizes}] for ${count} outputs`)
    }
    let start = 0
    const whole = this.#x
    sizes.forEach((length, i) => {
      const at = (v: number, other: number) => whole.shape.map((_, d) => (d === axis ? v : other))
      const shape = whole.shape.map((dim, d) => (d === axis ? length : dim))
      const part = this.#builder.slice(whole, node.name, at(start, 0), at(1, 1), shape)
      this.#hidden.set(node.outputs[i], part)
      start += length
    })
    this.#x = this.#hidden.get(node.outputs[0])!
  }

  /** One tensor behind the other; constants are zeros there, and are added behind. */
  #concat(r: NodeReader): Hidden {
    const { shape } = this.#x
    const axis = this.#axis(r, r.number('axis', 1))
    const outer = elements(shape.slice(0, axis))
    const rows: Float64Array[][] = []
    const parts = r.node.inputs.map((name, at) => {
      const hidden = this.#hidden.get(name)
      const constant = hidden === undefined ? this.#constant(r, at) : undefined
      const dims = hidden?.shape ?? constant!.shape.slice(this.#lead)
      if (dims.length !== shape.length || dims.some((dim, d) => d !== axis && dim !== shape[d])) {
        r.fail(`its inputs have shapes [N,${shape}] and [N,${dims}], which do not fit together`)
      }
      const values = constant?.data ?? new Float64Array(elements(dims))
      const size = elements(dims) / outer
      rows.push(Array.from({ length: outer }, (_, o) => values.subarray(o * size, (o + 1) * size)))
      return hidden ?? this.#builder.zeros(dims)
    })
    const joined = this.#builder.concat(parts, r.node.name, axis)
    const shift = Float64Array.from(Array.from({ length: outer }, (_, o) => rows.flatMap((row) => [...row[o]])).flat())
    if (shift.every((v) => v === 0)) return joined
    return this.#builder.affine(joined, r.node.name, new Float64Array(shift.length).fill(1), shift)
  }

  /** Zeros and other numbers around, or what lies at the edges again. */
  #pad(r: NodeReader): void {
    const mode = r.string('mode', 'constant')
    const { shape } = this.#x
    const lead = this.#lead
    const rank = shape.length + lead
    const given = r.has('pads')
      ? r.ints('pads', [])
      : r.has('paddings')
        ? r.ints('paddings', [])
        : [...this.#constant(r, 1).data]
    const value = r.has('value') ? r.number('value', 0) : (this.#optional(r, 2)?.data[0] ?? 0)
    const axes = this.#optional(r, 3)?.data ?? Float64Array.from({ length: rank }, (_, d) => d)
    if (given.length !== 2 * axes.length) r.fail(`its pads [${given}] are not two for each of ${axes.length} axes`)
    for (const [n, raw] of axes.entries()) {
      const axis = raw < 0 ? raw + rank : raw
      const [before, after] = [given[n], given[n + axes.length]]
      if (before === 0 && after === 0) continue
      if (axis < lead) r.fail('it pads the batch, which stays as it is')
      this.#x = this.#padAxis(r, mode, axis - lead, before, after, value)
    }
  }

  #padAxis(r: NodeReader, mode: string, axis: number, before: number, after: number, value: number): Hidden {
    const b = this.#builder
    const x = this.#x
    const size = x.shape[axis]
    const indices = Array.from({ length: size + before + after }, (_, i) => i - before)
    if (indices.length < 1) r.fail(`its pads [${before}, ${after}] leave nothing of ${size} elements`)
    const inside = indices.filter((i) => i >= 0 && i < size)
    if (mode !== 'constant' || inside.length === indices.length) {
      const period = 2 * (size - 1)
      const fold: Record<string, (i: number) => number> = {
        constant: (i) => i,
        edge: (i) => Math.min(Math.max(i, 0), size - 1),
        wrap: (i) => ((i % size) + size) % size,
        reflect: (i) => (period === 0 ? 0 : size - 1 - Math.abs(size - 1 - (((i % period) + period) % period))),
      }
      if (fold[mode] === undefined) r.fail(`attribute mode is ${mode}; constant, edge, reflect or wrap is expected`)
      return b.gather(x, r.node.name, axis, indices.map(fold[mode]))
    }
    const zeros = (length: number) => b.zeros(x.shape.map((dim, d) => (d === axis ? length : dim)))
    const middle = inside.length === size ? x : b.gather(x, r.node.name, axis, inside)
    const parts = [...(before > 0 ? [zeros(before)] : []), middle, ...(after > 0 ? [zeros(after)] : [])]
    const padded = b.concat(parts, r.node.name, axis)
    if (value === 0) return padded
    const inner = elements(x.shape.slice(axis + 1))
    const shift = Float64Array.from({ length: elements(padded.shape) }, (_, n) => {
      const i = (Math.floor(n / inner) % padded.shape[axis]) - Math.max(before, 0)
      return i >= 0 && i < inside.length ? 0 : value
    })
    return b.affine(padded, r.node.name, new Float64Array(shift.length).fill(1), shift)
  }

  /** To the nearest element: a choice of rows and columns. */
  #resize(r: NodeReader): void {
    const { op } = r.node
    const mode = r.string('mode', 'nearest')
    if (mode !== 'nearest') r.fail(`attribute mode is ${mode}; only nearest is supported`)
    const how = r.string('coordinate_transformation_mode', op === 'Upsample' ? 'asymmetric' : 'half_pixel')
    const rounding = r.string('nearest_mode', op === 'Upsample' ? 'floor' : 'round_prefer_floor')
    r.ignore('cubic_coeff_a', 'exclude_outside', 'extrapolation_value', 'antialias')
    const policy = r.string('keep_aspect_ratio_policy', 'stretch')
    if (policy !== 'stretch') r.fail(`attribute keep_aspect_ratio_policy is ${policy}; only stretch is supported`)
    const full = this.#full(this.#x.shape)
    const at = op === 'Upsample' || this.#graph.opset < 11 ? 1 : 2
    const given = (n: number) => (r.node.inputs[n] ? [...this.#constant(r, n).data] : [])
    const listed = r.node.attributes.get('scales')
    r.ignore('scales')
    const scales = Array.isArray(listed) ? (listed as number[]) : given(at)
    const sizes = given(3)
    const axes = r.ints('axes', [...full.keys()]).map((axis) => (axis < 0 ? axis + full.length : axis))
    if (Math.max(scales.length, sizes.length) !== axes.length)
      r.fail(`it has ${scales.length} scales and ${sizes.length} sizes for ${axes.length} axes`)
    axes.forEach((axis, n) => {
      const from = full[axis]
      const to = sizes[n] ?? Math.floor(from * scales[n])
      const scale = sizes.length > 0 ? to / from : scales[n]
      if (to === from) return
      if (axis < this.#lead) r.fail('it resizes the batch, which stays as it is')
      const places: Record<string, (i: number) => number> = {
        half_pixel: (i) => (i + 0.5) / scale - 0.5,
        pytorch_half_pixel: (i) => (to > 1 ? (i + 0.5) / scale - 0.5 : 0),
        asymmetric: (i) => i / scale,
        align_corners: (i) => (to > 1 ? (i * (from - 1)) / (to - 1) : 0),
      }
      const rounds: Record<string, (v: number) => number> = {
        round_prefer_floor: (v) => Math.ceil(v - 0.5),
        round_prefer_ceil: (v) => Math.floor(v + 0.5),
        floor: Math.floor,
        ceil: Math.ceil,
      }
      const [place, round] = [places[how], rounds[rounding]]
      if (place === undefined || round === undefined)
        r.fail(`attributes coordinate_transformation_mode ${how} and nearest_mode ${rounding} are not supported`)
      const indices = Array.from({ length: to }, (_, i) => Math.min(Math.max(round(place(i)), 0), from - 1))
      this.#x = this.#builder.gather(this.#x, r.node.name, axis - this.#lead, indices)
    })
  }

  #expand(r: NodeReader): void {
    const lead = this.#lead
    const target = [...this.#constant(r, 1).data]
    const full = this.#full(this.#x.shape)
    if (r.node.op === 'Tile') {
      if (target.length !== full.length || (lead === 1 && target[0] !== 1)) {
        r.fail(`its repeats [${target}] do not fit ${this.#shown}; the batch must stay as it is`)
      }
      let x = this.#x
      for (let d = lead; d < target.length; d++) {
        const indices = Array.from({ length: full[d] * target[d] }, (_, i) => i % full[d])
        if (target[d] !== 1) x = this.#builder.gather(x, r.node.name, d - lead, indices)
      }
      this.#x = x
      return
    }
    const rank = Math.max(target.length, full.length)
    const align = (dims: readonly number[]) => [...Array(rank - dims.length).fill(1), ...dims]
    const [from, to] = [align(full), align(target)]
    const dims = from.map((dim, d) => Math.max(dim, to[d]))
    const batchMoved = lead === 1 && (rank !== full.length || dims[0] !== this.#batch)
    if (batchMoved || from.some((dim, d) => dim !== dims[d] && dim !== 1)) {
      r.fail(`it expands ${this.#shown} to [${target}]; the batch must stay as it is`)
    }
    this.#x = this.#builder.expand(this.#x, r.node.name, dims.slice(lead))
  }

  /** The running value becomes a x + b for numbers a, b. */
  #uniform(r: NodeReader, a: number, b: number): void {
    const size = elements(this.#x.shape)
    this.#note({ op: r.node.op, apply: (x) => a * x + b }, false)
    this.#x = this.#builder.affine(this.#x, r.node.name, new Float64Array(size).fill(a), new Float64Array(size).fill(b))
  }

  #negated(x: Hidden, name: string): Hidden {
    const size = elements(x.shape)
    return this.#builder.affine(x, name, new Float64Array(size).fill(-1), new Float64Array(size))
  }

  /** A constant as a tensor of the network: zeros with a shift. */
  #constantTensor(r: NodeReader, at: number): Hidden {
    const values = this.#broadcast(r, this.#constant(r, at))
    const { shape } = this.#x
    return this.#builder.affine(
      this.#builder.zeros(shape),
      r.node.name,
      new Float64Array(values.length).fill(1),
      values,
    )
  }

  /** Max, Min, Sum and Mean of several tensors. */
  #several(r: NodeReader): void {
    const { op, name, inputs } = r.node
    const b = this.#builder
    const constants = inputs.filter((input) => !this.#hidden.has(input))
    if (inputs.length === 1) return
    if (constants.length > 0) {
      const bound = this.#constants.get(constants[0])?.data
      const uniform = bound?.every((v) => v === bound[0])
      if (inputs.length === 2 && uniform && (op === 'Max' || op === 'Min')) {
        const [low, high] = op === 'Max' ? [bound![0], Number.POSITIVE_INFINITY] : [Number.NEGATIVE_INFINITY, bound![0]]
        return this.#apply(name, scalarFunction('Clip', [low, high]))
      }
    }
    const hidden = inputs.map((input, at) => this.#hidden.get(input) ?? this.#constantTensor(r, at))
    const shape = this.#broadcastShape(r, hidden)
    const all = hidden.map((x) => b.expand(x, name, shape))
    if (op === 'Max') this.#x = b.maximum(all, name)
    else if (op === 'Min')
      this.#x = this.#negated(
        b.maximum(
          all.map((x) => this.#negated(x, name)),
          name,
        ),
        name,
      )
    else {
      this.#x = all.reduce((sum, x) => b.add(sum, x, name, 1))
      if (op === 'Mean') this.#uniform(r, 1 / all.length, 0)
    }
  }

  /** The shape that hidden tensors broadcast to. */
  #broadcastShape(r: NodeReader, tensors: readonly Hidden[]): number[] {
    const rank = Math.max(...tensors.map((x) => x.shape.length))
    const shapes = tensors.map(({ shape }) => [...Array(rank - shape.length).fill(1), ...shape])
    const dims = shapes[0].map((_, d) => Math.max(...shapes.map((shape) => shape[d])))
    // With the batch apart dimensions would be aligned with it.
    const apart = this.#lead === 1 && tensors.some(({ shape }) => shape.length !== rank)
    if (apart || shapes.some((shape) => shape.some((dim, d) => dim !== dims[d] && dim !== 1))) {
      const prefix = this.#lead === 1 ? 'N,' : ''
      r.fail(
        `its hidden inputs have shapes ${tensors.map(({ shape }) => `[${prefix}${shape}]`).join(' and ')}; ones that broadcast to each other are expected`,
      )
    }
    return dims
  }

  /** The largest, least, mean or sum over dimensions. */
  #reduce(r: NodeReader): void {
    const { op, name } = r.node
    const b = this.#builder
    const { shape } = this.#x
    const given = r.has('axes') ? r.ints('axes', []) : [...(this.#optional(r, 1)?.data ?? [])]
    const keep = r.number('keepdims', 1) === 1
    const noop = r.number('noop_with_empty_axes', 0) === 1
    if (given.length === 0 && noop) return
    if (given.length === 0 && this.#lead === 1) {
      r.fail('it goes over all axes, the batch included; axes behind the batch are expected')
    }
    const all = given.length === 0 ? [...shape.keys()] : given.map((axis) => this.#axis(r, axis))
    const axes = all.sort((a, c) => a - c)
    const window = elements(axes.map((d) => shape[d]))
    if (window > MAX_WINDOW) r.fail(`it goes over ${window} elements; at most ${MAX_WINDOW} are supported`)
    const flipped = op === 'ReduceMin'
    const image = this.#lead === 1 && shape.length === 3 && axes.join() === '1,2' && op !== 'ReduceMax' && !flipped
    if (image) {
      const input = this.#image(r)
      const size = [input[1], input[2]] as const
      const output: Image = [input[0], 1, 1]
      this.#x = b.meanPool(this.#x, name, { input, output, kernel: size, strides: size, pads: [0, 0, 0, 0] })
    } else {
      const x = flipped ? this.#negated(this.#x, name) : this.#x
      this.#x = b.reduce(x, name, op === 'ReduceMax' || flipped ? 'max' : 'mean', axes)
      if (flipped) this.#x = this.#negated(this.#x, name)
    }
    this.#x = b.reshape(
      this.#x,
      shape.flatMap((dim, d) => (axes.includes(d) ? (keep ? [1] : []) : [dim])),
    )
    if (op === 'ReduceSum') {
      const size = elements(this.#x.shape)
      this.#x = b.affine(this.#x, name, new Float64Array(size).fill(window), new Float64Array(size))
    }
  }

  /** A convolution of the image with zeros between its pixels, the kernel mirrored. */
  #convTranspose(r: NodeReader): void {
    const b = this.#builder
    const { name } = r.node
    const weights = this.#constant(r, 1)
    const bias = this.#optional(r, 2)
    const [channels, height, width] = this.#image(r)
    const line = this.#x.shape.length === 2
    const images = this.#images
    const groups = r.number('group', 1) * images
    if (weights.shape.length !== (line ? 3 : 4))
      r.fail(`its weights have shape [${weights.shape}]; [channels, filters / group, height, width] are expected`)
    const [inputs, perGroup] = [weights.shape[0] * images, weights.shape[1]]
    const kernel: readonly [number, number] = line ? [1, weights.shape[2]] : [weights.shape[2], weights.shape[3]]
    if (inputs !== channels || channels % groups !== 0)
      r.fail(`weights [${weights.shape}] and group ${groups} do not fit an input of ${channels} channels`)
    r.ints('kernel_shape', [])
    const strides = r.pair('strides', [1, 1])
    const dilations = r.pair('dilations', [1, 1])
    if (r.has('output_shape') || r.string('auto_pad', 'NOTSET') !== 'NOTSET')
      r.fail('attributes output_shape and auto_pad are not supported; export explicit pads')
    const two = (list: readonly number[]) => (list.length === 1 ? [0, list[0]] : list)
    const extra = two(r.ints('output_padding', [0, 0]))
    const listed = r.ints('pads', [0, 0, 0, 0])
    const pads = listed.length === 2 ? [0, listed[0], 0, listed[1]] : listed
    const size: readonly [number, number] = [height, width]
    // [channels, height, width] -> [channels, height, strides, width, strides], zeros but where both strides are 0.
    let x = b.reshape(this.#x, [1, channels, height, width])
    const apart = strides[0] * strides[1]
    if (apart > 1) x = b.concat([x, b.zeros([apart - 1, channels, height, width])], name, 0)
    x = b.reshape(x, [strides[0], strides[1], channels, height, width])
    if (apart > 1) x = b.transpose(x, name, [2, 3, 0, 4, 1])
    let shape: Image = [channels, height * strides[0], width * strides[1]]
    x = b.reshape(x, shape)
    const around: [number, number, number, number] = [0, 0, 0, 0]
    for (const axis of [0, 1] as const) {
      const reach = dilations[axis] * (kernel[axis] - 1)
      around[axis] = reach - pads[axis]
      around[axis + 2] = reach - pads[axis + 2] + extra[axis] + 1 - strides[axis]
    }
    if (around.some((pad) => pad < 0)) {
      // Less than nothing around: cut off.
      const cut = around.map((pad) => Math.max(0, -pad))
      const sizes = [channels, shape[1] - cut[0] - cut[2], shape[2] - cut[1] - cut[3]]
      x = b.slice(x, name, [0, cut[0], cut[1]], [1, 1, 1], sizes)
      shape = [sizes[0], sizes[1], sizes[2]]
      for (let i = 0; i < 4; i++) around[i] = Math.max(0, around[i])
    }
    const filters = perGroup * groups
    const outputs = ([0, 1] as const).map(
      (axis) => shape[1 + axis] + around[axis] + around[axis + 2] - dilations[axis] * (kernel[axis] - 1),
    )
    if (outputs.some((v) => v < 1) || size.some((v) => v < 1)) r.fail(`its pads [${pads}] leave nothing of its result`)
    const geometry: ConvGeometry = {
      kind: 'conv',
      input: shape,
      output: [filters, outputs[0], outputs[1]],
      kernel,
      strides: [1, 1],
      dilations,
      groups,
      pads: around,
    }
    const taps = kernel[0] * kernel[1]
    const inGroup = channels / groups
    const mirrored = Float64Array.from({ length: filters * inGroup * taps }, (_, i) => {
      const [m, c, t] = [Math.floor(i / (inGroup * taps)), Math.floor(i / taps) % inGroup, i % taps]
      const group = Math.floor(m / perGroup)
      const at = ((group * inGroup + c) * perGroup + (m % perGroup)) * taps + (taps - 1 - t)
      return weights.data[at % weights.data.length]
    })
    const area = outputs[0] * outputs[1]
    const expanded = new Float64Array(filters * area)
    if (bias !== undefined)
      for (let i = 0; i < expanded.length; i++) expanded[i] = bias.data[Math.floor(i / area) % bias.data.length]
    this.#x = b.linear(x, name, geometry, mirrored, expanded)
  }

  #gemm(r: NodeReader): void {
    const alpha = r.number('alpha', 1)
    const beta = r.number('beta', 1)
    const transB = r.number('transB', 0) === 1
    if (r.number('transA', 0) !== 0) r.fail('attribute transA is 1: it would mix the batch; only 0 is supported')
    r.ignore('broadcast')
    // Old exports let Gemm flatten its input (ONNX before opset 13 asked for a matrix, exporters did not care).
    if (this.#x.shape.length !== 2 - this.#lead) r.fail(`its input has shape ${this.#shown}; a flat input is expected`)
    const bias = this.#optional(r, 2)
    const scaled = bias === undefined ? undefined : bias.data.map((value) => value * beta)
    this.#dense(r, this.#constant(r, 1), transB, alpha, scaled)
  }

  #dense(r: NodeReader, weights: Tensor, transposed: boolean, alpha: number, bias: Float64Array | undefined): void {
    if (weights.shape.length !== 2) r.fail(`its weights have shape [${weights.shape}]; a matrix is expected`)
    const [outputs, inputs] = transposed ? weights.shape : [weights.shape[1], weights.shape[0]]
    const { shape } = this.#x
    const last = shape[shape.length - 1]
    if (inputs !== last) r.fail(`its weights take ${inputs} inputs, but its input has ${last}`)
    if (inputs * outputs > MAX_WEIGHTS)
      r.fail(`it has ${inputs * outputs} weights; at most ${MAX_WEIGHTS} are supported`)
    const data = new Float64Array(inputs * outputs)
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        data[o * inputs + i] = alpha * weights.data[transposed ? o * inputs + i : i * outputs + o]
      }
    }
    const rows = elements(shape) / inputs
    if (bias !== undefined && ![1, outputs, rows * outputs].includes(bias.length)) {
      r.fail(`its bias has ${bias.length} values for ${outputs} outputs`)
    }
    const full = Float64Array.from({ length: rows * outputs }, (_, n) => bias?.[n % bias.length] ?? 0)
    const b = this.#builder
    const { name } = r.node
    if (rows === 1) {
      const made = b.linear(b.reshape(this.#x, [inputs]), name, { kind: 'dense', inputs, outputs }, data, full)
      this.#x = b.reshape(made, [...shape.slice(0, -1), outputs])
      return
    }
    // The same matrix for every row: a 1x1 convolution along them.
    const geometry: ConvGeometry = {
      kind: 'conv',
      input: [inputs, 1, rows],
      output: [outputs, 1, rows],
      kernel: [1, 1],
      strides: [1, 1],
      pads: [0, 0, 0, 0],
      dilations: [1, 1],
      groups: 1,
    }
    const columns = b.transpose(b.reshape(this.#x, [rows, inputs]), name, [1, 0])
    const turned = full.map((_, n) => full[(n % rows) * outputs + Math.floor(n / rows)])
    const made = b.linear(b.reshape(columns, [inputs, 1, rows]), name, geometry, data, turned)
    const back = b.transpose(b.reshape(made, [outputs, rows]), name, [1, 0])
    this.#x = b.reshape(back, [...shape.slice(0, -1), outputs])
  }

  #affine(r: NodeReader): void {
    const { op, inputs, name } = r.node
    const at = inputs[0] === this.#current ? 1 : 0
    if (at === 0 && op === 'Div' && !this.#hidden.has(inputs[0]))
      r.fail('it divides by a hidden value; only division by constants is supported')
    const size = elements(this.#x.shape)
    const affine = (scale: Float64Array, shift: Float64Array) => {
      const [a, b] = [scale[0], shift[0]]
      if (scale.every((v) => v === a) && shift.every((v) => v === b)) this.#note({ op, apply: (x) => a * x + b }, false)
      this.#x = this.#builder.affine(this.#x, name, scale, shift)
    }
    const one = new Float64Array(size).fill(1)
    const zero = new Float64Array(size)
    if (inputs[at] === this.#current) {
      if (op === 'Mul' && this.#functions.has(this.#current)) this.#apply(name, { op, apply: (x) => x * x })
      else if (op === 'Mul') {
        this.#note({ op, apply: (x) => x * x })
        this.#x = this.#builder.scalar(this.#x, name, 'square', this.#alone)
      } else if (op === 'Add') affine(one.fill(2), zero)
      else r.fail('it combines a hidden value with itself, which leaves a constant; remove it from the model')
      return
    }
    if (this.#hidden.has(inputs[at]))
      return this.#twoHidden(r, this.#hidden.get(inputs[0])!, this.#hidden.get(inputs[1])!)
    const constant = this.#broadcast(r, this.#constant(r, at))
    if (op === 'Add') return affine(one, constant)
    if (op === 'Mul') return affine(constant, zero)
    if (op === 'Sub' && at === 0) return affine(one.fill(-1), constant)
    if (op === 'Sub') {
      return affine(
        one,
        constant.map((v) => -v),
      )
    }
    if (constant.some((v) => v === 0)) r.fail('it divides by zero')
    affine(
      constant.map((v) => 1 / v),
      zero,
    )
  }

  /** Two functions of the same tensor's elements are one: so exporters write SiLU, GELU, Mish, HardSwish. */
  #combine(r: NodeReader): boolean {
    const { op, name, inputs } = r.node
    const [a, b] = inputs.map((input) => {
      return this.#functions.get(input) ?? { base: input, fn: { op: '', apply: (x: number) => x }, bent: false }
    })
    // A sum of multiples stays linear: it is exact, and needs no pieces.
    const linear = (op === 'Add' || op === 'Sub') && !a.bent && !b.bent
    if (a.base !== b.base || linear) return false
    const ops = [...new Set([a.fn.op, b.fn.op, op].filter((part) => part !== ''))].join(', ')
    const fn: ScalarFunction = {
      op: ops,
      apply: (x) => ELEMENTWISE[op as keyof typeof ELEMENTWISE](a.fn.apply(x), b.fn.apply(x)),
    }
    this.#functions.set(this.#output, { base: a.base, fn, bent: true })
    this.#x = this.#builder.scalar(this.#hidden.get(a.base)!, name, fn, false)
    return true
  }

  /** The sum, difference or product of two hidden tensors. */
  #twoHidden(r: NodeReader, a: Hidden, b: Hidden): void {
    const { op, name, inputs } = r.node
    r.ignore('broadcast', 'axis')
    if (this.#combine(r)) return
    if (op === 'Div') r.fail('it divides by a hidden value; only division by constants is supported')
    if (inputs.some((input) => this.#softmaxed.has(input))) {
      r.fail('it follows a softmax; only the last softmax of a network is supported, because it is dropped')
    }
    const shape = this.#broadcastShape(r, [a, b])
    const [x, y] = [a, b].map((tensor) => this.#builder.expand(tensor, name, shape))
    this.#x = op === 'Mul' ? this.#builder.multiply(x, y, name) : this.#builder.add(x, y, name, op === 'Add' ? 1 : -1)
  }

  /** A constant spread over the running value's shape, as ONNX broadcasts it (and as opset < 7 did, by axis). */
  #broadcast(r: NodeReader, constant: Tensor): Float64Array {
    const shape = this.#lead === 1 ? [1, ...this.#x.shape] : [...this.#x.shape]
    let dims = [...constant.shape]
    if (this.#graph.opset < 7 && r.number('broadcast', 0) === 1) {
      const axis = r.number('axis', shape.length - dims.length)
      dims = [...dims, ...Array(Math.max(0, shape.length - axis - dims.length)).fill(1)]
    }
    r.ignore('broadcast', 'axis')
    while (dims.length > 1 && dims.length > shape.length && dims[0] === 1) dims.shift()
    dims = [...Array(Math.max(0, shape.length - dims.length)).fill(1), ...dims]
    if (dims.length !== shape.length || dims.some((dim, i) => dim !== 1 && dim !== shape[i])) {
      r.fail(`a constant of shape [${constant.shape}] does not broadcast to ${this.#shown}`)
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

  #batchNorm(r: NodeReader): void {
    const epsilon = r.number('epsilon', 1e-5)
    if (r.number('training_mode', 0) !== 0) r.fail('attribute training_mode is 1; export the model for inference')
    r.ignore('momentum', 'spatial', 'is_test', 'consumed_inputs')
    const [scale, shift, mean, variance] = [1, 2, 3, 4].map((at) => this.#constant(r, at).data)
    const { shape } = this.#x
    const area = elements(shape) / shape[0]
    if (scale.length * this.#images !== shape[0]) {
      r.fail(`it has ${scale.length} channels, its input [N,${shape}] has ${shape[0] / this.#images}`)
    }
    const multiply = new Float64Array(elements(shape))
    const add = new Float64Array(elements(shape))
    for (let i = 0; i < multiply.length; i++) {
      const c = Math.floor(i / area) % scale.length
      multiply[i] = scale[c] / Math.sqrt(variance[c] + epsilon)
      add[i] = shift[c] - mean[c] * multiply[i]
    }
    if (!multiply.every(Number.isFinite)) r.fail('its variance plus epsilon is not positive')
    this.#x = this.#builder.affine(this.#x, r.node.name, multiply, add)
  }

  #squeeze(r: NodeReader): void {
    const { shape } = this.#x
    const lead = this.#lead
    const given = r.has('axes') ? r.ints('axes', []) : [...(this.#optional(r, 1)?.data ?? [])]
    const remove = r.node.op === 'Squeeze'
    const rank = shape.length + lead + (remove ? 0 : given.length)
    const axes = given.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, c) => a - c)
    if (axes.length === 0 || axes.some((axis) => axis < lead || axis >= rank)) {
      r.fail(`its axes are [${given}] on a value of shape ${this.#shown}; axes behind the batch are expected`)
    }
    const dims = this.#full(shape)
    if (remove) {
      if (axes.some((axis) => dims[axis] !== 1)) r.fail(`its axes [${given}] of ${this.#shown} are not all of size 1`)
      const left = dims.filter((_, d) => d >= lead && !axes.includes(d))
      this.#x = this.#builder.reshape(this.#x, left)
      return
    }
    for (const axis of axes) dims.splice(axis, 0, 1)
    this.#x = this.#builder.reshape(this.#x, dims.slice(lead))
  }

  #reshape(r: NodeReader): void {
    const zeros = r.number('allowzero', 0) === 1
    r.ignore('consumed_inputs')
    const target = r.has('shape') ? [...r.ints('shape', [])] : [...this.#constant(r, 1).data]
    const current = this.#full(this.#x.shape)
    const total = elements(current)
    const dims = target.map((dim, i) => (dim === 0 && !zeros ? current[i] : dim))
    const known = dims.filter((dim) => dim !== -1).reduce((product, dim) => product * dim, 1)
    const free = dims.indexOf(-1)
    if (free >= 0) dims[free] = total / known
    if (elements(dims) !== total)
      r.fail(`it reshapes [${current}] to [${target}], which has another number of elements`)
    // A batch written out as 1 next to a free batch dimension means the same.
    if (this.#lead === 1 && (dims.length < 2 || dims[0] !== this.#batch)) {
      r.fail(`reshape of [${current}] to [${target}] does not keep the batch as the first dimension`)
    }
    this.#x = this.#builder.reshape(this.#x, dims.slice(this.#lead))
  }

  /** RNN, GRU and LSTM, every step of a fixed number; sequences of a batch one after the other. */
  #recurrent(r: NodeReader, kind: RecurrentKind): void {
    const { node } = r
    const b = this.#builder
    if (this.#lead === 1) r.fail(AS_A_WHOLE)
    const first = r.number('layout', 0) === 1
    const { shape } = this.#x
    if (shape.length !== 3) r.fail(`its input has shape [${shape}]; [time, batch, inputs] is expected`)
    const [time, batch] = first ? [shape[1], shape[0]] : [shape[0], shape[1]]
    const inputs = shape[2]
    const hidden = r.number('hidden_size', 0)
    const direction = r.string('direction', 'forward')
    const directions = direction === 'bidirectional' ? 2 : 1
    if (!['forward', 'reverse', 'bidirectional'].includes(direction)) r.fail(`attribute direction is ${direction}`)
    if (r.has('clip')) r.fail('attribute clip is not supported; export the model without it')
    if (r.number('input_forget', 0) !== 0) r.fail('attribute input_forget is 1; only 0 is supported')
    const gates = GATES[kind]
    const lengths = this.#optional(r, 4)
    if (lengths?.data.some((length) => length !== time))
      r.fail(`its sequence_lens are [${lengths.data}]; all of the ${time} steps are expected`)
    const weights = (at: number, size: number, what: string) => {
      const tensor = this.#optional(r, at)
      if (tensor === undefined) return new Float64Array(0)
      if (tensor.data.length !== directions * size)
        r.fail(`its ${what} has shape [${tensor.shape}]; ${directions} times ${size} values are expected`)
      return tensor.data
    }
    const [w, recurrence, bias] = [
      weights(1, gates * hidden * inputs, 'W'),
      weights(2, gates * hidden * hidden, 'R'),
      weights(3, 2 * gates * hidden, 'B'),
    ]
    const peepholes = kind === 'LSTM' ? weights(7, 3 * hidden, 'P') : new Float64Array(0)
    const defaults = { RNN: ['Tanh'], GRU: ['Sigmoid', 'Tanh'], LSTM: ['Sigmoid', 'Tanh', 'Tanh'] }[kind]
    const linearBeforeReset = kind === 'GRU' && r.number('linear_before_reset', 0) !== 0
    const names = r.strings('activations', Array(directions).fill(defaults).flat())
    const [alphas, betas] = [r.ints('activation_alpha', []), r.ints('activation_beta', [])]
    if (names.length !== directions * defaults.length)
      r.fail(`attribute activations has ${names.length} names for ${directions} directions`)
    const activations = names.map((name, i) => {
      const known = recurrentActivation(name, alphas[i], betas[i])
      if (known === undefined)
        r.fail(
          `activation ${name} is not supported; Sigmoid, Tanh, Relu, HardSigmoid, LeakyRelu, Elu, Affine, ScaledTanh, Softsign or Softplus is expected`,
        )
      return known
    })
    const cut = (values: Float64Array, d: number) =>
      values.subarray((d * values.length) / directions, ((d + 1) * values.length) / directions)
    /** [directions, batch, hidden], or [batch, directions, hidden]. */
    const initial = (at: number) => (d: number, n: number) => {
      const name = node.inputs[at]
      if (!name) return undefined
      const offset = first ? n * directions + d : d * batch + n
      const part = (x: Hidden) =>
        b.slice(b.reshape(x, [elements(x.shape)]), node.name, [offset * hidden], [1], [hidden])
      const known = this.#hidden.get(name)
      if (known !== undefined) return part(known)
      const { data } = this.#constant(r, at)
      const own = data.subarray(offset * hidden, (offset + 1) * hidden)
      if (own.every((v) => v === 0)) return undefined
      return b.affine(b.zeros([hidden]), node.name, new Float64Array(hidden).fill(1), own.slice())
    }
    const [h0, c0] = [initial(5), kind === 'LSTM' ? initial(6) : () => undefined]
    const flat = b.reshape(this.#x, [elements(shape)])
    const steps: Hidden[][][] = []
    const lasts: Carried[][] = []
    for (let d = 0; d < directions; d++) {
      const spec: RecurrentWeights = {
        kind,
        name: node.name,
        inputs,
        hidden,
        w: cut(w, d),
        r: cut(recurrence, d),
        b: cut(bias, d),
        peepholes: cut(peepholes, d),
        activations: activations.slice(d * defaults.length, (d + 1) * defaults.length),
        linearBeforeReset,
      }
      const backwards = direction === 'reverse' || d === 1
      steps[d] = []
      lasts[d] = []
      for (let n = 0; n < batch; n++) {
        let carried: Carried = { h: h0(d, n), c: c0(d, n) }
        for (let i = 0; i < time; i++) {
          const t = backwards ? time - 1 - i : i
          const offset = (first ? n * time + t : t * batch + n) * inputs
          const next = recurrentStep(b, spec, b.slice(flat, node.name, [offset], [1], [inputs]), carried)
          steps[d][t] ??= []
          steps[d][t][n] = next.h
          carried = next
        }
        lasts[d][n] = carried
      }
    }
    const each = <T>(count: number, f: (i: number) => T[]) => Array.from({ length: count }, (_, i) => f(i)).flat()
    const ds = (f: (d: number) => Hidden[]) => each(directions, f)
    const ns = (f: (n: number) => Hidden[]) => each(batch, f)
    const all = first
      ? ns((n) => each(time, (t) => ds((d) => [steps[d][t][n]])))
      : each(time, (t) => ds((d) => ns((n) => [steps[d][t][n]])))
    const put = (output: string | undefined, parts: readonly Hidden[], dims: readonly number[]) => {
      if (output) this.#hidden.set(output, b.reshape(b.concat(parts, node.name, 0), dims))
    }
    put(node.outputs[0], all, first ? [batch, time, directions, hidden] : [time, directions, batch, hidden])
    const last = (f: (carried: Carried) => Hidden) =>
      first ? ns((n) => ds((d) => [f(lasts[d][n])])) : ds((d) => ns((n) => [f(lasts[d][n])]))
    const dims = first ? [batch, directions, hidden] : [directions, batch, hidden]
    put(
      node.outputs[1],
      last((carried) => carried.h!),
      dims,
    )
    if (kind === 'LSTM')
      put(
        node.outputs[2],
        last((carried) => carried.c!),
        dims,
      )
    const made = node.outputs.find((output) => output !== '')!
    this.#x = this.#hidden.get(made)!
  }
}

/** Translates an ONNX graph. Throws BAD_MODEL naming node, operator, attribute and what to do. */
export function lowerGraph(graph: OnnxGraph, options: LowerOptions = {}): Network {
  try {
    return new Lowering(graph, options, 1).run()
  } catch (error) {
    if (!(error instanceof MinionnError)) throw error
    // What does not work row by row may as a whole: a recurrence over time, operators that move the batch.
    try {
      return new Lowering(graph, options, 0).run()
    } catch (second) {
      // Of what has to do with the batch the second error says more.
      const batch = graph.inputs.some(({ shape }) => shape.length < 2) || /\bbatch\b/.test(error.message)
      throw batch ? second : error
    }
  }
}
