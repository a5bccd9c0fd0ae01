import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCard, deriveCard, inputRange } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { runFloat } from '../../protocol/model/float.js'
import type { Network } from '../../protocol/model/layers.js'
import { lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { openManifest } from '../../protocol/model/plan.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { commitmentOf, decodeWeights, encodeWeights } from '../../protocol/model/weights.js'
import { Prg } from '../../protocol/random.js'
import { type ModelSpec, onnxModel } from '../helpers/onnx-builder.js'

const prg = new Prg(new Uint8Array(16).fill(9))
const random = (count: number) => [...prg.ring(count, 24)].map((v) => v / 2 ** 23 - 1)
const lower = (spec: ModelSpec): Network => lowerGraph(parseOnnx(onnxModel(spec)))
const close = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5) => {
  assert.equal(actual.length, expected.length)
  for (let i = 0; i < actual.length; i++)
    assert.ok(Math.abs(actual[i] - expected[i]) < tolerance, `${actual[i]} ~ ${expected[i]} at ${i}`)
}
const stages = (network: Network) =>
  network.stages.flatMap(({ linear, activation }) => [
    linear.geometry.kind,
    ...(activation === undefined ? [] : [activation.fn === 'relu' ? 'relu' : 'activation']),
  ])

const image = [1, 2, 4, 4]
const convWeights = { w: { dims: [3, 2, 3, 3], data: random(54) }, b: { dims: [3], data: random(3) } }
const convNode = { op: 'Conv', inputs: ['x', 'w', 'b'], output: 'y', attributes: { pads: [1, 1, 1, 1] } }

/** Convolution by definition, NCHW, same padding 1, 3x3. */
function convolution(x: number[], w: number[], b: number[], channels: number, filters: number, size: number): number[] {
  const out: number[] = []
  for (let m = 0; m < filters; m++) {
    for (let i = 0; i < size * size; i++) {
      let sum = b[m]
      for (let c = 0; c < channels; c++) {
        for (let t = 0; t < 9; t++) {
          const y = Math.floor(i / size) + Math.floor(t / 3) - 1
          const z = (i % size) + (t % 3) - 1
          if (y >= 0 && y < size && z >= 0 && z < size)
            sum += w[(m * channels + c) * 9 + t] * x[(c * size + y) * size + z]
        }
      }
      out.push(sum)
    }
  }
  return out
}

test('Conv, as ONNX defines it', () => {
  const network = lower({ input: image, nodes: [convNode], weights: convWeights })
  const x = random(32)
  close(runFloat(network, Float64Array.from(x)), convolution(x, convWeights.w.data, convWeights.b.data, 2, 3, 4))
})

test('batch norm before and after a padded convolution folds exactly', () => {
  const norm = (prefix: string, n: number) => ({
    [`${prefix}s`]: { dims: [n], data: random(n) },
    [`${prefix}b`]: { dims: [n], data: random(n) },
    [`${prefix}m`]: { dims: [n], data: random(n) },
    [`${prefix}v`]: { dims: [n], data: random(n).map((v) => v * v + 0.1) },
  })
  const weights = { ...convWeights, ...norm('p', 2), ...norm('q', 3) }
  const network = lower({
    input: image,
    nodes: [
      { op: 'BatchNormalization', inputs: ['x', 'ps', 'pb', 'pm', 'pv'], output: 'n', attributes: { epsilon: 0.001 } },
      { ...convNode, inputs: ['n', 'w', 'b'] },
      { op: 'BatchNormalization', inputs: ['y', 'qs', 'qb', 'qm', 'qv'], output: 'z' },
    ],
    weights,
  })
  assert.deepEqual(stages(network), ['conv'])
  const w = weights as Record<string, { data: number[] }>
  const normalise = (x: number[], p: string, n: number, epsilon: number) =>
    x.map((v, i) => {
      const c = Math.floor((i * n) / x.length)
      const at = (key: string) => w[p + key].data[c]
      return (at('s') * (v - at('m'))) / Math.sqrt(at('v') + epsilon) + at('b')
    })
  const x = random(32)
  const middle = convolution(normalise(x, 'p', 2, 0.001), convWeights.w.data, convWeights.b.data, 2, 3, 4)
  close(runFloat(network, Float64Array.from(x)), normalise(middle, 'q', 3, 1e-5))
})

