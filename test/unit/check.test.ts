import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { checkModel } from '../../daemon/check.js'
import { importModel, openModel } from '../../daemon/import.js'
import { readInputs } from '../../daemon/input-file.js'
import { summarisePlan } from '../../daemon/plan-summary.js'
import { parsePrecision } from '../../protocol/model/precision.js'

const onnx = readFileSync('models/mnist.onnx')
const card = readFileSync('models/mnist.yaml', 'utf8')

test('model check: costs as the plan of the model would have them, accuracy on samples and on synthetic inputs', async () => {
  const opened = openModel(onnx, card)
  const shape = { card: opened.card, input: { shape: opened.network.inputShape } }
  const samples: Float64Array[] = []
  for (const file of globSync('models/samples/*.png'))
    samples.push(...(await readInputs(file, readFileSync(file), shape)))
  const check = checkModel(opened, { samples })
  const added = summarisePlan(importModel(onnx, card, { samples }).model.published)
  assert.deepEqual(check.bytes, added.bytes)
  assert.equal(check.andGates, added.andGates)
  assert.equal(check.rounds, 4)
  assert.equal(check.dominating, 0)
  assert.deepEqual([check.accuracy.inputs, check.accuracy.sameLabel, check.accuracy.synthetic], [10, 10, false])
  assert.ok(check.accuracy.largestError < 0.05 * check.accuracy.largestOutput)
  assert.ok(checkModel(opened, {}).accuracy.synthetic)
})

test('precision: less takes fewer bytes and errs more, and what is none is refused', () => {
  const opened = openModel(onnx, card)
  const [low, usual, high] = ['low', 'default', 'high'].map((name) =>
    checkModel(opened, { precision: parsePrecision(name) }),
  )
  assert.ok(low.bytes.online.down < usual.bytes.online.down && usual.bytes.online.down < high.bytes.online.down)
  assert.ok(low.accuracy.largestError > high.accuracy.largestError)
  assert.deepEqual(parsePrecision('8/10'), { weightBits: 8, activationBits: 10, tolerance: 0.005 })
  for (const text of ['', '9', '4/9', '9/17', '9/9/9', 'toString', '-1/9']) {
    assert.throws(() => parsePrecision(text), { code: 'BAD_INPUT', message: /is no precision/ })
  }
})
