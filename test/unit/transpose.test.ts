import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { runFloat } from '../../protocol/model/float.js'
import type { Network } from '../../protocol/model/layers.js'
import { lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { openManifest, publish } from '../../protocol/model/plan.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { Prg } from '../../protocol/random.js'
import { transpose } from '../../protocol/ring/linear.js'
import { type ModelSpec, type NodeSpec, onnxModel } from '../helpers/onnx-builder.js'
import { TwoParties } from '../helpers/two-party.js'

const prg = new Prg(new Uint8Array(16).fill(11))
const random = (count: number) => [...prg.ring(count, 24)].map((v) => v / 2 ** 23 - 1)
const lower = (spec: ModelSpec) => lowerGraph(parseOnnx(onnxModel(spec)))
const close = (actual: ArrayLike<number>, expected: ArrayLike<number>) => {
  assert.equal(actual.length, expected.length)
  for (let i = 0; i < actual.length; i++) assert.ok(Math.abs(actual[i] - expected[i]) < 1e-5, `${i}`)
}

const TO_IMAGE = [0, 3, 1, 2]
const FROM_IMAGE = [0, 2, 3, 1]
const turn = (input: string, output: string, perm: number[]): NodeSpec => ({
  op: 'Transpose',
  inputs: [input],
  output,
  attributes: { perm },
})

const weights = {
  w: { dims: [4, 2, 3, 3], data: random(72) },
  v: { dims: [4, 4, 1, 1], data: random(16) },
  bias: { dims: [4], data: random(4) },
  biasImage: { dims: [1, 4, 1, 1], data: [] as number[] },
  shape: { dims: [2], data: [1, 24] },
  fc: { dims: [24, 3], data: random(72) },
}
weights.biasImage.data = weights.bias.data

/** As tf2onnx exports Keras: images with the channels last between the operators, first within them. */
const CHANNELS_LAST: ModelSpec = {
  input: [1, 6, 5, 2],
  nodes: [
    turn('x', 'x1', TO_IMAGE),
    { op: 'Conv', inputs: ['x1', 'w'], output: 'c', attributes: { pads: [1, 1, 1, 1] } },
    turn('c', 'c1', FROM_IMAGE),
    { op: 'Add', inputs: ['c1', 'bias'], output: 'a' },
    { op: 'Relu', inputs: ['a'], output: 'r' },
    turn('r', 'r1', TO_IMAGE),
    { op: 'Conv', inputs: ['r1', 'v'], output: 'd' },
    turn('d', 'd1', FROM_IMAGE),
    { op: 'Add', inputs: ['d1', 'r'], output: 's' },
    { op: 'Relu', inputs: ['s'], output: 't' },
    turn('t', 't1', TO_IMAGE),
    { op: 'MaxPool', inputs: ['t1'], output: 'm', attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
    turn('m', 'm1', FROM_IMAGE),
    { op: 'Reshape', inputs: ['m1', 'shape'], output: 'f' },
    { op: 'MatMul', inputs: ['f', 'fc'], output: 'y' },
  ],
  weights,
}

/** The same up to the pooling, with the channels first throughout. */
const CHANNELS_FIRST: ModelSpec = {
  input: [1, 2, 6, 5],
  nodes: [
    { op: 'Conv', inputs: ['x', 'w'], output: 'c', attributes: { pads: [1, 1, 1, 1] } },
    { op: 'Add', inputs: ['c', 'biasImage'], output: 'a' },
    { op: 'Relu', inputs: ['a'], output: 'r' },
    { op: 'Conv', inputs: ['r', 'v'], output: 'd' },
    { op: 'Add', inputs: ['d', 'r'], output: 's' },
    { op: 'Relu', inputs: ['s'], output: 't' },
    { op: 'MaxPool', inputs: ['t'], output: 'y', attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
  ],
  weights,
}

async function crossed(network: Network): Promise<void> {
  const card = checkCard({ input: { kind: 'tensor', range: [-1, 1] } }, network.inputShape, network.outputSize)
  const model = compileNetwork(network, card)
  const { plan } = openManifest(model.published.bytes, model.published.id).manifest
  const parties = new TwoParties(model)
  const [bundle] = await parties.prepare(1)
  const values = Float64Array.from(random(network.inputShape.reduce((product, dim) => product * dim, 1)))
  const input = quantiseInput(plan, values)
  const expected = runReference(plan, model.secret, input)
  assert.deepEqual((await parties.infer(bundle, input)).outputs, expected)
  const float = runFloat(network, values)
  expected.forEach((v, i) => {
    assert.ok(Math.abs(v / plan.output.scale - float[i]) < 0.08 * Math.max(1, ...float.map(Math.abs)))
  })
}

test('channels last equals channels first, and no transposition costs a garbled stage', async () => {
  const last = lower(CHANNELS_LAST)
  const first = lower(CHANNELS_FIRST)
  assert.equal(last.stages.length, 3)
  const image = Float64Array.from(random(60))
  const features = runFloat(first, transpose({ shape: [6, 5, 2], perm: [2, 0, 1] }, image))
  const flat = transpose({ shape: [4, 3, 2], perm: [1, 2, 0] }, features)
  const expected = [0, 1, 2].map((o) => flat.reduce((sum, v, i) => sum + v * weights.fc.data[3 * i + o], 0))
  close(runFloat(last, image), expected)
  await crossed(last)
})

test('transpositions in front of and behind everything, twice, of parts, and after a reshape', async () => {
  const x = Float64Array.from(random(24))
  const relu = (v: Float64Array) => v.map((value) => Math.max(value, 0))
  const once = lower({
    input: [1, 2, 3, 4],
    nodes: [turn('x', 'a', [0, 2, 1, 3]), { op: 'Relu', inputs: ['a'], output: 'y' }],
  })
  close(runFloat(once, x), relu(transpose({ shape: [2, 3, 4], perm: [1, 0, 2] }, x)))
  await crossed(once)
  const twice = lower({
    input: [1, 2, 3, 4],
    nodes: [turn('x', 'a', [0, 3, 1, 2]), { op: 'Relu', inputs: ['a'], output: 'b' }, turn('b', 'y', [0, 3, 2, 1])],
  })
  const inner = transpose({ shape: [2, 3, 4], perm: [2, 0, 1] }, x)
  close(runFloat(twice, x), relu(transpose({ shape: [4, 2, 3], perm: [2, 1, 0] }, inner)))
  await crossed(twice)
  const reshaped = lower({
    input: [1, 2, 3, 4],
    nodes: [
      turn('x', 'a', [0, 3, 1, 2]),
      { op: 'Reshape', inputs: ['a', 'shape'], output: 'b' },
      turn('b', 'c', [0, 2, 1]),
      { op: 'Relu', inputs: ['c'], output: 'y' },
    ],
    weights: { shape: { dims: [3], data: [1, 6, 4] } },
  })
  close(runFloat(reshaped, x), relu(transpose({ shape: [6, 4], perm: [1, 0] }, inner)))
  await crossed(reshaped)
})

test('convolution, pooling and normalisation along a line', async () => {
  const line = (attributes: Record<string, number[]>) => attributes
  const network = lower({
    input: [1, 2, 9],
    nodes: [
      {
        op: 'Conv',
        inputs: ['x', 'k'],
        output: 'c',
        attributes: line({ pads: [1, 1], strides: [2], kernel_shape: [3] }),
      },
      { op: 'Relu', inputs: ['c'], output: 'r' },
      { op: 'MaxPool', inputs: ['r'], output: 'm', attributes: line({ kernel_shape: [2], strides: [1] }) },
      { op: 'AveragePool', inputs: ['m'], output: 'a', attributes: line({ kernel_shape: [2], strides: [2] }) },
      { op: 'Flatten', inputs: ['a'], output: 'y' },
    ],
    weights: { k: { dims: [3, 2, 3], data: random(18) } },
  })
  const x = Float64Array.from(random(18))
  const kernel = (() => {
    const [linear] = network.stages.map((stage) => stage.linear)
    return linear.weights
  })()
  const at = (c: number, i: number) => (i < 0 || i >= 9 ? 0 : x[9 * c + i])
  const expected = [0, 1, 2].flatMap((m) => {
    const conv = [0, 1, 2, 3, 4].map((o) => {
      let sum = 0
      for (let c = 0; c < 2; c++) for (let k = 0; k < 3; k++) sum += kernel[6 * m + 3 * c + k] * at(c, 2 * o - 1 + k)
      return Math.max(sum, 0)
    })
    const most = [0, 1, 2, 3].map((i) => Math.max(conv[i], conv[i + 1]))
    return [(most[0] + most[1]) / 2, (most[2] + most[3]) / 2]
  })
  close(runFloat(network, x), expected)
  await crossed(network)
})

test('what is no transposition is refused, in a file and in a plan', () => {
  for (const perm of [
    [0, 1, 2],
    [0, 1, 1, 2],
  ]) {
    const spec = { input: [1, 2, 3, 4], nodes: [turn('x', 'a', perm), { op: 'Relu', inputs: ['a'], output: 'y' }] }
    assert.throws(() => lower(spec), { code: 'BAD_MODEL', message: /perm/ })
  }
  const network = lower({
    input: [1, 2, 3],
    nodes: [turn('x', 'a', [0, 2, 1]), { op: 'Relu', inputs: ['a'], output: 'y' }],
  })
  const card = checkCard({ input: { kind: 'tensor', range: [-1, 1] } }, [2, 3], 6)
  const { manifest } = compileNetwork(network, card).published
  for (const bad of [
    { shape: [2, 3], perm: [0, 0] },
    { shape: [2, 3], perm: [1] },
    { shape: [2, 4], perm: [1, 0] },
  ]) {
    const plan = structuredClone(manifest.plan)
    plan.stages[plan.stages.length - 1].transpose = bad
    const { bytes, id } = publish(plan, manifest.commitment)
    assert.throws(() => openManifest(bytes, id), { code: 'BAD_PEER', message: /transposition/ })
  }
})
