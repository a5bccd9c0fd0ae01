/** Shape arithmetic that exporters leave around reshapes: operators on constants alone. */

import { MAX_TENSOR_ELEMENTS } from '../../limits.js'
import { transposedOrder } from '../../ring/linear.js'
import { viewOrder, wholeView } from '../../ring/parts.js'
import { elements } from '../layers.js'
import type { Tensor } from '../onnx.js'
import { ELEMENTWISE } from './element-operators.js'
import type { NodeReader } from './node-reader.js'
import { sliceOf } from './shape-operators.js'
import type { Translation } from './translation.js'

/** Shape arithmetic that exporters leave around reshapes. */
export function foldConstant(t: Translation, r: NodeReader): void {
  const { node } = r
  if (node.op === 'Constant') {
    const value = node.attributes.get('value')
    if (value !== undefined && typeof value === 'object' && 'data' in value) return t.define(node, value)
    const floats = node.attributes.get('value_floats') ?? node.attributes.get('value_ints')
    const scalar = node.attributes.get('value_float') ?? node.attributes.get('value_int')
    if (typeof scalar === 'number') return t.define(node, { shape: [], data: Float64Array.of(scalar) })
    if (Array.isArray(floats)) return t.define(node, { shape: [floats.length], data: Float64Array.from(floats) })
    r.fail('it holds no tensor of numbers')
  }
  const inputs = node.inputs.filter((name) => name !== '').map((name) => t.constants.get(name))
  const missing = node.inputs.find((name) => name !== '' && !t.constants.has(name))
  if (missing !== undefined) r.fail(`its input "${missing}" is neither a constant nor the output of an earlier node`)
  const tensors = inputs as Tensor[]
  switch (node.op) {
    case 'Identity':
      return t.define(node, tensors[0])
    case 'Cast': {
      // To int32 or int64.
      const integer = [6, 7].includes(r.number('to', 1))
      const data = integer ? tensors[0].data.map(Math.trunc) : tensors[0].data
      return t.define(node, { shape: tensors[0].shape, data, integer })
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
      return t.define(node, { ...tensors[0], shape: dims, data: Float64Array.from(order, (at) => data[at]) })
    }
    case 'Unsqueeze':
    case 'Squeeze':
      // Only ever of shape entries, for which scalar or vector makes no difference.
      return t.define(node, { ...tensors[0], shape: [tensors[0].data.length] })
    case 'Reshape': {
      const { data } = tensors[0]
      const dims = [...(tensors[1]?.data ?? r.ints('shape', []))]
      const known = dims.filter((dim) => dim !== -1).reduce((product, dim) => product * dim, 1)
      return t.define(node, { ...tensors[0], shape: dims.map((dim) => (dim === -1 ? data.length / known : dim)) })
    }
    case 'Shape':
      return t.define(node, {
        shape: [tensors[0].shape.length],
        data: Float64Array.from(tensors[0].shape),
        integer: true,
      })
    case 'ConstantOfShape': {
      const value = node.attributes.get('value')
      const fill = value !== undefined && typeof value === 'object' && 'data' in value ? value.data[0] : 0
      const shape = [...tensors[0].data]
      return t.define(node, { shape, data: new Float64Array(elements(shape)).fill(fill) })
    }
    case 'Transpose': {
      const [{ shape, data }] = tensors
      const perm = r.ints('perm', [...shape.keys()].reverse())
      const order = transposedOrder({ shape, perm })
      return t.define(node, { shape: perm.map((d) => shape[d]), data: data.map((_, i) => data[order[i]]) })
    }
    case 'Slice': {
      const [{ shape, data }] = tensors
      const { starts, steps, sizes } = sliceOf(t, r, shape)
      const whole = wholeView(shape)
      const offset = starts.reduce((at, start, d) => at + start * whole.strides[d], 0)
      const order = viewOrder({ offset, sizes, strides: whole.strides.map((stride, d) => stride * steps[d]) })
      return t.define(node, { ...tensors[0], shape: sizes, data: Float64Array.from(order, (at) => data[at]) })
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
      return t.define(node, { shape: larger.shape, data: integer ? exact.map(Math.trunc) : exact, integer })
    }
    case 'Range': {
      const [start, limit, delta] = tensors.map(({ data }) => data[0])
      const count = Math.max(0, Math.ceil((limit - start) / delta))
      if (!(count <= MAX_TENSOR_ELEMENTS))
        r.fail(`it makes ${count} numbers; at most ${MAX_TENSOR_ELEMENTS} are supported`)
      const data = Float64Array.from({ length: count }, (_, i) => start + i * delta)
      return t.define(node, { shape: [count], data, integer: tensors[0].integer })
    }
    case 'Equal': {
      const [x, y] = tensors
      const data = x.data.map((v, i) => Number(v === y.data[y.data.length === 1 ? 0 : i]))
      return t.define(node, { shape: x.shape, data, integer: true })
    }
    case 'Where': {
      const [condition, x, y] = tensors
      const at = (tensor: Tensor, i: number) => tensor.data[tensor.data.length === 1 ? 0 : i]
      const largest = tensors.reduce((best, tensor) => (tensor.data.length > best.data.length ? tensor : best))
      const data = largest.data.map((_, i) => (at(condition, i) !== 0 ? at(x, i) : at(y, i)))
      return t.define(node, { shape: largest.shape, data, integer: x.integer })
    }
    case 'Floor':
    case 'Ceil':
      return t.define(node, { ...tensors[0], data: tensors[0].data.map(node.op === 'Floor' ? Math.floor : Math.ceil) })
    case 'Sqrt':
    case 'Neg':
    case 'Exp':
      return t.define(node, {
        shape: tensors[0].shape,
        data: tensors[0].data.map({ Sqrt: Math.sqrt, Neg: (v: number) => -v, Exp: Math.exp }[node.op]),
      })
    case 'Gather': {
      const size = tensors[0].data.length
      const data = tensors[1].data.map((at) => tensors[0].data[at < 0 ? at + size : at])
      return t.define(node, { ...tensors[0], shape: tensors[1].shape, data })
    }
    case 'Concat': {
      const data = Float64Array.from(tensors.flatMap((tensor) => [...tensor.data]))
      const integer = tensors.every((tensor) => tensor.integer === true)
      return t.define(node, { shape: [data.length], data, integer })
    }
    default:
      r.fail(`operator ${node.op} on constants is not supported; simplify the model first (for instance with onnxsim)`)
  }
}
