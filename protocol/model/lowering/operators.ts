/** Every operator on hidden values: checked, and turned into steps of the network under construction. */
import { MAX_WINDOW } from '../../limits.js'
import { scalarFunction } from '../functions.js'
import { elements } from '../layers.js'
import { dense, gemm } from './dense-operators.js'
import { affine, reduce, several } from './element-operators.js'
import { averagePool, batchNorm, blocks, conv, convTranspose, poolOf } from './image-operators.js'
import type { NodeReader } from './node-reader.js'
import { recurrent } from './recurrent-operators.js'
import { concat, expand, pad, reshape, resize, sliceOf, split, squeeze } from './shape-operators.js'
import type { Translation } from './translation.js'

/** Operators whose inputs may be hidden or constant in any order. */
const MANY_INPUTS = new Set(['Add', 'Mul', 'Sub', 'Concat', 'Max', 'Min', 'Sum', 'Mean'])

export function operator(t: Translation, r: NodeReader): void {
  const { node } = r
  if (node.inputs[0] !== t.current && !MANY_INPUTS.has(node.op)) {
    r.fail('its first input is constant and another one is hidden; only constant weights are supported')
  }
  const b = t.builder
  switch (node.op) {
    case 'Identity':
      return
    case 'Dropout':
      r.ignore('ratio', 'seed', 'is_test', 'consumed_inputs')
      return
    case 'Relu':
      r.ignore('consumed_inputs')
      t.x = b.relu(t.x, node.name, t.alone)
      return
    case 'Pow': {
      const exponent = t.constant(r, 1).data
      if (exponent.length !== 1 || !Number.isFinite(exponent[0])) {
        r.fail(`its exponent is [${exponent.slice(0, 10)}]; one number is supported`)
      }
      if (exponent[0] !== 2 || t.functions.has(t.current)) {
        return t.apply(node.name, scalarFunction('Pow', [exponent[0]]))
      }
      t.note({ op: 'Pow', apply: (x) => x * x })
      t.x = b.scalar(t.x, node.name, 'square', t.alone)
      return
    }
    case 'LeakyRelu':
      return t.scalar(r, [r.number('alpha', 0.01)])
    case 'PRelu': {
      const slopes = t.constant(r, 1)
      const [first] = slopes.data
      if (slopes.data.every((slope) => slope === first)) {
        return t.apply(node.name, scalarFunction('LeakyRelu', [first]))
      }
      // x where it is positive and a x elsewhere: a x + (1 - a) ReLU(x).
      const a = t.broadcast(r, slopes)
      const none = new Float64Array(a.length)
      const passing = b.relu(t.x, node.name, false)
      const rest = a.map((slope) => 1 - slope)
      t.x = b.add(b.affine(passing, node.name, rest, none), b.affine(t.x, node.name, a, none), node.name, 1)
      return
    }
    case 'Clip': {
      const [low, high] = [
        t.bound(r, 1, 'min', Number.NEGATIVE_INFINITY),
        t.bound(r, 2, 'max', Number.POSITIVE_INFINITY),
      ]
      if (low > high) r.fail(`it clips to [${low}, ${high}], which is empty`)
      return t.scalar(r, [low, high])
    }
    case 'HardSigmoid':
      return t.scalar(r, [r.number('alpha', 0.2), r.number('beta', 0.5)])
    case 'Elu':
    case 'Celu':
      return t.scalar(r, [r.number('alpha', 1)])
    case 'Selu':
      return t.scalar(r, [r.number('alpha', 1.6732631921768188), r.number('gamma', 1.0507010221481323)])
    case 'Gelu':
      if (r.string('approximate', 'none') === 'tanh') return t.apply(node.name, scalarFunction('GeluTanh', []))
      return t.scalar(r, [])
    case 'Swish':
      return t.scalar(r, [r.number('alpha', 1)])
    case 'Abs':
    case 'HardSwish':
    case 'Sigmoid':
    case 'Tanh':
    case 'Softplus':
    case 'Softsign':
    case 'Mish':
    case 'Erf':
    case 'Exp':
    case 'Log':
    case 'Sqrt':
    case 'Reciprocal':
    case 'Sin':
    case 'Cos':
    case 'Atan':
    case 'Sinh':
    case 'Cosh':
    case 'Asinh':
      r.ignore('consumed_inputs')
      return t.scalar(r, [])
    case 'Conv':
      return conv(t, r)
    case 'Gemm':
      return gemm(t, r)
    case 'MatMul': {
      const weights = t.constant(r, 1)
      if (weights.shape.length !== 2) {
        r.fail(`it multiplies ${t.shown} with [${weights.shape}]; a matrix of constants is expected`)
      }
      return dense(t, r, weights, false, 1, undefined)
    }
    case 'Add':
    case 'Sub':
    case 'Mul':
    case 'Div':
      return affine(t, r)
    case 'BatchNormalization':
      return batchNorm(t, r)
    case 'MaxPool': {
      r.ignore('storage_order')
      if (node.outputs.length > 1 && node.outputs[1]) r.fail('its second output (indices) is not supported')
      t.x = b.maxPool(t.x, node.name, poolOf(t, r), t.alone)
      return
    }
    case 'AveragePool':
      return averagePool(t, r)
    case 'GlobalMaxPool': {
      const input = t.image(r)
      const kernel = [input[1], input[2]] as const
      if (kernel[0] * kernel[1] > MAX_WINDOW)
        r.fail(`its window has ${kernel[0] * kernel[1]} elements; at most ${MAX_WINDOW} are supported`)
      const pool = { input, output: [input[0], 1, 1], kernel, strides: kernel, pads: [0, 0, 0, 0] } as const
      t.x = b.maxPool(t.x, node.name, pool, t.alone)
      return
    }
    case 'GlobalAveragePool': {
      const input = t.image(r)
      const size = [input[1], input[2]] as const
      t.x = b.meanPool(t.x, node.name, {
        input,
        output: [input[0], 1, 1],
        kernel: size,
        strides: size,
        pads: [0, 0, 0, 0],
      })
      return
    }
    case 'ReduceMean':
      return reduce(t, r)
    case 'Flatten': {
      const axis = r.number('axis', 1)
      const { shape } = t.x
      const at = axis < 0 ? axis + shape.length + t.lead : axis
      if (t.lead === 1 && at !== 1) r.fail(`attribute axis is ${axis}; only 1 (keep the batch) is supported`)
      const whole = elements(shape)
      const outer = elements(shape.slice(0, at))
      t.x = b.reshape(t.x, t.lead === 1 ? [whole] : [outer, whole / outer])
      return
    }
    case 'Reshape':
      return reshape(t, r)
    case 'Transpose': {
      const lead = t.lead
      const rank = t.x.shape.length + lead
      const perm = r.ints('perm', [...Array(rank).keys()].reverse())
      const moved = lead === 1 && perm[0] !== 0
      if (perm.length !== rank || moved || ![...perm.keys()].every((d) => perm.includes(d))) {
        r.fail(
          `attribute perm is [${perm}] on a value of ${rank} dimensions; one that keeps the batch first is expected`,
        )
      }
      t.x = b.transpose(
        t.x,
        node.name,
        perm.slice(lead).map((d) => d - lead),
      )
      return
    }
    case 'Squeeze':
    case 'Unsqueeze':
      return squeeze(t, r)
    case 'RNN':
    case 'GRU':
    case 'LSTM':
      return recurrent(t, r, node.op)
    case 'Split':
      return split(t, r)
    case 'Slice': {
      const lead = t.lead
      const { starts, steps, sizes } = sliceOf(t, r, t.full(t.x.shape))
      if (lead === 1 && (sizes[0] !== t.batch || steps[0] !== 1)) r.fail('it cuts the batch, which stays whole')
      t.x = b.slice(t.x, node.name, starts.slice(lead), steps.slice(lead), sizes.slice(lead))
      return
    }
    case 'Gather': {
      const axis = t.axis(r, r.number('axis', 0))
      const indices = t.constant(r, 1)
      const size = t.x.shape[axis]
      const at = [...indices.data].map((index) => (index < 0 ? index + size : index))
      if (at.some((index) => index < 0 || index >= size || !Number.isInteger(index)) || at.length === 0) {
        r.fail(`its indices [${indices.data.slice(0, 10)}] are not all within 0 and ${size - 1}`)
      }
      const picked = b.gather(t.x, node.name, axis, at)
      const { shape } = t.x
      t.x = b.reshape(picked, [...shape.slice(0, axis), ...indices.shape, ...shape.slice(axis + 1)])
      return
    }
    case 'Concat':
      t.x = concat(t, r)
      return
    case 'Pad':
      return pad(t, r)
    case 'DepthToSpace':
    case 'SpaceToDepth':
      return blocks(t, r)
    case 'Resize':
    case 'Upsample':
      return resize(t, r)
    case 'Expand':
    case 'Tile':
      return expand(t, r)
    case 'Max':
    case 'Min':
    case 'Sum':
    case 'Mean':
      return several(t, r)
    case 'Neg':
      return t.uniform(r, -1, 0)
    case 'ReduceMax':
    case 'ReduceMin':
    case 'ReduceSum':
      return reduce(t, r)
    case 'Cast': {
      // Float, float16, double, bfloat16.
      const to = r.number('to', 1)
      r.ignore('saturate')
      if (![1, 10, 11, 16].includes(to))
        r.fail(`it casts a hidden value to ONNX data type ${to}; only floats are supported`)
      return
    }
    case 'ConvTranspose':
      return convTranspose(t, r)
    case 'Softmax':
    case 'LogSoftmax': {
      const axis = r.number('axis', t.graph.opset >= 13 ? -1 : 1)
      const { shape } = t.x
      const at = axis < 0 ? axis + shape.length : axis - t.lead
      if (shape[at] !== elements(shape)) {
        r.fail(`attribute axis is ${axis} on a value of shape ${t.shown}; a softmax over the classes is expected`)
      }
      t.softmaxed.add(node.outputs[0])
      return
    }
    default:
      r.fail(
        `operator ${node.op} is not supported; supported are Conv, ConvTranspose, Gemm, MatMul, Add, Sub and Mul, Div by constants, Concat, Split, Slice, Gather, Pad, Expand, Tile, Resize to nearest, DepthToSpace, SpaceToDepth, Max, Min, Sum, Mean, BatchNormalization, Relu, LeakyRelu, PRelu, Clip, Abs, HardSigmoid, HardSwish, Sigmoid, Tanh, Softplus, Softsign, Elu, Celu, Selu, Gelu, Mish, Swish, Erf, Exp, Log, Sqrt, Reciprocal, Sin, Cos, Atan, Sinh, Cosh, Asinh, Pow, sums and products of functions of one tensor, MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool, ReduceMean, ReduceMax, ReduceMin, ReduceSum, RNN, GRU, LSTM, Flatten, Reshape, Transpose, Squeeze, Unsqueeze, Dropout, Identity and a final Softmax or LogSoftmax`,
      )
  }
}
