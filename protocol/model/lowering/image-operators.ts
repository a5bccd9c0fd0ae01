/** Operators on images and lines: convolutions, pools, batch norms. */
import { MAX_WEIGHTS, MAX_WINDOW } from '../../limits.js'
import { type ConvGeometry, outputSize, type PoolGeometry, weightCount } from '../../ring/linear.js'
import { elements } from '../layers.js'
import type { NodeReader } from './node-reader.js'
import type { Image, Translation } from './translation.js'

/** Operators on images, which slide along a line as over an image of one row. */
export const IMAGE_OPS = new Set([
  'Conv',
  'ConvTranspose',
  'MaxPool',
  'AveragePool',
  'GlobalAveragePool',
  'GlobalMaxPool',
  'BatchNormalization',
  'DepthToSpace',
  'SpaceToDepth',
])

export function conv(t: Translation, r: NodeReader): void {
  const input = t.image(r)
  const weights = t.constant(r, 1)
  const bias = t.optional(r, 2)
  const line = t.x.shape.length === 2
  if (weights.shape.length !== (line ? 3 : 4)) {
    r.fail(`its weights have shape [${weights.shape}] for an input of shape [N,${t.x.shape}]`)
  }
  const images = t.images
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
  const { pads, size } = windowOf(r, input, kernel, strides, dilations, false)
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
  t.x = t.builder.linear(t.x, r.node.name, geometry, repeated, expanded)
}

/** Output size and pads of a sliding window: auto_pad, pads and ceil_mode as ONNX defines them. */
function windowOf(
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

export function poolOf(t: Translation, r: NodeReader): PoolGeometry {
  const input = t.image(r)
  if (!r.has('kernel_shape')) r.fail('attribute kernel_shape is missing')
  const kernel = r.pair('kernel_shape', [1, 1])
  const strides = r.pair('strides', [1, 1])
  const dilations = r.pair('dilations', [1, 1])
  if (dilations[0] !== 1 || dilations[1] !== 1)
    r.fail(`attribute dilations is [${dilations}]; only 1 is supported in pooling`)
  if (kernel[0] * kernel[1] > MAX_WINDOW)
    r.fail(`its window has ${kernel[0] * kernel[1]} elements; at most ${MAX_WINDOW} are supported`)
  const { pads, size } = windowOf(r, input, kernel, strides, dilations, r.number('ceil_mode', 0) === 1)
  return { input, output: [input[0], ...size], kernel, strides, pads }
}

export function averagePool(t: Translation, r: NodeReader): void {
  const includePad = r.number('count_include_pad', 0) === 1
  const pool = poolOf(t, r)
  const { output, kernel, strides, pads, input } = pool
  const name = r.node.name
  t.x = t.builder.meanPool(t.x, name, pool)
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
  if (scale.some((v) => v !== 1)) t.x = t.builder.affine(t.x, name, scale, new Float64Array(scale.length))
}

/** A convolution of the image with zeros between its pixels, the kernel mirrored. */
export function convTranspose(t: Translation, r: NodeReader): void {
  const b = t.builder
  const { name } = r.node
  const weights = t.constant(r, 1)
  const bias = t.optional(r, 2)
  const [channels, height, width] = t.image(r)
  const line = t.x.shape.length === 2
  const images = t.images
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
  let x = b.reshape(t.x, [1, channels, height, width])
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
  t.x = b.linear(x, name, geometry, mirrored, expanded)
}

export function batchNorm(t: Translation, r: NodeReader): void {
  const epsilon = r.number('epsilon', 1e-5)
  if (r.number('training_mode', 0) !== 0) r.fail('attribute training_mode is 1; export the model for inference')
  r.ignore('momentum', 'spatial', 'is_test', 'consumed_inputs')
  const [scale, shift, mean, variance] = [1, 2, 3, 4].map((at) => t.constant(r, at).data)
  const { shape } = t.x
  const area = elements(shape) / shape[0]
  if (scale.length * t.images !== shape[0]) {
    r.fail(`it has ${scale.length} channels, its input [N,${shape}] has ${shape[0] / t.images}`)
  }
  const multiply = new Float64Array(elements(shape))
  const add = new Float64Array(elements(shape))
  for (let i = 0; i < multiply.length; i++) {
    const c = Math.floor(i / area) % scale.length
    multiply[i] = scale[c] / Math.sqrt(variance[c] + epsilon)
    add[i] = shift[c] - mean[c] * multiply[i]
  }
  if (!multiply.every(Number.isFinite)) r.fail('its variance plus epsilon is not positive')
  t.x = t.builder.affine(t.x, r.node.name, multiply, add)
}

/** Blocks of pixels from channels, or the other way round. */
export function blocks(t: Translation, r: NodeReader): void {
  const { op, name } = r.node
  const b = t.builder
  const [channels, height, width] = t.image(r)
  const size = r.number('blocksize', 0)
  const mode = r.string('mode', 'DCR')
  if (t.images !== 1) r.fail(`it works on ${t.images} images at once; one is expected`)
  const toSpace = op === 'DepthToSpace'
  const fits = toSpace ? channels % (size * size) === 0 : height % size === 0 && width % size === 0
  if (size < 1 || !fits)
    r.fail(`attribute blocksize is ${size}, which does not divide an image of [${channels},${height},${width}]`)
  if (!toSpace) {
    const cut = b.reshape(t.x, [channels, height / size, size, width / size, size])
    t.x = b.reshape(b.transpose(cut, name, [2, 4, 0, 1, 3]), [channels * size * size, height / size, width / size])
    return
  }
  const depth = channels / (size * size)
  const [dims, perm] =
    mode === 'CRD'
      ? [
          [depth, size, size, height, width],
          [0, 3, 1, 4, 2],
        ]
      : [
          [size, size, depth, height, width],
          [2, 3, 0, 4, 1],
        ]
  t.x = b.reshape(b.transpose(b.reshape(t.x, dims), name, perm), [depth, height * size, width * size])
}
