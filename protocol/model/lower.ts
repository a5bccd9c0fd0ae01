/**
 * From an ONNX graph to a Network: checks every node and attribute, folds constants, batch norms and mean-pool
 * divisors into weights, swaps ReLU behind max-pool, merges neighbouring linear maps and drops the final softmax.
 * Semantics follow the ONNX operator specification; what is not supported is refused by node, operator and attribute.
 */
import { MinionnError } from '../errors.js'
import { MAX_TENSOR_ELEMENTS, MAX_WEIGHTS, MAX_WINDOW } from '../limits.js'
import { type ConvGeometry, outputSize, type PoolGeometry, weightCount } from '../ring/linear.js'
import { isScalarOp, type ScalarFunction, scalarFunction } from './functions.js'
import { elements, type Network } from './layers.js'
import { type Tensor as Hidden, NetworkBuilder } from './network-builder.js'
import type { OnnxGraph, OnnxNode, Tensor } from './onnx.js'

/** Operators that slide along a line as over an image of one row. */
const LINE_OPS = new Set(['Conv', 'MaxPool', 'AveragePool', 'GlobalAveragePool'])

type Image = readonly [number, number, number]

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
  readonly #constants: Map<string, Tensor>
  readonly #builder: NetworkBuilder
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

  constructor(graph: OnnxGraph) {
    this.#graph = graph
    this.#constants = new Map(graph.initializers)
    if (graph.inputs.length !== 1) {
      const names = graph.inputs.map((input) => input.name).join(', ')
      throw new MinionnError(
        'BAD_MODEL',
        `the model has ${graph.inputs.length} inputs (${names}); exactly one is supported`,
      )
    }
    if (graph.outputs.length !== 1) {
      throw new MinionnError(
        'BAD_MODEL',
        `the model has ${graph.outputs.length} outputs (${graph.outputs.join(', ')}); exactly one is supported`,
      )
    }
    const { name, shape } = graph.inputs[0]
    if (shape.length < 2) {
      throw new MinionnError(
        'BAD_MODEL',
        `input "${name}" has shape [${shape}]; a batch dimension and at least one more are expected`,
      )
    }
    const dims = shape.slice(1)
    if (dims.some((dim) => dim === null)) {
      throw new MinionnError(
        'BAD_MODEL',
        `input "${name}" has a dimension of unknown size besides the batch; export with fixed sizes`,
      )
    }
    this.#batch = shape[0] ?? 1
    this.#current = name
    this.#builder = new NetworkBuilder(dims as number[])
    this.#x = this.#builder.input
    this.#hidden.set(name, this.#x)
  }

  run(): Network {
    const needed = this.#needed()
    const nodes = this.#graph.nodes.filter((node) => node.outputs.some((output) => needed.has(output)))
    const uses = new Map<string, number>()
    for (const name of nodes.flatMap((node) => [...new Set(node.inputs)])) uses.set(name, (uses.get(name) ?? 0) + 1)
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
        const full = [this.#batch, ...before.shape]
        this.#define(node, { shape: [full.length], data: Float64Array.from(full) })
        continue
      }
      this.#softmaxed.has(name) ? this.#afterSoftmax(reader) : this.#node(reader)
      reader.finish()
      if (LINE_OPS.has(node.op) && before.shape.length === 2) {
        // What was an image of one row is a line again.
        const [channels, , length] = this.#x.shape
        this.#x = this.#builder.reshape(this.#x, [channels, length])
      }
      const [output] = node.outputs
      this.#hidden.set(output, this.#x)
      if (this.#softmaxed.has(name)) this.#softmaxed.add(output)
      // Another name of the same value is as shared as the first.
      if (this.#shared.has(name) && this.#x.from === before.from) this.#shared.add(output)
      if (elements(this.#x.shape) > MAX_TENSOR_ELEMENTS) {
        reader.fail(`its output has ${elements(this.#x.shape)} elements; at most ${MAX_TENSOR_ELEMENTS} are supported`)
      }
    }
    const output = this.#hidden.get(this.#graph.outputs[0])
    if (output === undefined) {
      throw new MinionnError(
        'BAD_MODEL',
        `output "${this.#graph.outputs[0]}" does not depend on the input through operators of the graph`,
      )
    }
    return this.#builder.finish(output)
  }

  /** Whether nothing but the node under translation uses its hidden input. */
  get #alone(): boolean {
    return !this.#shared.has(this.#current)
  }

  /** Values that the output depends on. */
  #needed(): Set<string> {
    const needed = new Set(this.#graph.outputs)
    for (const node of this.#graph.nodes.toReversed()) {
      if (node.outputs.some((output) => needed.has(output))) for (const input of node.inputs) needed.add(input)
    }
    return needed
  }

  #define(node: OnnxNode, value: { shape: readonly number[]; data: Float64Array }): void {
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
      case 'Cast':
        return this.#define(node, tensors[0])
      case 'Unsqueeze':
      case 'Squeeze':
        // Only ever of shape entries, for which scalar or vector makes no difference.
        return this.#define(node, { shape: [tensors[0].data.length], data: tensors[0].data })
      case 'Gather': {
        const size = tensors[0].data.length
        const data = tensors[1].data.map((at) => tensors[0].data[at < 0 ? at + size : at])
        return this.#define(node, { shape: tensors[1].shape, data })
      }
      case 'Concat': {
        const data = Float64Array.from(tensors.flatMap((tensor) => [...tensor.data]))
        return this.#define(node, { shape: [data.length], data })
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
    if (node.inputs[0] !== this.#current && !['Add', 'Mul', 'Sub'].includes(node.op)) {
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
        const slopes = this.#constant(r, 1).data
        if (slopes.some((slope) => slope !== slopes[0]))
          r.fail('its slopes differ; only one for all elements is supported')
        return this.#apply(node.name, scalarFunction('LeakyRelu', [slopes[0]]))
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
        if (r.string('approximate', 'none') !== 'none')
          r.fail('attribute approximate is not "none"; export the exact Gelu')
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
        if (this.#x.shape.length !== 1 || weights.shape.length !== 2) {
          r.fail(`it multiplies [N,${this.#x.shape}] with [${weights.shape}]; a flat input and a matrix are expected`)
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
      case 'ReduceMean': {
        const input = this.#image(r)
        const axes = r.has('axes') ? r.ints('axes', []) : [...(this.#optional(r, 1)?.data ?? [])]
        const rank = this.#x.shape.length + 1
        const behind = axes.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, c) => a - c)
        if (behind.join() !== Array.from({ length: rank - 2 }, (_, d) => d + 2).join()) {
          r.fail(`it takes means over the axes [${axes}]; only those over whole images are supported`)
        }
        const keep = r.number('keepdims', 1) === 1
        r.ignore('noop_with_empty_axes')
        const size = [input[1], input[2]] as const
        const [channels] = input
        this.#x = b.meanPool(this.#x, node.name, {
          input,
          output: [channels, 1, 1],
          kernel: size,
          strides: size,
          pads: [0, 0, 0, 0],
        })
        this.#x = b.reshape(this.#x, keep ? [channels, ...Array(rank - 2).fill(1)] : [channels])
        return
      }
      case 'Flatten': {
        const axis = r.number('axis', 1)
        const rank = this.#x.shape.length + 1
        if ((axis < 0 ? axis + rank : axis) !== 1)
          r.fail(`attribute axis is ${axis}; only 1 (keep the batch) is supported`)
        this.#x = b.reshape(this.#x, [elements(this.#x.shape)])
        return
      }
      case 'Reshape':
        return this.#reshape(r)
      case 'Transpose': {
        const rank = this.#x.shape.length + 1
        const perm = r.ints('perm', [...Array(rank).keys()].reverse())
        if (perm.length !== rank || perm[0] !== 0 || ![...perm.keys()].every((d) => perm.includes(d))) {
          r.fail(
            `attribute perm is [${perm}] on a value of ${rank} dimensions; one that keeps the batch first is expected`,
          )
        }
        this.#x = b.transpose(
          this.#x,
          node.name,
          perm.slice(1).map((d) => d - 1),
        )
        return
      }
      case 'Squeeze':
      case 'Unsqueeze':
        return this.#squeeze(r)
      case 'Softmax':
      case 'LogSoftmax': {
        const axis = r.number('axis', this.#graph.opset >= 13 ? -1 : 1)
        const rank = this.#x.shape.length + 1
        if ((axis < 0 ? axis + rank : axis) !== 1 || elements(this.#x.shape) !== this.#x.shape[0]) {
          r.fail(
            `attribute axis is ${axis} on a value of shape [N,${this.#x.shape}]; a softmax over the classes is expected`,
          )
        }
        this.#softmaxed.add(node.outputs[0])
        return
      }
      default:
        r.fail(
          `operator ${node.op} is not supported; supported are Conv, Gemm, MatMul, Add, Sub, Mul and Div with constants, BatchNormalization, Relu, LeakyRelu, PRelu, Clip, Abs, HardSigmoid, HardSwish, Sigmoid, Tanh, Softplus, Softsign, Elu, Celu, Selu, Gelu, Mish, Erf, Pow, sums and products of functions of one tensor, MaxPool, AveragePool, GlobalAveragePool, ReduceMean over images, Flatten, Reshape, Transpose, Squeeze, Unsqueeze, Dropout, Identity and a final Softmax or LogSoftmax`,
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
    const [filters, perGroup] = weights.shape
    const [kh, kw] = line ? [1, weights.shape[2]] : weights.shape.slice(2)
    const groups = r.number('group', 1)
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
    if (bias !== undefined && bias.data.length !== filters)
      r.fail(`its bias has ${bias.data.length} values for ${filters} filters`)
    if (weightCount(geometry) > MAX_WEIGHTS)
      r.fail(`it has ${weightCount(geometry)} weights; at most ${MAX_WEIGHTS} are supported`)
    const area = size[0] * size[1]
    const expanded = new Float64Array(outputSize(geometry))
    if (bias !== undefined) for (let i = 0; i < expanded.length; i++) expanded[i] = bias.data[Math.floor(i / area)]
    this.#x = this.#builder.linear(this.#x, r.node.name, geometry, weights.data, expanded)
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
    const ceil = r.number('ceil_mode', 0) === 1
    const pool = this.#pool(r)
    const overhang = ([0, 1] as const).some(
      (axis) =>
        (pool.output[1 + axis] - 1) * pool.strides[axis] + pool.kernel[axis] >
        pool.input[1 + axis] + pool.pads[axis] + pool.pads[axis + 2],
    )
    const padded = pool.pads.some((pad) => pad > 0)
    if ((padded && !includePad) || (ceil && overhang)) {
      r.fail(
        'its windows at the border average fewer elements than the others; use count_include_pad=1 or windows that tile the image',
      )
    }
    this.#x = this.#builder.meanPool(this.#x, r.node.name, pool)
  }

  #gemm(r: NodeReader): void {
    const alpha = r.number('alpha', 1)
    const beta = r.number('beta', 1)
    const transB = r.number('transB', 0) === 1
    if (r.number('transA', 0) !== 0) r.fail('attribute transA is 1: it would mix the batch; only 0 is supported')
    r.ignore('broadcast')
    // Old exports let Gemm flatten its input (ONNX before opset 13 asked for a matrix, exporters did not care).
    if (this.#x.shape.length !== 1) r.fail(`its input has shape [N,${this.#x.shape}]; a flat input is expected`)
    const bias = this.#optional(r, 2)
    const scaled = bias === undefined ? undefined : bias.data.map((value) => value * beta)
    this.#dense(r, this.#constant(r, 1), transB, alpha, scaled)
  }

  #dense(r: NodeReader, weights: Tensor, transposed: boolean, alpha: number, bias: Float64Array | undefined): void {
    if (weights.shape.length !== 2) r.fail(`its weights have shape [${weights.shape}]; a matrix is expected`)
    const [outputs, inputs] = transposed ? weights.shape : [weights.shape[1], weights.shape[0]]
    if (inputs !== this.#x.shape[0]) r.fail(`its weights take ${inputs} inputs, but its input has ${this.#x.shape[0]}`)
    if (inputs * outputs > MAX_WEIGHTS)
      r.fail(`it has ${inputs * outputs} weights; at most ${MAX_WEIGHTS} are supported`)
    const data = new Float64Array(inputs * outputs)
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        data[o * inputs + i] = alpha * weights.data[transposed ? o * inputs + i : i * outputs + o]
      }
    }
    if (bias !== undefined && bias.length !== outputs && bias.length !== 1) {
      r.fail(`its bias has ${bias.length} values for ${outputs} outputs`)
    }
    const full = new Float64Array(outputs)
    if (bias !== undefined) for (let o = 0; o < outputs; o++) full[o] = bias[bias.length === 1 ? 0 : o]
    this.#x = this.#builder.linear(this.#x, r.node.name, { kind: 'dense', inputs, outputs }, data, full)
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
    const combined: Record<string, (x: number, y: number) => number> = {
      Add: (x, y) => x + y,
      Sub: (x, y) => x - y,
      Mul: (x, y) => x * y,
      Div: (x, y) => x / y,
    }
    const ops = [...new Set([a.fn.op, b.fn.op, op].filter((part) => part !== ''))].join(', ')
    const fn: ScalarFunction = { op: ops, apply: (x) => combined[op](a.fn.apply(x), b.fn.apply(x)) }
    this.#functions.set(this.#output, { base: a.base, fn, bent: true })
    this.#x = this.#builder.scalar(this.#hidden.get(a.base)!, name, fn, false)
    return true
  }

  /** A residual connection: the sum or difference of two hidden tensors. */
  #twoHidden(r: NodeReader, a: Hidden, b: Hidden): void {
    const { op, name, inputs } = r.node
    r.ignore('broadcast', 'axis')
    if (this.#combine(r)) return
    if (op !== 'Add' && op !== 'Sub') r.fail('it combines two hidden values; only their sum or difference is supported')
    if (inputs.some((input) => this.#softmaxed.has(input))) {
      r.fail('it follows a softmax; only the last softmax of a network is supported, because it is dropped')
    }
    if (a.shape.length !== b.shape.length || a.shape.some((dim, i) => dim !== b.shape[i])) {
      r.fail(`its hidden inputs have shapes [N,${a.shape}] and [N,${b.shape}]; equal ones are expected`)
    }
    this.#x = this.#builder.add(a, b, name, op === 'Add' ? 1 : -1)
  }

  /** A constant spread over the running value's shape, as ONNX broadcasts it (and as opset < 7 did, by axis). */
  #broadcast(r: NodeReader, constant: Tensor): Float64Array {
    const shape = [1, ...this.#x.shape]
    let dims = [...constant.shape]
    if (this.#graph.opset < 7 && r.number('broadcast', 0) === 1) {
      const axis = r.number('axis', shape.length - dims.length)
      dims = [...dims, ...Array(Math.max(0, shape.length - axis - dims.length)).fill(1)]
    }
    r.ignore('broadcast', 'axis')
    while (dims.length > 1 && dims.length > shape.length && dims[0] === 1) dims.shift()
    dims = [...Array(Math.max(0, shape.length - dims.length)).fill(1), ...dims]
    if (dims.length !== shape.length || dims.some((dim, i) => dim !== 1 && dim !== shape[i])) {
      r.fail(`a constant of shape [${constant.shape}] does not broadcast to [N,${this.#x.shape}]`)
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
    if (scale.length !== shape[0]) r.fail(`it has ${scale.length} channels, its input [N,${shape}] has ${shape[0]}`)
    const multiply = new Float64Array(elements(shape))
    const add = new Float64Array(elements(shape))
    for (let i = 0; i < multiply.length; i++) {
      const c = Math.floor(i / area)
      multiply[i] = scale[c] / Math.sqrt(variance[c] + epsilon)
      add[i] = shift[c] - mean[c] * multiply[i]
    }
    if (!multiply.every(Number.isFinite)) r.fail('its variance plus epsilon is not positive')
    this.#x = this.#builder.affine(this.#x, r.node.name, multiply, add)
  }

  #squeeze(r: NodeReader): void {
    const { shape } = this.#x
    const given = r.has('axes') ? r.ints('axes', []) : [...(this.#optional(r, 1)?.data ?? [])]
    const remove = r.node.op === 'Squeeze'
    const rank = shape.length + 1 + (remove ? 0 : given.length)
    const axes = given.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, c) => a - c)
    if (axes.length === 0 || axes.some((axis) => axis < 1 || axis >= rank)) {
      r.fail(`its axes are [${given}] on a value of shape [N,${shape}]; axes behind the batch are expected`)
    }
    const dims = [this.#batch, ...shape]
    if (remove) {
      if (axes.some((axis) => dims[axis] !== 1)) r.fail(`its axes [${given}] of [N,${shape}] are not all of size 1`)
      this.#x = this.#builder.reshape(
        this.#x,
        dims.filter((_, d) => d > 0 && !axes.includes(d)),
      )
      return
    }
    for (const axis of axes) dims.splice(axis, 0, 1)
    this.#x = this.#builder.reshape(this.#x, dims.slice(1))
  }

  #reshape(r: NodeReader): void {
    r.ignore('allowzero', 'consumed_inputs')
    const target = r.has('shape') ? [...r.ints('shape', [])] : [...this.#constant(r, 1).data]
    const total = this.#batch * elements(this.#x.shape)
    const current = [this.#batch, ...this.#x.shape]
    const dims = target.map((dim, i) => (dim === 0 ? current[i] : dim))
    const known = dims.filter((dim) => dim !== -1).reduce((product, dim) => product * dim, 1)
    const free = dims.indexOf(-1)
    if (free >= 0) dims[free] = total / known
    // A batch written out as 1 next to a free batch dimension means the same.
    if (elements(dims) !== total || dims.length < 2 || dims[0] !== this.#batch) {
      r.fail(`reshape of [${current}] to [${target}] does not keep the batch as the first dimension`)
    }
    this.#x = this.#builder.reshape(this.#x, dims.slice(1))
  }
}

/** Translates an ONNX graph. Throws BAD_MODEL naming node, operator, attribute and what to do. */
export function lowerGraph(graph: OnnxGraph): Network {
  return new Lowering(graph).run()
}
