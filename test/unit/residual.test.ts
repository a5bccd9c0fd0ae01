import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { runFloat } from '../../protocol/model/float.js'
import type { Network, NetworkStage } from '../../protocol/model/layers.js'
import { lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { openManifest, type Plan, publish } from '../../protocol/model/plan.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { Prg } from '../../protocol/random.js'
import { type ModelSpec, onnxModel } from '../helpers/onnx-builder.js'
import { TwoParties } from '../helpers/two-party.js'

const prg = new Prg(new Uint8Array(16).fill(9))
const random = (count: number) => [...prg.ring(count, 24)].map((v) => v / 2 ** 23 - 1)
const lower = (spec: ModelSpec) => lowerGraph(parseOnnx(onnxModel(spec)))

/** Two residual blocks, the second with a convolution of stride 2 beside it, a mean over the image and a dense layer. */
const RESIDUAL: ModelSpec = {
  input: [1, 2, 6, 6],
  nodes: [
    { op: 'Conv', inputs: ['x', 'w0'], output: 'c0', attributes: { pads: [1, 1, 1, 1] } },
    { op: 'Relu', inputs: ['c0'], output: 'r0' },
    { op: 'Conv', inputs: ['r0', 'w1'], output: 'c1', attributes: { pads: [1, 1, 1, 1] } },
    { op: 'Relu', inputs: ['c1'], output: 'r1' },
    { op: 'Conv', inputs: ['r1', 'w2'], output: 'c2', attributes: { pads: [1, 1, 1, 1] } },
    { op: 'Add', inputs: ['c2', 'r0'], output: 's1' },
    { op: 'Relu', inputs: ['s1'], output: 'r2' },
    { op: 'Conv', inputs: ['r2', 'w3'], output: 'c3', attributes: { pads: [1, 1, 1, 1], strides: [2, 2] } },
    { op: 'Conv', inputs: ['r2', 'w4'], output: 'c4', attributes: { strides: [2, 2] } },
    { op: 'Add', inputs: ['c4', 'c3'], output: 's2' },
    { op: 'Relu', inputs: ['s2'], output: 'r3' },
    { op: 'GlobalAveragePool', inputs: ['r3'], output: 'g' },
    { op: 'Flatten', inputs: ['g'], output: 'f' },
    { op: 'Gemm', inputs: ['f', 'w5'], output: 'y' },
  ],
  weights: {
    w0: { dims: [4, 2, 3, 3], data: random(72) },
    w1: { dims: [4, 4, 3, 3], data: random(144) },
    w2: { dims: [4, 4, 3, 3], data: random(144) },
    w3: { dims: [4, 4, 3, 3], data: random(144) },
    w4: { dims: [4, 4, 1, 1], data: random(16) },
    w5: { dims: [4, 3], data: random(12) },
  },
}

/** The value that a stage takes. */
function taken({ parts: [part] }: NetworkStage): number | undefined {
  return 'from' in part ? part.from : undefined
}

function compiled(network: Network, reveal: 'outputs' | 'label' = 'outputs') {
  const card = checkCard({ input: { kind: 'tensor', range: [-1, 1] }, reveal }, network.inputShape, network.outputSize)
  return compileNetwork(network, card)
}

async function crossed(network: Network): Promise<void> {
  const model = compiled(network)
  // What is published is what a client accepts.
  const { plan } = openManifest(model.published.bytes, model.published.id).manifest
  const parties = new TwoParties(model)
  const size = network.inputShape.reduce((product, dim) => product * dim, 1)
  const bundles = await parties.prepare(3)
  for (const [n, values] of [random(size), Array(size).fill(1), Array(size).fill(-1)].entries()) {
    const input = quantiseInput(plan, values)
    const expected = runReference(plan, model.secret, input)
    assert.deepEqual((await parties.infer(bundles[n], input)).outputs, expected)
    const float = runFloat(network, Float64Array.from(values))
    const largest = Math.max(1, ...float.map(Math.abs))
    expected.forEach((v, i) => {
      assert.ok(Math.abs(v / plan.output.scale - float[i]) < 0.08 * largest, `${v / plan.output.scale} ~ ${float[i]}`)
    })
  }
}

test('residual blocks: the sum enters the next activation, a second convolution becomes a value of its own', async () => {
  const network = lower(RESIDUAL)
  assert.deepEqual(
    network.stages.map((stage) => [taken(stage), stage.skips.map((skip) => skip.from)]),
    [
      [0, []],
      [1, []],
      [2, [1]],
      [3, []],
      [3, [4]],
      [5, []],
    ],
  )
  await crossed(network)
})

test('sums of values without weights, differences, and a sum at the end', async () => {
  const weights = { w: { dims: [5, 5], data: random(25) }, v: { dims: [5, 5], data: random(25) } }
  const gemm = (input: string, w: string, output: string) => ({ op: 'Gemm', inputs: [input, w], output })
  const relu = (input: string, output: string) => ({ op: 'Relu', inputs: [input], output })
  for (const [op, inputs] of [
    ['Add', ['a', 'b']],
    ['Sub', ['a', 'b']],
    ['Sub', ['p', 'a']],
    ['Sub', ['a', 'p']],
    ['Add', ['x', 'p']],
  ] as const) {
    const sum = { op, inputs: [...inputs], output: 's' }
    const start = [gemm('x', 'w', 'p'), relu('p', 'a'), gemm('x', 'v', 'q'), relu('q', 'b')]
    await crossed(lower({ input: [1, 5], nodes: [...start, sum, { ...relu('s', 'y') }], weights }))
    await crossed(lower({ input: [1, 5], nodes: [...start, { ...sum, output: 'y' }], weights }))
    // What follows a sum other than an activation rescales it first.
    await crossed(lower({ input: [1, 5], nodes: [...start, sum, gemm('s', 'w', 'y')], weights }))
  }
})

test('what several nodes use is not changed for one of them', () => {
  const network = lower({
    input: [1, 1, 4, 4],
    nodes: [
      { op: 'MaxPool', inputs: ['x'], output: 'm', attributes: { kernel_shape: [2, 2] } },
      { op: 'Identity', inputs: ['m'], output: 'n' },
      { op: 'Relu', inputs: ['n'], output: 'r' },
      { op: 'Add', inputs: ['r', 'm'], output: 'y' },
    ],
    weights: {},
  })
  const image = Float64Array.from({ length: 16 }, (_, i) => (i % 4) - 8 + i)
  const largest = (y: number, x: number) => Math.max(...[0, 1, 4, 5].map((d) => image[4 * y + x + d]))
  const maxima = [0, 1, 2].flatMap((y) => [0, 1, 2].map((x) => largest(y, x)))
  assert.deepEqual(
    [...runFloat(network, image)],
    maxima.map((v) => v + Math.max(v, 0)),
  )
})

test('multiples of one tensor add up without an activation', async () => {
  const network = lower({
    input: [1, 5],
    nodes: [
      { op: 'Gemm', inputs: ['x', 'w'], output: 'a' },
      { op: 'Mul', inputs: ['a', 'half'], output: 'b' },
      { op: 'Add', inputs: ['a', 'b'], output: 'y' },
    ],
    weights: { w: { dims: [5, 5], data: random(25) }, half: { dims: [], data: [0.5] } },
  })
  assert.ok(network.stages.every(({ activation }) => activation === undefined || activation.fn === 'identity'))
  await crossed(network)
})

test('a function without a finite value somewhere is refused in words', () => {
  const network = lower({
    input: [1, 4],
    nodes: [
      { op: 'Tanh', inputs: ['x'], output: 't' },
      { op: 'Div', inputs: ['x', 't'], output: 'y' },
    ],
  })
  assert.throws(() => compiled(network), { code: 'BAD_MODEL', message: /no finite value at 0/ })
})

test('hidden tensors of other shapes or operators are refused in words', () => {
  const weights = { w: { dims: [4, 2], data: random(8) }, v: { dims: [4, 4], data: random(16) } }
  const pair = [
    { op: 'Gemm', inputs: ['x', 'w'], output: 'a' },
    { op: 'Gemm', inputs: ['x', 'v'], output: 'b' },
  ]
  const refused = (op: string, inputs: string[], message: RegExp) =>
    assert.throws(() => lower({ input: [1, 4], nodes: [...pair, { op, inputs, output: 'y' }], weights }), {
      code: 'BAD_MODEL',
      message,
    })
  refused('Add', ['a', 'b'], /shapes \[N,2\] and \[N,4\]/)
  refused('Div', ['x', 'b'], /divides by a hidden value/)
  refused('Add', ['a', 'nowhere'], /"nowhere"/)
})

test('a plan whose stages take values that are not there, or of other sizes, is refused', () => {
  const { manifest } = compiled(lower(RESIDUAL)).published
  const broken = (change: (plan: Plan) => void, message: RegExp) => {
    const plan = structuredClone(manifest.plan)
    change(plan)
    const { bytes, id } = publish(plan, manifest.commitment)
    assert.throws(() => openManifest(bytes, id), { code: 'BAD_PEER', message })
  }
  broken((plan) => {
    plan.stages[2].parts = [{ from: 3, factor: 1 }]
  }, /not there yet/)
  broken((plan) => {
    plan.stages[1].skips = [{ from: 2, factor: 1 }]
  }, /not there yet/)
  broken((plan) => {
    plan.stages[4].skips = [{ from: 1, factor: 1 }]
  }, /other sizes/)
  broken((plan) => {
    plan.stages[3].parts = [{ from: 0, factor: 1 }]
  }, /takes 144 elements where 72 come/)
  broken((plan) => {
    plan.stages[3].parts = [{ from: 3, factor: 2 }]
  }, /not an identity/)
  broken((plan) => {
    plan.stages[2].skips = Array(2000).fill({ from: 1, factor: 1 })
  }, /skips/)
})
