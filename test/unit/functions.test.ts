import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evaluatePieces } from '../../protocol/circuits/pieces.js'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { fitPieces } from '../../protocol/model/fit-pieces.js'
import { runFloat } from '../../protocol/model/float.js'
import { applyFunction, bentRange, type ScalarFunction, type ScalarOp } from '../../protocol/model/functions.js'
import { openManifest } from '../../protocol/model/plan.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { Chain } from '../helpers/chain.js'
import { TwoParties } from '../helpers/two-party.js'

const PARAMETERS: Record<ScalarOp, number[]> = {
  LeakyRelu: [0.01],
  Clip: [0, 6],
  Abs: [],
  HardSigmoid: [0.2, 0.5],
  HardSwish: [],
  Sigmoid: [],
  Tanh: [],
  Softplus: [],
  Softsign: [],
  Elu: [1],
  Celu: [2],
  Selu: [1.67326, 1.0507],
  Gelu: [],
  Mish: [],
}
const ALL = Object.entries(PARAMETERS).map(([op, parameters]) => ({ op, parameters }) as ScalarFunction)

test('pieces stay within the stated error of every function, at every integer', () => {
  for (const fn of ALL) {
    const [scaleIn, scaleOut] = [64, 2 ** 16]
    const { pieces, error } = fitPieces(fn, -512, 511, scaleIn, scaleOut, 0.005)
    assert.ok(error <= 0.005, `${fn.op}: ${error} with ${pieces.knots.length} knots`)
    for (let v = -512; v < 512; v++) {
      const miss = Math.abs(evaluatePieces(pieces, v) / scaleOut - applyFunction(fn, v / scaleIn))
      assert.ok(miss <= error + 1e-12, `${fn.op} at ${v}`)
    }
  }
})

test('knots: functions linear in pieces keep their own, and a limit is kept', () => {
  const knots = (fn: ScalarFunction, max?: number) => fitPieces(fn, -512, 511, 64, 2 ** 13, 0.001, max).pieces.knots
  assert.deepEqual(knots({ op: 'Abs', parameters: [] }), [0])
  assert.deepEqual(knots({ op: 'Clip', parameters: [-2, 2] }), [-128, 128])
  assert.ok(knots({ op: 'Sigmoid', parameters: [] }, 5).length <= 5)
})

test('the range in which a function bends', () => {
  const { range, flat } = bentRange({ op: 'Sigmoid', parameters: [] }, 0.001)
  assert.ok(flat && range > 6.5 && range < 7.5, `${range}`)
  assert.equal(bentRange({ op: 'Softplus', parameters: [] }, 0.001).flat, false)
  assert.ok(Math.abs(bentRange({ op: 'Clip', parameters: [0, 6] }, 0.001).range - 6) < 0.1)
})

test('networks of every function: two parties equal the reference, which is close to the float network', async () => {
  const wave = (count: number, step: number) => Float64Array.from({ length: count }, (_, i) => Math.sin(i * step))
  for (const fn of ['square' as const, ...ALL]) {
    const what = typeof fn === 'string' ? fn : fn.op
    const b = new Chain([6])
    b.linear('fc1', { kind: 'dense', inputs: 6, outputs: 24 }, wave(144, 1.3), wave(24, 0.7))
    b.scalar(what, fn)
    b.linear('fc2', { kind: 'dense', inputs: 24, outputs: 4 }, wave(96, 2.1), wave(4, 0.5))
    const network = b.finish()
    const card = checkCard({ input: { kind: 'tensor', range: [-2, 2] } }, [6], 4)
    const precision = { weightBits: 12, activationBits: 11, tolerance: 0.002 }
    const model = compileNetwork(network, card, { precision })
    // What is published is what a client accepts.
    const { bytes, id } = model.published
    const { plan } = openManifest(bytes, id).manifest
    const parties = new TwoParties(model)
    const bundles = await parties.prepare(2)
    for (const [n, values] of [wave(6, 1), new Float64Array(6).fill(2)].entries()) {
      const input = quantiseInput(plan, values)
      const expected = runReference(plan, model.secret, input)
      assert.deepEqual((await parties.infer(bundles[n], input)).outputs, expected, what)
      const float = runFloat(network, values)
      const largest = Math.max(...float.map(Math.abs), 1)
      // The stated error on 24 values with weights of 1 at most, and rounding.
      const allowed = 24 * (plan.stages[0].activation?.approximates?.error ?? 0) + 0.05 * largest
      expected.forEach((v, i) => {
        assert.ok(
          Math.abs(v / plan.output.scale - float[i]) < allowed,
          `${what}: ${v / plan.output.scale}, ${float[i]}`,
        )
      })
    }
  }
})
