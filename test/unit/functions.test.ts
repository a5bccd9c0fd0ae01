import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evaluatePieces } from '../../protocol/circuits/pieces.js'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { fitPieces } from '../../protocol/model/fit-pieces.js'
import { runFloat } from '../../protocol/model/float.js'
import { bentRange, type ScalarFunction, type ScalarOp, scalarFunction } from '../../protocol/model/functions.js'
import { lowerGraph } from '../../protocol/model/lower.js'
import { parseOnnx } from '../../protocol/model/onnx.js'
import { openManifest } from '../../protocol/model/plan.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { Chain } from '../helpers/chain.js'
import { type ModelSpec, type NodeSpec, onnxModel } from '../helpers/onnx-builder.js'
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
  GeluTanh: [],
  Mish: [],
  Erf: [],
  Swish: [1.5],
  Exp: [],
  Log: [],
  Sqrt: [],
  Reciprocal: [],
  Sin: [],
  Cos: [],
  Atan: [],
  Sinh: [],
  Cosh: [],
  Asinh: [],
  Pow: [3],
}
/** Not defined everywhere. */
const PARTIAL = new Set(['Log', 'Sqrt', 'Reciprocal'])
/** Too steep, or with too many waves, for an absolute error over a wide range. */
const STEEP = new Set(['Pow', 'Exp', 'Sinh', 'Cosh', 'Sin', 'Cos'])
const ALL = Object.entries(PARAMETERS)
  .filter(([op]) => !PARTIAL.has(op))
  .map(([op, parameters]) => scalarFunction(op as ScalarOp, parameters))

test('pieces stay within the stated error of every function, at every integer', () => {
  for (const fn of ALL.filter(({ op }) => !STEEP.has(op))) {
    const [scaleIn, scaleOut] = [64, 2 ** 16]
    const { pieces, error } = fitPieces(fn, -512, 511, scaleIn, scaleOut, 0.005)
    assert.ok(error <= 0.005, `${fn.op}: ${error} with ${pieces.knots.length} knots`)
    for (let v = -512; v < 512; v++) {
      const x = (v + (pieces.symmetric ? 0.5 : 0)) / scaleIn
      const miss = Math.abs(evaluatePieces(pieces, v) / scaleOut - fn.apply(x))
      assert.ok(miss <= error + 1e-12, `${fn.op} at ${v}`)
    }
  }
})

test('pieces of functions that only rise never fall', () => {
  for (const [op, bits, scale, pieces] of [
    ['Sigmoid', 7, 16, undefined],
    ['Sigmoid', 9, 64, 10],
    ['Tanh', 7, 32, undefined],
    ['Softplus', 8, 32, 12],
    ['Erf', 9, 100, undefined],
  ] as const) {
    const high = 2 ** bits
    const fit = fitPieces(
      scalarFunction(op, []),
      -high,
      high - 1,
      scale,
      2 ** 13,
      pieces === undefined ? 0.01 : 0,
      pieces,
    )
    let last = Number.NEGATIVE_INFINITY
    for (let v = -high; v < high; v++) {
      const value = evaluatePieces(fit.pieces, v)
      assert.ok(value >= last, `${op} of ${bits} bits falls at ${v}`)
      last = value
    }
  }
})

test('knots: functions linear in pieces keep their own, and a limit is kept', () => {
  const knots = (fn: ScalarFunction, max?: number) => fitPieces(fn, -512, 511, 64, 2 ** 13, 0.001, max).pieces.knots
  assert.deepEqual(knots(scalarFunction('Abs', [])), [0])
  assert.deepEqual(knots(scalarFunction('Clip', [-2, 2])), [-128, 128])
  assert.ok(knots(scalarFunction('Softplus', []), 5).length <= 4)
  // On either side.
  assert.ok(knots(scalarFunction('Sigmoid', []), 5).length <= 2)
})

test('the range in which a function bends', () => {
  const { range, flat } = bentRange(scalarFunction('Sigmoid', []), 0.001)
  assert.ok(flat && range > 6.5 && range < 7.5, `${range}`)
  assert.equal(bentRange(scalarFunction('Softplus', []), 0.001).flat, false)
  assert.ok(Math.abs(bentRange(scalarFunction('Clip', [0, 6]), 0.001).range - 6) < 0.1)
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

/** x through nodes, then compared with f: the graph is one activation. */
function spelledOut(nodes: NodeSpec[], weights: ModelSpec['weights'], f: (x: number) => number): void {
  const network = lowerGraph(parseOnnx(onnxModel({ input: [1, 9], nodes, weights })))
  assert.deepEqual(
    network.stages.map(({ parts, skips, activation }) => [parts, skips.length, activation === undefined]),
    [
      [[{ from: 0 }], 0, false],
      [[{ from: 1 }], 0, true],
    ],
  )
  const x = Float64Array.of(-7, -3, -1.5, -0.2, 0, 0.7, 2, 3.1, 9)
  runFloat(network, x).forEach((v, i) => {
    assert.ok(Math.abs(v - f(x[i])) < 1e-6, `${v} ~ ${f(x[i])}`)
  })
}

test('activations that exporters spell out become one: SiLU, GELU, Mish, HardSwish, ReLU6, and a dead branch goes', () => {
  const node = (op: string, inputs: string[], output: string): NodeSpec => ({ op, inputs, output })
  const constants = {
    root: { dims: [], data: [Math.SQRT2] },
    one: { dims: [], data: [1] },
    half: { dims: [], data: [0.5] },
    three: { dims: [], data: [3] },
    six: { dims: [], data: [6] },
    zero: { dims: [], data: [0] },
  }
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
  const softplus = (x: number) => Math.log1p(Math.exp(x))
  spelledOut([node('Sigmoid', ['x'], 's'), node('Mul', ['x', 's'], 'y')], {}, (x) => x * sigmoid(x))
  spelledOut(
    [
      node('Div', ['x', 'root'], 'a'),
      node('Erf', ['a'], 'b'),
      node('Add', ['b', 'one'], 'c'),
      node('Mul', ['x', 'c'], 'd'),
      node('Mul', ['d', 'half'], 'y'),
    ],
    constants,
    scalarFunction('Gelu', []).apply,
  )
  spelledOut(
    [node('Softplus', ['x'], 's'), node('Tanh', ['s'], 't'), node('Mul', ['x', 't'], 'y')],
    {},
    (x) => x * Math.tanh(softplus(x)),
  )
  spelledOut(
    [
      node('Add', ['x', 'three'], 'a'),
      node('Clip', ['a', 'zero', 'six'], 'b'),
      node('Mul', ['x', 'b'], 'c'),
      node('Div', ['c', 'six'], 'y'),
    ],
    constants,
    scalarFunction('HardSwish', []).apply,
  )
  spelledOut([node('Relu', ['x'], 'r'), node('Clip', ['r', 'zero', 'six'], 'y')], constants, (x) =>
    Math.min(Math.max(x, 0), 6),
  )
  spelledOut([node('Sigmoid', ['x'], 's'), node('Sub', ['s', 'x'], 'y')], {}, (x) => sigmoid(x) - x)
})
