/** Operators that put tensors together or combine several hidden ones: as ONNX defines them, and two-party bit for bit. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { runFloat } from '../../protocol/model/float.js'
import { lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { openManifest } from '../../protocol/model/plan.js'
import { PRECISIONS } from '../../protocol/model/precision.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { type ModelSpec, type NodeSpec, onnxModel } from '../helpers/onnx-builder.js'
import { random } from '../helpers/recurrent.js'
import { TwoParties } from '../helpers/two-party.js'

const lower = (spec: ModelSpec) => lowerGraph(parseOnnx(onnxModel(spec)))

/** Runs a graph as floats against `expected`, if given, and compiled by two parties against the reference, close to the floats. */
async function crossed(spec: ModelSpec, expected?: (x: Float64Array) => number[]): Promise<void> {
  const network = lower(spec)
  const card = checkCard({ input: { kind: 'tensor', range: [-1, 1] } }, network.inputShape, network.outputSize)
  const model = compileNetwork(network, card, { precision: PRECISIONS.high })
  const { plan } = openManifest(model.published.bytes, model.published.id).manifest
  const parties = new TwoParties(model)
  const size = network.inputShape.reduce((product, dim) => product * dim, 1)
  const [one, two] = await parties.prepare(2)
  for (const [bundle, values] of [
    [one, random(size)],
    [two, Array(size).fill(-1)],
  ] as const) {
    const x = Float64Array.from(values)
    const float = runFloat(network, x)
    expected?.(x).forEach((v, i) => {
      assert.ok(Math.abs(float[i] - v) < 1e-5, `${float[i]} = ${v} at ${i}`)
    })
    const input = quantiseInput(plan, x)
    const outputs = runReference(plan, model.secret, input)
    assert.deepEqual((await parties.infer(bundle, input)).outputs, outputs)
    const most = Math.max(1, ...float.map(Math.abs))
    outputs.forEach((v, i) => {
      assert.ok(
        Math.abs(v / plan.output.scale - float[i]) < 0.03 * most,
        `${v / plan.output.scale} ~ ${float[i]} at ${i}`,
      )
    })
  }
}

const ints = (data: number[]) => ({ dims: [data.length], data })
const IMAGE = [1, 2, 4, 4]
const conv = (input: string, output: string, filters = 'w'): NodeSpec => ({
  op: 'Conv',
  inputs: [input, filters],
  output,
  attributes: { pads: [1, 1, 1, 1] },
})
const relu = (input: string, output: string): NodeSpec => ({ op: 'Relu', inputs: [input], output })
const w = { dims: [3, 2, 3, 3], data: random(54) }
const v = { dims: [2, 3, 3, 3], data: random(54) }

