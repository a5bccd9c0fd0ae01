import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import type { Network } from '../../protocol/model/layers.js'
import { lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { argmax, largestIndices, quantiseInput, runReference } from '../../protocol/model/reference.js'
import { prepareCosts } from '../../protocol/offline/prepare.js'
import { stageBytes } from '../../protocol/online/garbled-stage.js'
import { stagesOf } from '../../protocol/online/infer.js'
import { Prg } from '../../protocol/random.js'
import type { ConvGeometry, PoolGeometry } from '../../protocol/ring/linear.js'
import { Chain } from '../helpers/chain.js'
import { TwoParties } from '../helpers/two-party.js'

const prg = new Prg(new Uint8Array(16).fill(3))
const random = (count: number) => Float64Array.from(prg.ring(count, 24), (v) => v / 2 ** 23 - 1)

function conv(input: [number, number, number], filters: number, kernel: number, pad: number, groups = 1): ConvGeometry {
  const size = (n: number) => n + 2 * pad - kernel + 1
  return {
    kind: 'conv',
    input,
    output: [filters, size(input[1]), size(input[2])],
    kernel: [kernel, kernel],
    strides: [1, 1],
    pads: [pad, pad, pad, pad],
    dilations: [1, 1],
    groups,
  }
}

const pool = (input: [number, number, number], kernel: number, stride: number, pad = 0): PoolGeometry => {
  const size = (n: number) => Math.floor((n + 2 * pad - kernel) / stride) + 1
  return {
    input,
    output: [input[0], size(input[1]), size(input[2])],
    kernel: [kernel, kernel],
    strides: [stride, stride],
    pads: [pad, pad, pad, pad],
  }
}

/** Every kind of stage: padded and overlapping max-pool, means before and after weights, folds, plain requantisation. */
function everything(): Network {
  const b = new Chain([2, 9, 9])
  b.affine('normalise', new Float64Array(162).fill(0.5), new Float64Array(162).fill(0.1))
  b.linear('conv', conv([2, 9, 9], 4, 3, 1), random(72), random(324))
  b.relu('relu')
  b.maxPool('maxpool', pool([4, 9, 9], 3, 2, 1))
  b.meanPool('mean', pool([4, 5, 5], 2, 1))
  b.affine(
    'batchnorm',
    random(64)
      .map((v, i) => (i % 16 === 0 ? v : 0.7))
      .fill(0.7),
    new Float64Array(64).fill(-0.2),
  )
  b.linear('grouped', conv([4, 4, 4], 6, 3, 0, 2), random(108), random(24))
  b.meanPool('mean after', pool([6, 2, 2], 2, 2))
  b.relu('relu 2')
  b.reshape([6])
  b.linear('fc1', { kind: 'dense', inputs: 6, outputs: 20 }, random(120), random(20))
  b.linear('fc2', { kind: 'dense', inputs: 20, outputs: 7 }, random(140), random(7))
  b.relu('relu 3')
  return b.finish()
}

for (const reveal of ['outputs', 'label', 'top-3']) {
  test(`two parties equal the reference bit for bit, reveal: ${reveal}`, async () => {
    const network = everything()
    const card = checkCard(
      { input: { kind: 'tensor', range: [-1, 1] }, reveal },
      network.inputShape,
      network.outputSize,
    )
    const parties = new TwoParties(compileNetwork(network, card))
    const bundles = await parties.prepare(3)
    const inputs = [random(162), new Float64Array(162).fill(1), new Float64Array(162).fill(-1)]
    for (const [n, values] of inputs.entries()) {
      const input = quantiseInput(parties.plan, values)
      const expected = runReference(parties.plan, parties.model.secret, input)
      const prediction = await parties.infer(bundles[n], input)
      assert.equal(prediction.label, argmax(expected))
      assert.deepEqual(prediction.labels, largestIndices(expected, reveal === 'top-3' ? 3 : 1))
      if (reveal === 'outputs') assert.deepEqual(prediction.outputs, expected)
      else assert.equal(prediction.outputs, undefined)
    }
    // A bundle is good for one inference.
    await assert.rejects(parties.infer(bundles[0], quantiseInput(parties.plan, inputs[0])), { code: 'UNKNOWN_BUNDLE' })
  })
}

test('a network without activations, and one that is nothing but an activation', async () => {
  const linear = new Chain([5])
  linear.linear('fc', { kind: 'dense', inputs: 5, outputs: 3 }, random(15), random(3))
  const bare = new Chain([6])
  bare.relu('relu')
  for (const network of [linear.finish(), bare.finish()]) {
    const card = checkCard({ input: { kind: 'tensor', range: [-1, 1] } }, network.inputShape, network.outputSize)
    const parties = new TwoParties(compileNetwork(network, card))
    const [bundle] = await parties.prepare(1)
    const input = quantiseInput(parties.plan, random(network.inputShape[0]))
    assert.deepEqual(
      (await parties.infer(bundle, input)).outputs,
      runReference(parties.plan, parties.model.secret, input),
    )
  }
})

test('MNIST (Fig. 12): bit for bit, bytes as the plan says, no base OT the second time', async () => {
  const network = lowerGraph(parseOnnx(readFileSync('models/mnist.onnx')))
  const card = checkCard(
    { input: { kind: 'image', mode: 'grayscale', size: [28, 28] } },
    network.inputShape,
    network.outputSize,
  )
  const parties = new TwoParties(compileNetwork(network, card))
  const bundles = await parties.prepare(2)
  const costs = prepareCosts(parties.plan, 2)
  assert.ok(parties.offline.sent - costs.bytesUp < 1000)
  assert.ok(parties.offline.received - costs.bytesDown < 1000)
  const stages = stagesOf(parties.plan).flatMap((stage) => (stage === undefined ? [] : [stageBytes(stage)]))
  const down = stages.reduce((sum, s) => sum + s.down, 0)
  const received: number[] = []
  for (const bundle of bundles) {
    const input = quantiseInput(parties.plan, random(784).map(Math.abs))
    assert.deepEqual(
      (await parties.infer(bundle, input)).outputs,
      runReference(parties.plan, parties.model.secret, input),
    )
    assert.ok(parties.online.received - down < 14_000, `${parties.online.received} bytes, ${down} of labels and tables`)
    received.push(parties.online.received)
  }
  // 128 points of 65 bytes, the sums of the backward extension's trees, their frames, less the flag that says so
  assert.equal(received[0] - received[1], 128 * 65 + 5 + 128 * 2 * 16 + 5 - 2)
})