test('Gemm alpha, beta, transB; MatMul and Add; neighbouring maps merge where that is smaller', () => {
  const g = { dims: [3, 4], data: random(12) }
  const m = { dims: [3, 2], data: random(6) }
  const bias = { dims: [1, 2], data: random(2) }
  const network = lower({
    nodes: [
      { op: 'Gemm', inputs: ['x', 'g', 'c'], output: 'a', attributes: { alpha: 0.5, beta: 2.5, transB: 1 } },
      { op: 'MatMul', inputs: ['a', 'm'], output: 'b' },
      { op: 'Add', inputs: ['b', 'bias'], output: 'y' },
    ],
    weights: { g, c: { dims: [3], data: [1, 2, 3] }, m, bias },
  })
  assert.deepEqual(stages(network), ['dense'])
  const x = random(4)
  const a = [0, 1, 2].map((o) => 0.5 * x.reduce((s, v, i) => s + v * g.data[o * 4 + i], 0) + 2.5 * (o + 1))
  const expected = [0, 1].map((o) => a.reduce((s, v, i) => s + v * m.data[i * 2 + o], bias.data[o]))
  close(runFloat(network, Float64Array.from(x)), expected)
})

test('ReLU moves behind max-pool; dropout, identity, flatten and the final softmax cost nothing', () => {
  const network = lower({
    input: ['N', 1, 4, 4],
    nodes: [
      { op: 'Relu', inputs: ['x'], output: 'r' },
      { op: 'MaxPool', inputs: ['r'], output: 'p', attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
      { op: 'Dropout', inputs: ['p'], output: 'd', attributes: { ratio: 0.5 } },
      { op: 'Flatten', inputs: ['d'], output: 'f' },
      { op: 'Gemm', inputs: ['f', 'w'], output: 'g' },
      { op: 'Softmax', inputs: ['g'], output: 's' },
      { op: 'Log', inputs: ['s'], output: 'y' },
    ],
    weights: { w: { dims: [4, 2], data: random(8) } },
  })
  assert.deepEqual(stages(network), ['identity', 'relu', 'dense'])
})

test('mean pools: folded divisors, before and after weights', () => {
  const network = lower({
    input: [1, 1, 4, 4],
    nodes: [
      { op: 'AveragePool', inputs: ['x'], output: 'p', attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
      { op: 'Conv', inputs: ['p', 'w'], output: 'c' },
      { op: 'GlobalAveragePool', inputs: ['c'], output: 'g' },
      { op: 'Flatten', inputs: ['g'], output: 'y' },
    ],
    weights: { w: { dims: [1, 1, 1, 1], data: [3] } },
  })
  assert.deepEqual(stages(network), ['conv'])
  const x = random(16)
  close(runFloat(network, Float64Array.from(x)), [(3 * x.reduce((s, v) => s + v, 0)) / 16])
})

test('old exports: opset 2, weights among the inputs, Reshape attribute, Gemm broadcast, batch of ten', () => {
  const network = lower({
    opset: 2,
    input: [10, 1, 2, 2],
    nodes: [
      { op: 'Reshape', inputs: ['x'], output: 'r', attributes: { shape: [-1, 4] } },
      { op: 'Gemm', inputs: ['r', 'w', 'b'], output: 'g', attributes: { transB: 1, broadcast: 1 } },
      { op: 'Softmax', inputs: ['g'], output: 'y', attributes: { axis: 1 } },
    ],
    weights: { w: { dims: [2, 4], data: [1, 0, 0, 0, 0, 0, 0, 1] }, b: { dims: [2], data: [5, 6] } },
    weightsAsInputs: true,
  })
  close(runFloat(network, Float64Array.of(1, 2, 3, 4)), [6, 10])
})

test('shape arithmetic around a reshape folds away', () => {
  const network = lower({
    input: ['batch', 2, 2],
    nodes: [
      { op: 'Shape', inputs: ['x'], output: 's' },
      { op: 'Gather', inputs: ['s', 'shape_zero'], output: 'n' },
      { op: 'Concat', inputs: ['n', 'shape_rest'], output: 't', attributes: { axis: 0 } },
      { op: 'Reshape', inputs: ['x', 't'], output: 'f' },
      { op: 'Gemm', inputs: ['f', 'w'], output: 'y' },
    ],
    weights: {
      shape_zero: { dims: [1], data: [0] },
      shape_rest: { dims: [1], data: [-1] },
      w: { dims: [4, 1], data: [1, 1, 1, 1] },
    },
  })
  close(runFloat(network, Float64Array.of(1, 2, 3, 4)), [10])
})

test('what is not supported is refused by node, operator and attribute', () => {
  const w = { dims: [4, 2], data: random(8) }
  const gemm = { op: 'Gemm', inputs: ['x', 'w'], output: 'g' }
  const cases: [ModelSpec, RegExp][] = [
    [{ nodes: [{ op: 'Det', inputs: ['x'], output: 'y' }] }, /node "node_0" \(Det\): operator Det is not supported/],
    [{ nodes: [{ ...gemm, attributes: { transA: 1 } }], weights: { w } }, /Gemm.*transA/],
    [{ nodes: [{ ...gemm, attributes: { surprise: 1 } }], weights: { w } }, /attribute surprise is not supported/],
    [{ nodes: [{ ...gemm, domain: 'com.example' }], weights: { w } }, /com\.example\.Gemm/],
    [{ nodes: [{ op: 'Sub', inputs: ['x', 'x'], output: 'y' }] }, /with itself, which leaves a constant/],
    [{ nodes: [{ op: 'MatMul', inputs: ['x', 'missing'], output: 'y' }] }, /"missing"\) is not a constant/],
    [{ nodes: [gemm], weights: { w: { dims: [3, 2], data: random(6) } } }, /take 3 inputs.*has 4/],
    [{ nodes: [gemm], weights: { w: { dims: [4, 2], data: [...random(7), Number.NaN] } } }, /holds NaN at position 7/],
    [
      { nodes: [gemm, { op: 'Relu', inputs: ['g'], output: 'r' }], weights: { w }, output: 'elsewhere' },
      /does not depend on the input/,
    ],
    [
      {
        nodes: [
          { op: 'Softmax', inputs: ['x'], output: 's' },
          { op: 'Relu', inputs: ['s'], output: 'y' },
        ],
      },
      /follows a softmax/,
    ],
    [{ input: [1, 1, 'height', 4], nodes: [{ op: 'Relu', inputs: ['x'], output: 'y' }] }, /unknown size/],
  ]
  for (const [spec, message] of cases) assert.throws(() => lower(spec), { code: 'BAD_MODEL', message })
})

test('truncated, corrupt and empty files are refused at every length', () => {
  const bytes = onnxModel({ input: image, nodes: [convNode], weights: convWeights })
  for (let length = 0; length < bytes.length; length += 7) {
    assert.throws(
      () => lowerGraph(parseOnnx(bytes.subarray(0, length))),
      { code: 'BAD_MODEL' },
      `first ${length} bytes`,
    )
  }
  for (let i = 0; i < bytes.length; i++) {
    const corrupt = bytes.slice()
    corrupt[i] ^= 0xff
    try {
      lowerGraph(parseOnnx(corrupt))
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'BAD_MODEL', `byte ${i}: ${(error as Error).stack}`)
    }
  }
})