test('slices, splits and gathers of values, of rows of a dense map and of filters', async () => {
  const nodes = (...more: NodeSpec[]): ModelSpec => ({
    input: [1, 4, 3],
    nodes: more,
    weights: {
      shape_starts: ints([1, -1]),
      shape_ends: ints([9, -9]),
      shape_axes: ints([1, 2]),
      shape_steps: ints([2, -1]),
      shape_index: ints([3, 0, 0, 2, -1]),
    },
  })
  const slice = { op: 'Slice', inputs: ['x', 'shape_starts', 'shape_ends', 'shape_axes', 'shape_steps'], output: 'y' }
  await crossed(nodes(slice), (x) => [5, 4, 3, 11, 10, 9].map((i) => x[i]))
  await crossed(nodes(slice, relu('y', 'z')), (x) => [5, 4, 3, 11, 10, 9].map((i) => Math.max(0, x[i])))
  const gather = { op: 'Gather', inputs: ['x', 'shape_index'], output: 'g', attributes: { axis: 1 } }
  const rows = [3, 0, 0, 2, 3]
  await crossed(nodes(gather), (x) => rows.flatMap((r) => [0, 1, 2].map((c) => x[3 * r + c])))
  const split = { op: 'Split', inputs: ['x'], output: ['a', 'b', 'c', 'd'], attributes: { axis: 1 } }
  await crossed(nodes(split, { op: 'Sub', inputs: ['b', 'd'], output: 's' }), (x) =>
    [0, 1, 2].map((c) => x[3 + c] - x[9 + c]),
  )
  // Of a dense map: the rows alone are computed.
  const dense = lower({
    input: [1, 6],
    nodes: [
      { op: 'Gemm', inputs: ['x', 'm'], output: 'y' },
      { op: 'Gather', inputs: ['y', 'shape_index'], output: 'z', attributes: { axis: 1 } },
    ],
    weights: { m: { dims: [6, 8], data: random(48) }, shape_index: ints([7, 2, 2]) },
  })
  assert.deepEqual(
    dense.stages.map(({ linear }) => linear.geometry),
    [{ kind: 'dense', inputs: 6, outputs: 3 }],
  )
  const filters = lower({
    input: IMAGE,
    nodes: [
      conv('x', 'y'),
      { op: 'Split', inputs: ['y', 'shape_split'], output: ['a', 'b'], attributes: { axis: 1 } },
      relu('b', 'z'),
    ],
    weights: { w, shape_split: ints([1, 2]) },
  })
  assert.equal(filters.stages.length, 2)
  assert.equal(filters.outputSize, 32)
})

test('concatenation along channels, rows and features, of values at different scales, in front of every kind of layer', async () => {
  const parts = [
    conv('x', 'c'),
    relu('c', 'r'),
    { op: 'MaxPool', inputs: ['x'], output: 'm', attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] } },
  ]
  const join = (axis: number, inputs = ['r', 'm', 'x']): NodeSpec => ({
    op: 'Concat',
    inputs,
    output: 'j',
    attributes: { axis },
  })
  const seven = { dims: [2, 7, 3, 3], data: random(126) }
  await crossed({ input: IMAGE, nodes: [...parts, join(1), conv('j', 'y', 'seven')], weights: { w, seven } })
  await crossed({ input: IMAGE, nodes: [...parts, join(1)], weights: { w } })
  await crossed({ input: IMAGE, nodes: [...parts, join(1), relu('j', 'y')], weights: { w } })
  for (const axis of [2, 3]) {
    await crossed({ input: IMAGE, nodes: [...parts, join(axis, ['m', 'x']), conv('j', 'y')], weights: { w } })
    await crossed({ input: IMAGE, nodes: [...parts, join(axis, ['m', 'x'])], weights: { w } })
  }
  const pool = { op: 'AveragePool', inputs: ['j'], output: 'p', attributes: { kernel_shape: [2, 2], strides: [2, 2] } }
  await crossed({ input: IMAGE, nodes: [...parts, join(1), pool, relu('p', 'y')], weights: { w } })
  const flat: NodeSpec[] = [
    { op: 'Flatten', inputs: ['j'], output: 'f' },
    { op: 'Gemm', inputs: ['f', 'd'], output: 'y' },
  ]
  await crossed({
    input: IMAGE,
    nodes: [...parts, join(1), ...flat],
    weights: { w, d: { dims: [112, 3], data: random(336, 0.2) } },
  })
  // With constants, which become a shift.
  await crossed(
    {
      input: [1, 3],
      nodes: [{ op: 'Concat', inputs: ['x', 'k'], output: 'y', attributes: { axis: 1 } }],
      weights: { k: { dims: [1, 2], data: [0.5, -2] } },
    },
    (x) => [...x, 0.5, -2],
  )
})

