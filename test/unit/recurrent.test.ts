import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { runFloatStep } from '../../protocol/model/float.js'
import { type LowerOptions, lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { openManifest, type Plan, publish } from '../../protocol/model/plan.js'
import { quantiseInput, runReferenceStep } from '../../protocol/model/reference.js'
import { withRescaledProducts } from '../../protocol/model/requantise.js'
import { type ClientSession, newSession } from '../../protocol/online/infer.js'
import { type ModelSpec, onnxModel } from '../helpers/onnx-builder.js'
import { gruStep, lstmStep, random } from '../helpers/recurrent.js'
import { TwoParties } from '../helpers/two-party.js'
import { recurrentTwin } from '../twins/recurrent.js'

function recurrent(spec: ModelSpec, input: object, options?: LowerOptions) {
  const network = lowerGraph(parseOnnx(onnxModel(spec)), options)
  const card = checkCard({ input }, network.inputShape, network.outputSize)
  return { network, parties: new TwoParties(compileNetwork(network, card)) }
}

const oneHot = (index: number) => Float64Array.from({ length: 6 }, (_, i) => Number(i === index))

test('an LSTM over words: every step of two sessions equals the reference, which stays close to the float network', async () => {
  const { network, parties } = recurrent(lstmStep(), { kind: 'one-hot' })
  const { model } = parties
  const { plan } = openManifest(model.published.bytes, model.published.id).manifest
  assert.deepEqual(
    plan.states.map(({ name, size }) => [name, size]),
    [
      ['h', 5],
      ['c', 5],
    ],
  )
  const words = [0, 5, 2, 2, 1, 3, 4, 0, 0, 5]
  const bundles = await parties.prepare(2 * words.length)
  const run = async (start: ClientSession, length: number) => {
    let session: ClientSession | undefined = start
    let states: Uint32Array[] | undefined
    let floats: Float64Array[] | undefined
    for (const word of words.slice(0, length)) {
      const input = quantiseInput(plan, oneHot(word))
      const expected = runReferenceStep(plan, model.secret, input, states)
      const float = runFloatStep(network, oneHot(word), floats)
      const answer = await parties.infer(bundles.pop()!, input, session)
      assert.deepEqual(answer.outputs, expected.outputs)
      expected.outputs.forEach((v, i) => {
        assert.ok(Math.abs(v / plan.output.scale - float.outputs[i]) < 0.05)
      })
      session = answer.session
      states = expected.states
      floats = float.states
    }
    assert.equal(session?.step, length)
  }
  await run(newSession(plan), words.length)
  await run(newSession(plan), 3)
  // Alone: from zeros.
  const input = quantiseInput(plan, oneHot(3))
  const alone = await parties.infer(bundles.pop()!, input)
  assert.deepEqual(alone.outputs, runReferenceStep(plan, model.secret, input, undefined).outputs)
  assert.equal(alone.session, undefined)
})

test('a GRU whose only output is its state, told by the card', async () => {
  const { network, parties } = recurrent(
    gruStep(),
    { kind: 'tensor', range: [-1, 1] },
    { states: { h: 'next' }, output: 'next' },
  )
  const { plan, model } = parties
  let session: ClientSession | undefined = newSession(plan)
  let states: Uint32Array[] | undefined
  let floats: Float64Array[] | undefined
  for (const bundle of await parties.prepare(8)) {
    const values = Float64Array.from(random(5))
    const input = quantiseInput(plan, values)
    const expected = runReferenceStep(plan, model.secret, input, states)
    const float = runFloatStep(network, values, floats)
    const answer = await parties.infer(bundle, input, session)
    assert.deepEqual(answer.outputs, expected.outputs)
    float.outputs.forEach((v, i) => {
      assert.ok(Math.abs(expected.outputs[i] / plan.output.scale - v) < 0.05)
    })
    session = answer.session
    states = expected.states
    floats = float.states
  }
})

test("ONNX's LSTM, GRU and RNN over a sequence: directions, peepholes, batches, and both ways to reset", async () => {
  const base = {
    time: 3,
    batch: 2,
    inputs: 3,
    hidden: 4,
    directions: 1,
    reverse: false,
    linearBeforeReset: false,
    peepholes: false,
  } as const
  for (const given of [
    { ...base, kind: 'LSTM', directions: 2 },
    { ...base, kind: 'LSTM', peepholes: true, reverse: true, batch: 1 },
    { ...base, kind: 'GRU', linearBeforeReset: true },
    { ...base, kind: 'GRU', directions: 2, batch: 1 },
    { ...base, kind: 'RNN', reverse: true },
  ] as const) {
    const { kind, time, batch, inputs, hidden, directions } = given
    const gates = { RNN: 1, GRU: 3, LSTM: 4 }[kind]
    const sizes = {
      w: [directions, gates * hidden, inputs],
      r: [directions, gates * hidden, hidden],
      b: [directions, 2 * gates * hidden],
      h: [directions, batch, hidden],
      p: [directions, 3 * hidden],
    }
    const weights = Object.fromEntries(
      Object.entries(sizes).map(([name, dims]) => [name, { dims, data: random(dims.reduce((a, d) => a * d, 1)) }]),
    )
    const attributes = {
      hidden_size: hidden,
      direction: directions === 2 ? 'bidirectional' : given.reverse ? 'reverse' : 'forward',
      ...(kind === 'GRU' && { linear_before_reset: Number(given.linearBeforeReset) }),
    }
    const operands = ['x', 'w', 'r', 'b', '', 'h', ...(given.peepholes ? ['', 'p'] : [])]
    const output = kind === 'LSTM' ? ['y', 'yh', 'yc'] : ['y', 'yh']
    const spec = {
      input: [time, batch, inputs],
      nodes: [{ op: kind, inputs: operands, output, attributes }],
      weights,
      output,
    }
    const { network, parties } = recurrent(spec, { kind: 'tensor', range: [-1, 1] })
    const { plan, model } = parties
    const x = random(time * batch * inputs)
    const [w, r, b, h0, p] = ['w', 'r', 'b', 'h', 'p'].map((name) => weights[name].data)
    const expected = recurrentTwin({ ...given, w, r, b, h0, p: given.peepholes ? p : [] }, x)
    const float = runFloatStep(network, Float64Array.from(x), undefined).outputs
    assert.equal(float.length, expected.length)
    expected.forEach((v, i) => {
      assert.ok(Math.abs(float[i] - v) < 1e-6, `${kind}: ${float[i]} = ${v} at ${i}`)
    })
    const input = quantiseInput(plan, x)
    const outputs = runReferenceStep(plan, model.secret, input, undefined).outputs
    outputs.forEach((v, i) => {
      assert.ok(
        Math.abs(v / plan.output.scale - expected[i]) < 0.08,
        `${kind}: ${v / plan.output.scale} ~ ${expected[i]}`,
      )
    })
    const [bundle] = await parties.prepare(1)
    assert.deepEqual((await parties.infer(bundle, input)).outputs, outputs)
  }
})

test('products may be rescaled before weights: the same network, its states included', async () => {
  const { network } = recurrent(lstmStep(), { kind: 'one-hot' })
  const rescaled = withRescaledProducts(network)
  assert.ok(rescaled !== undefined)
  // h goes into the gates of the next step and into the logits, c only into products.
  assert.equal(rescaled.stages.length, network.stages.length + 1)
  const [h, c] = rescaled.states.map(({ next }) => rescaled.stages[next - 3].activation?.fn)
  assert.deepEqual([h, c], ['identity', 'product'])
  const card = checkCard({ input: { kind: 'one-hot' } }, network.inputShape, network.outputSize)
  const parties = new TwoParties(compileNetwork(rescaled, card))
  const { plan, model } = parties
  let session: ClientSession | undefined = newSession(plan)
  let states: Uint32Array[] | undefined
  let floats: Float64Array[] | undefined
  for (const bundle of await parties.prepare(3)) {
    const input = quantiseInput(plan, oneHot(2))
    const expected = runReferenceStep(plan, model.secret, input, states)
    const float = runFloatStep(network, oneHot(2), floats)
    const answer = await parties.infer(bundle, input, session)
    assert.deepEqual(answer.outputs, expected.outputs)
    float.outputs.forEach((v, i) => {
      assert.ok(Math.abs(expected.outputs[i] / plan.output.scale - v) < 0.05)
    })
    ;({ session } = answer)
    ;({ states } = expected)
    floats = float.states
  }
  assert.equal(
    withRescaledProducts(lowerGraph(parseOnnx(onnxModel({ nodes: [{ op: 'Relu', inputs: ['x'], output: 'y' }] })))),
    undefined,
  )
})

test('a step may be made again, of a session that the host does not know it is refused before a bundle is burned', async () => {
  const { parties } = recurrent(lstmStep(), { kind: 'one-hot' })
  const { plan, model } = parties
  const bundles = await parties.prepare(5)
  const [first, second] = [1, 4].map((word) => quantiseInput(plan, oneHot(word)))
  const one = await parties.infer(bundles[0], first, newSession(plan))
  await parties.infer(bundles[1], second, one.session)
  const again = await parties.infer(bundles[2], second, one.session)
  const { states } = runReferenceStep(plan, model.secret, first, undefined)
  assert.deepEqual(again.outputs, runReferenceStep(plan, model.secret, second, states).outputs)
  const unknown = { ...one.session!, id: new Uint8Array(16) }
  await assert.rejects(parties.infer(bundles[3], second, unknown), { code: 'UNKNOWN_SESSION' })
  await parties.infer(bundles[3], second, one.session)
})

test('inputs that are not one-hot, recurrences without a bound, and wrong states are refused in words', () => {
  const { parties } = recurrent(lstmStep(), { kind: 'one-hot' })
  for (const values of [Array(6).fill(0), [1, 1, 0, 0, 0, 0]]) {
    assert.throws(() => quantiseInput(parties.plan, values), { code: 'BAD_INPUT', message: /one-hot/ })
  }
  const growing: ModelSpec = {
    input: [1, 3],
    more: { s: [1, 3] },
    nodes: [
      { op: 'Add', inputs: ['x', 's'], output: 's_out' },
      { op: 'Relu', inputs: ['s_out'], output: 'y' },
    ],
    output: ['y', 's_out'],
  }
  assert.throws(() => recurrent(growing, { kind: 'tensor', range: [-1, 1] }), {
    code: 'BAD_MODEL',
    message: /do not settle/,
  })
  assert.throws(() => recurrent(lstmStep(), { kind: 'one-hot' }, { states: { h: 'nothing' } }), {
    code: 'BAD_MODEL',
    message: /h: nothing/,
  })
})

test('plans whose states, views or products do not fit are refused', () => {
  const { manifest } = recurrent(lstmStep(), { kind: 'one-hot' }).parties.model.published
  const broken = (change: (plan: Plan) => void, message: RegExp) => {
    const plan = structuredClone(manifest.plan)
    change(plan)
    const { bytes, id } = publish(plan, manifest.commitment)
    assert.throws(() => openManifest(bytes, id), { code: 'BAD_PEER', message })
  }
  const product = manifest.plan.stages.findIndex((s) => s.activation?.fn === 'product')
  broken((plan) => {
    plan.states[0].next = 0
  }, /another size/)
  broken((plan) => {
    plan.states[0].next = 99
  }, /another size/)
  broken((plan) => {
    plan.states = Array.from({ length: 5 }, () => ({ ...plan.states[0], size: 1 << 24 }))
  }, /states are too large/)
  broken((plan) => {
    plan.stages[0].parts = [{ from: 0, factor: 1, view: { offset: 1, sizes: [6], strides: [1] } }]
  }, /beyond a value/)
  broken((plan) => {
    plan.stages[0].parts = [{ from: 0, factor: 1, view: { offset: 0, sizes: [6], strides: [-1] } }]
  }, /beyond a value/)
  broken((plan) => {
    plan.stages[0].ring = 2
  }, /smaller ring/)
  broken((plan) => {
    plan.stages[product].activation!.terms = undefined
  }, /lacks its terms/)
  broken((plan) => {
    const [term] = plan.stages[product].activation!.terms!
    plan.stages[product].activation!.terms = [{ ...term, left: { ...term.left, shift: 30 } }]
  }, /of one size|more bits/)
})