function compile(spec: ModelSpec, range: [number, number] = [-1, 1]) {
  const network = lower(spec)
  const card = checkCard({ input: { kind: 'tensor', range } }, network.inputShape, network.outputSize)
  return { network, model: compileNetwork(network, card) }
}

test('the integer executor stays close to floats, within its rings, on edge inputs', () => {
  const { network, model } = compile({
    input: image,
    nodes: [
      convNode,
      { op: 'Relu', inputs: ['y'], output: 'r' },
      { op: 'Flatten', inputs: ['r'], output: 'f' },
      { op: 'Gemm', inputs: ['f', 'd'], output: 'o' },
    ],
    weights: { ...convWeights, d: { dims: [48, 5], data: random(240) } },
  })
  const { plan } = model.published.manifest
  for (const input of [random(32), Array(32).fill(1), Array(32).fill(-1), Array(32).fill(0)]) {
    const exact = runFloat(network, Float64Array.from(input))
    const integers = runReference(plan, model.secret, quantiseInput(plan, input))
    close(
      Array.from(integers, (v) => v / plan.output.scale),
      exact,
      0.25,
    )
  }
})

test('all-zero filters compile; a bias no ring can hold is refused', () => {
  const zero = { w: { dims: [3, 2, 3, 3], data: Array(54).fill(0) }, b: { dims: [3], data: [0, 1, -1] } }
  const nodes = [convNode, { op: 'Relu', inputs: ['y'], output: 'r' }]
  const { model } = compile({ input: image, nodes, weights: zero })
  const { plan } = model.published.manifest
  const out = runReference(plan, model.secret, quantiseInput(plan, random(32)))
  close(
    Array.from(out, (v) => v / plan.output.scale),
    [...Array(16).fill(0), ...Array(16).fill(1), ...Array(16).fill(0)],
    0.01,
  )
  const huge = { ...convWeights, b: { dims: [3], data: [1e12, 0, 0] } }
  assert.throws(() => compile({ input: image, nodes, weights: huge }), {
    code: 'BAD_MODEL',
    message: /widths cannot be proven at stage 0/,
  })
})