test('padding of every mode, with zeros and other numbers, less than nothing, in front of a convolution', async () => {
  const pad = (mode: string, pads: number[], value?: number): ModelSpec => ({
    input: [1, 2, 3, 4],
    nodes: [
      {
        op: 'Pad',
        inputs: ['x', 'shape_pads', ...(value === undefined ? [] : ['k'])],
        output: 'y',
        attributes: { mode },
      },
    ],
    weights: { shape_pads: ints(pads), ...(value !== undefined && { k: { dims: [], data: [value] } }) },
  })
  const around = [0, 0, 1, 2, 0, 0, 2, 1]
  const at = (f: (i: number, size: number) => number | undefined, other: number) => (x: Float64Array) =>
    [0, 1].flatMap((c) =>
      Array.from({ length: 6 }, (_, y) => f(y - 1, 3)).flatMap((y) =>
        Array.from({ length: 7 }, (_, i) => f(i - 2, 4)).map((i) =>
          y === undefined || i === undefined ? other : x[12 * c + 4 * y + i],
        ),
      ),
    )
  const inside = (i: number, size: number) => (i < 0 || i >= size ? undefined : i)
  const clamped = (i: number, size: number) => Math.min(Math.max(i, 0), size - 1)
  const mirrored = (i: number, size: number) => (i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i)
  await crossed(pad('constant', around), at(inside, 0))
  await crossed(pad('constant', around, 0.75), at(inside, 0.75))
  await crossed(pad('edge', around), at(clamped, 0))
  await crossed(pad('reflect', around), at(mirrored, 0))
  await crossed(
    pad('wrap', around),
    at((i, size) => (i + size) % size, 0),
  )
  await crossed(pad('constant', [0, 0, -1, 0, 0, 0, 0, -2]), (x) =>
    [0, 1].flatMap((c) => [4, 5, 8, 9].map((i) => x[12 * c + i])),
  )
  const { nodes, weights } = pad('constant', around)
  await crossed({ input: [1, 2, 3, 4], nodes: [...nodes, conv('y', 'z')], weights: { ...weights, w } })
})

test('blocks of pixels from channels and back, as ONNX orders them', async () => {
  const [blocksize, depth, height, width] = [2, 3, 2, 3]
  const shape = [1, depth * 4, height, width]
  const at = (x: Float64Array, c: number, y: number, i: number) => x[(c * height + y) * width + i]
  const pixels = (channel: (c: number, dy: number, dx: number) => number) => (x: Float64Array) =>
    Array.from({ length: depth * 4 * height * width }, (_, n) => {
      const [c, y, i] = [
        Math.floor(n / (4 * height * width)),
        Math.floor(n / (2 * width)) % (2 * height),
        n % (2 * width),
      ]
      return at(x, channel(c, y % 2, i % 2), Math.floor(y / 2), Math.floor(i / 2))
    })
  const node = (op: string, mode?: string): NodeSpec => ({
    op,
    inputs: ['x'],
    output: 'y',
    attributes: { blocksize, ...(mode && { mode }) },
  })
  await crossed(
    { input: shape, nodes: [node('DepthToSpace')] },
    pixels((c, dy, dx) => (2 * dy + dx) * depth + c),
  )
  await crossed(
    { input: shape, nodes: [node('DepthToSpace', 'CRD')] },
    pixels((c, dy, dx) => 4 * c + 2 * dy + dx),
  )
  const back = { ...node('SpaceToDepth'), inputs: ['y'], output: 'z' }
  await crossed({ input: shape, nodes: [node('DepthToSpace'), back] }, (x) => [...x])
  assert.throws(() => lower({ input: [1, 6, 2, 2], nodes: [node('DepthToSpace')] }), {
    code: 'BAD_MODEL',
    message: /blocksize is 2/,
  })
})

test('shapes that exporters compute: Range, Equal, Where, Floor, Expand', async () => {
  // Reshape to where([-1, 6] = -1, 2, itself) = [2, 6] is refused for its batch as rows, and so taken as a whole.
  const nodes: NodeSpec[] = [
    { op: 'Equal', inputs: ['shape_target', 'shape_free'], output: 'free' },
    { op: 'Where', inputs: ['free', 'shape_two', 'shape_target'], output: 'dims' },
    { op: 'Reshape', inputs: ['x', 'dims'], output: 'r' },
    { op: 'Range', inputs: ['shape_start', 'shape_limit', 'shape_delta'], output: 'odd' },
    { op: 'Gather', inputs: ['r', 'odd'], output: 'g', attributes: { axis: 1 } },
    { op: 'Floor', inputs: ['half'], output: 'one' },
    { op: 'Expand', inputs: ['one', 'shape_three'], output: 'ones' },
    { op: 'Add', inputs: ['g', 'ones'], output: 'y' },
  ]
  const weights = {
    shape_target: ints([-1, 6]),
    shape_free: ints([-1]),
    shape_two: ints([2]),
    shape_start: { dims: [], data: [1] },
    shape_limit: { dims: [], data: [6] },
    shape_delta: { dims: [], data: [2] },
    half: { dims: [1], data: [1.5] },
    shape_three: ints([3]),
  }
  await crossed({ input: [1, 12], nodes, weights }, (x) => [1, 3, 5, 7, 9, 11].map((i) => x[i] + 1))
})

test('resizing to the nearest, matrices applied to every row, and sums with constants', async () => {
  const scales = { dims: [4], data: [1, 1, 2, 3] }
  await crossed(
    { input: [1, 1, 2, 2], nodes: [{ op: 'Resize', inputs: ['x', '', 'scales'], output: 'y' }], weights: { scales } },
    (x) => [0, 0, 1, 1].flatMap((row) => [0, 0, 0, 1, 1, 1].map((column) => x[2 * row + column])),
  )
  const m = { dims: [3, 2], data: [1, 0, 0, 2, -1, 0.5] }
  const rows = (x: Float64Array) => [0, 3, 6, 9].flatMap((at) => [x[at] - x[at + 2], 2 * x[at + 1] + 0.5 * x[at + 2]])
  const b = { dims: [2], data: [0.5, -0.25] }
  const nodes: NodeSpec[] = [
    { op: 'MatMul', inputs: ['x', 'm'], output: 'y' },
    { op: 'Add', inputs: ['y', 'b'], output: 'z' },
  ]
  await crossed({ input: [1, 4, 3], nodes, weights: { m, b } }, (x) => rows(x).map((value, i) => value + b.data[i % 2]))
  const k = { dims: [3], data: [0.5, -0.5, 0] }
  await crossed({ input: [1, 3], nodes: [{ op: 'Max', inputs: ['x', 'k'], output: 'y' }], weights: { k } }, (x) =>
    [...x].map((value, i) => Math.max(value, k.data[i])),
  )
  await crossed({ input: [1, 3], nodes: [{ op: 'Sum', inputs: ['k', 'x'], output: 'y' }], weights: { k } }, (x) =>
    [...x].map((value, i) => value + k.data[i]),
  )
})