test('inputs outside of the declared range are refused, NaN included', () => {
  const { model } = compile({
    nodes: [{ op: 'Gemm', inputs: ['x', 'w'], output: 'y' }],
    weights: { w: { dims: [4, 2], data: random(8) } },
  })
  const { plan } = model.published.manifest
  for (const bad of [1.5, -2, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => quantiseInput(plan, [0, bad, 0, 0]), { code: 'BAD_INPUT', message: /position 1 is outside/ })
  }
})

test('manifests: id, round trip, and refusal of altered or inconsistent ones', () => {
  const { model } = compile({
    input: image,
    nodes: [
      convNode,
      { op: 'Relu', inputs: ['y'], output: 'r' },
      { op: 'MaxPool', inputs: ['r'], output: 'p', attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
    ],
    weights: convWeights,
  })
  const { id, bytes, manifest } = model.published
  assert.deepEqual(openManifest(bytes, id).manifest, JSON.parse(JSON.stringify(manifest)))
  const altered = bytes.slice()
  altered[bytes.indexOf(0x33)] = 0x34
  assert.throws(() => openManifest(altered, id), { code: 'BAD_PEER', message: /hash/ })
  assert.equal(commitmentOf(decodeWeights(encodeWeights(model.secret), manifest.plan.stages)), manifest.commitment)
})

test('cards: derived, checked against the model, wrong ones refused in words', () => {
  const { card, assumptions } = deriveCard([1, 28, 28])
  assert.deepEqual(inputRange(card), [-4, 4])
  assert.equal(assumptions.length, 3)
  const shape = [3, 8, 8]
  const good = { input: { kind: 'image', mode: 'rgb', size: [8, 8], mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.25] } }
  assert.deepEqual(inputRange(checkCard(good, shape, 10)), [-2, 2])
  const cases: [unknown, RegExp][] = [
    [{}, /input/],
    [{ ...good, colour: 1 }, /colour/],
    [{ input: { ...good.input, size: [9, 9] } }, /243 values/],
    [{ input: { ...good.input, mean: [1] } }, /mean has 1 values/],
    [{ ...good, labels: ['a'] }, /1 labels for 10/],
    [{ input: { kind: 'tensor', range: [1, 0] } }, /low < high/],
  ]
  for (const [raw, message] of cases) assert.throws(() => checkCard(raw, shape, 10), { code: 'BAD_INPUT', message })
})