test('products and sums of hidden values: gates, broadcasts, squares of sums, products of products', async () => {
  const gate: NodeSpec[] = [conv('x', 'a'), conv('x', 'b'), { op: 'Sigmoid', inputs: ['b'], output: 's' }]
  await crossed({ input: IMAGE, nodes: [...gate, { op: 'Mul', inputs: ['a', 's'], output: 'y' }], weights: { w } })
  // Squeeze and excitation: a factor a channel.
  const squeeze: NodeSpec[] = [
    conv('x', 'a'),
    relu('a', 'r'),
    { op: 'GlobalAveragePool', inputs: ['r'], output: 'g' },
    { op: 'Conv', inputs: ['g', 'u'], output: 'q' },
    { op: 'HardSigmoid', inputs: ['q'], output: 's' },
    { op: 'Mul', inputs: ['s', 'r'], output: 'm' },
    conv('m', 'y', 'v'),
  ]
  await crossed({ input: IMAGE, nodes: squeeze, weights: { w, v, u: { dims: [3, 3, 1, 1], data: random(9) } } })
  const flat = (...more: NodeSpec[]): ModelSpec => ({
    input: [1, 5],
    nodes: [{ op: 'Gemm', inputs: ['x', 'm'], output: 'a' }, { op: 'Tanh', inputs: ['a'], output: 't' }, ...more],
    weights: { m: { dims: [5, 5], data: random(25) } },
  })
  const mul = (a: string, b: string, output: string): NodeSpec => ({ op: 'Mul', inputs: [a, b], output })
  await crossed(flat(mul('t', 'x', 'p'), mul('p', 't', 'q'), { op: 'Sub', inputs: ['q', 'p'], output: 'y' }))
  await crossed(
    flat(mul('x', 't', 'p'), mul('a', 'x', 'q'), { op: 'Sub', inputs: ['p', 'q'], output: 's' }, mul('s', 's', 'y')),
  )
  // A mean of two is no function of the first.
  const mean = { op: 'Mean', inputs: ['x', 't'], output: 'n' }
  await crossed(flat(mean, mul('n', 'x', 'p'), { op: 'Sub', inputs: ['p', 'n'], output: 'y' }))
  const half = [0.5, -0.25, 0.75, 0, 1]
  const both = runFloat(lower({ ...flat(mean, mul('n', 'x', 'y')), output: ['y', 't'] }), Float64Array.from(half))
  half.forEach((v, i) => {
    assert.ok(Math.abs(both[i] - ((v + both[5 + i]) / 2) * v) < 1e-9)
  })
  // A sum of products is one stage.
  const summed = lower(flat(mul('x', 't', 'p'), mul('t', 'x', 'q'), { op: 'Add', inputs: ['p', 'q'], output: 'y' }))
  assert.deepEqual(
    summed.stages.map(({ activation }) => activation?.signs),
    [[], [1, 1], undefined],
  )
})

test('largest, least, sum and mean: of tensors and over dimensions, pools with uneven windows', async () => {
  const input = [1, 2, 3, 4]
  const index = (c: number, y: number, x: number) => 12 * c + 4 * y + x
  const all = [0, 1].flatMap((c) => [0, 1, 2].flatMap((y) => [0, 1, 2, 3].map((x) => [c, y, x])))
  const reduce = (op: string, axes: number[], keepdims = 0): ModelSpec => ({
    input,
    nodes: [{ op, inputs: ['x'], output: 'y', attributes: { axes, keepdims } }],
    opset: 12,
  })
  const over = (axes: number[], f: (values: number[]) => number) => (x: Float64Array) => {
    const groups = new Map<string, number[]>()
    for (const at of all) {
      const key = at.filter((_, d) => !axes.includes(d + 1)).join()
      groups.set(key, [...(groups.get(key) ?? []), x[index(at[0], at[1], at[2])]])
    }
    return [...groups.values()].map(f)
  }
  const total = (values: number[]) => values.reduce((sum, value) => sum + value, 0)
  for (const axes of [[1], [2], [3], [1, 3], [2, 3]]) {
    await crossed(
      reduce('ReduceMax', axes),
      over(axes, (values) => Math.max(...values)),
    )
    await crossed(
      reduce('ReduceMin', axes, 1),
      over(axes, (values) => Math.min(...values)),
    )
    await crossed(
      reduce('ReduceMean', axes),
      over(axes, (values) => total(values) / values.length),
    )
    await crossed(reduce('ReduceSum', axes, 1), over(axes, total))
  }
  // Maxout.
  const pieces: NodeSpec[] = [conv('x', 'a', 'v1'), conv('x', 'b', 'v2'), conv('x', 'c', 'v3')]
  const weights = {
    v1: { dims: [2, 2, 3, 3], data: random(36) },
    v2: { dims: [2, 2, 3, 3], data: random(36) },
    v3: { dims: [2, 2, 3, 3], data: random(36) },
  }
  for (const op of ['Max', 'Min', 'Sum', 'Mean']) {
    await crossed({ input: IMAGE, nodes: [...pieces, { op, inputs: ['a', 'b', 'c'], output: 'y' }], weights })
  }
  const average = (attributes: NonNullable<NodeSpec['attributes']>): ModelSpec => ({
    input: [1, 1, 4, 5],
    nodes: [{ op: 'AveragePool', inputs: ['x'], output: 'y', attributes }],
  })
  const windows = (low: number, high: (size: number) => number) => (x: Float64Array) =>
    [-1, 1, 3].flatMap((top) =>
      [-1, 1, 3].map((left) => {
        const values: number[] = []
        for (let y = Math.max(top, low); y < Math.min(top + 3, high(4)); y++)
          for (let i = Math.max(left, low); i < Math.min(left + 3, high(5)); i++)
            values.push(y < 0 || y >= 4 || i < 0 || i >= 5 ? 0 : x[5 * y + i])
        return total(values) / values.length
      }),
    )
  const shape = { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ceil_mode: 1 }
  await crossed(
    average(shape),
    windows(0, (size) => size),
  )
  await crossed(
    average({ ...shape, count_include_pad: 1 }),
    windows(-1, (size) => size + 1),
  )
})

test('transposed convolution: strides, pads, groups, along a line', async () => {
  const transposed = (input: number[], dims: number[], attributes: NonNullable<NodeSpec['attributes']>): ModelSpec => ({
    input,
    nodes: [{ op: 'ConvTranspose', inputs: ['x', 'k', 'b'], output: 'y', attributes }],
    weights: {
      k: { dims, data: random(dims.reduce((p, d) => p * d, 1)) },
      b: {
        dims: [dims[1] * ((attributes.group as number) ?? 1)],
        data: random(dims[1] * ((attributes.group as number) ?? 1)),
      },
    },
  })
  /** Each input adds its kernel to the output. */
  const scatter = (spec: ModelSpec, strides: number[], pads: number[], out: number[]) => (x: Float64Array) => {
    const { k, b } = spec.weights!
    const [, channels, height, width] = spec.input as number[]
    const groups = (spec.nodes[0].attributes?.group as number) ?? 1
    const [, perGroup, kh, kw] = k.dims
    const [oh, ow] = out
    const y = Array.from({ length: perGroup * groups * oh * ow }, (_, n) => b.data[Math.floor(n / (oh * ow))])
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < height * width; i++)
        for (let m = 0; m < perGroup; m++)
          for (let t = 0; t < kh * kw; t++) {
            const row = Math.floor(i / width) * strides[0] + Math.floor(t / kw) - pads[0]
            const column = (i % width) * strides[1] + (t % kw) - pads[1]
            if (row < 0 || row >= oh || column < 0 || column >= ow) continue
            const filter = Math.floor(c / (channels / groups)) * perGroup + m
            y[(filter * oh + row) * ow + column] += x[c * height * width + i] * k.data[(c * perGroup + m) * kh * kw + t]
          }
    return y
  }
  const plain = transposed([1, 2, 3, 3], [2, 3, 3, 3], {})
  await crossed(plain, scatter(plain, [1, 1], [0, 0], [5, 5]))
  const strided = transposed([1, 2, 3, 4], [2, 3, 3, 3], {
    strides: [2, 3],
    pads: [1, 0, 0, 2],
    output_padding: [1, 0],
  })
  await crossed(strided, scatter(strided, [2, 3], [1, 0], [7, 10]))
  const grouped = transposed([1, 4, 3, 3], [4, 2, 2, 2], { strides: [2, 2], group: 2 })
  await crossed(grouped, scatter(grouped, [2, 2], [0, 0], [6, 6]))
  // Behind an activation, and with pads beyond the kernel.
  const cut = transposed([1, 1, 4, 4], [1, 1, 2, 2], { pads: [2, 2, 1, 2] })
  await crossed(cut, scatter(cut, [1, 1], [2, 2], [2, 1]))
  await crossed({ ...strided, nodes: [relu('x', 'r'), { ...strided.nodes[0], inputs: ['r', 'k', 'b'] }] })
  await crossed({ ...transposed([1, 2, 5], [2, 3, 4], { strides: [2], pads: [1, 1] }) })
})

test('slopes that differ by channel', async () => {
  const k = { dims: [2, 1, 1], data: [0.25, -0.5] }
  await crossed(
    { input: [1, 2, 2, 2], nodes: [{ op: 'PRelu', inputs: ['x', 'k'], output: 'y' }], weights: { k } },
    (x) => [...x].map((value, i) => (value < 0 ? value * k.data[Math.floor(i / 4)] : value)),
  )
})

test("scikit-learn's classifiers: the label is left to the client, one-column probabilities and several inputs and outputs", async () => {
  const layers: NodeSpec[] = [
    { op: 'MatMul', inputs: ['x', 'm'], output: 'a' },
    { op: 'Add', inputs: ['a', 'b'], output: 'c' },
    relu('c', 'd'),
    { op: 'MatMul', inputs: ['d', 'n'], output: 'e' },
  ]
  const weights = {
    m: { dims: [4, 6], data: random(24) },
    b: { dims: [1, 6], data: random(6) },
    n: { dims: [6, 3], data: random(18) },
  }
  const labelled: NodeSpec[] = [
    { op: 'Softmax', inputs: ['e'], output: 'probabilities', attributes: { axis: 1 } },
    { op: 'ArgMax', inputs: ['probabilities'], output: 'at', attributes: { axis: 1 } },
    { op: 'ArrayFeatureExtractor', domain: 'ai.onnx.ml', inputs: ['classes', 'at'], output: 'picked' },
    { op: 'Cast', inputs: ['picked'], output: 'label', attributes: { to: 7 } },
  ]
  const spec: ModelSpec = {
    input: [1, 4],
    nodes: [...layers, ...labelled],
    weights: { ...weights, shape_classes: ints([0, 1, 2]) },
    output: ['label', 'probabilities'],
  }
  assert.equal(lower(spec).outputSize, 3)
  await crossed(spec)
  const mapped: NodeSpec = { op: 'ZipMap', domain: 'ai.onnx.ml', inputs: ['probabilities'], output: 'zipped' }
  await crossed({ ...spec, nodes: [...spec.nodes, mapped], output: ['label', 'zipped'] })
  // Two classes: the logistic function and what is left of one.
  const binary: NodeSpec[] = [
    { op: 'MatMul', inputs: ['x', 'm'], output: 'a' },
    { op: 'Sigmoid', inputs: ['a'], output: 'p' },
    { op: 'Sub', inputs: ['one', 'p'], output: 'q' },
    { op: 'Concat', inputs: ['q', 'p'], output: 'y', attributes: { axis: 1 } },
  ]
  await crossed({
    input: [1, 4],
    nodes: binary,
    weights: { m: { dims: [4, 1], data: random(4) }, one: { dims: [], data: [1] } },
  })
  // Inputs one behind the other, and so the outputs.
  const two: ModelSpec = {
    input: [1, 2],
    more: { z: [1, 3] },
    nodes: [
      { op: 'Gemm', inputs: ['x', 'g'], output: 'p' },
      { op: 'Add', inputs: ['p', 'z'], output: 'q' },
      relu('q', 'r'),
    ],
    weights: { g: { dims: [2, 3], data: [1, 0, 2, 0, 1, -1] } },
    output: ['q', 'r'],
  }
  const sums = (x: Float64Array) => [x[0] + x[2], x[1] + x[3], 2 * x[0] - x[1] + x[4]]
  await crossed(two, (x) => [...sums(x), ...sums(x).map((value) => Math.max(value, 0))])
})
