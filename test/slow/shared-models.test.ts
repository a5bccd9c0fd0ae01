/**
 * The networks of ../shared/models through two daemons, bit for bit against the reference executor. Skipped visibly where
 * that folder is not there.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { CIFAR10_CARD, MNIST_CARD } from '../../bench/networks.js'
import { oneHot, PTB_MODEL, ptbCard, ptbText, ptbVocabulary, surprise } from '../../bench/ptb.js'
import { importModel } from '../../daemon/import.js'
import type { PlanSummary } from '../../daemon/plan-summary.js'
import { runFloatStep } from '../../protocol/model/float.js'
import { quantiseInput, runReferenceStep } from '../../protocol/model/reference.js'
import { outcome, type RunningDaemon, run } from '../../scripts/processes.js'
import { type Line, Nodes, parseLines, referenceOutputs } from '../helpers/nodes.js'

const SHARED = '../shared'
const skip = existsSync(join(SHARED, 'models')) ? false : `${SHARED}/models is not here`

describe('networks of ../shared', { skip }, () => {
  const nodes = new Nodes()
  let host = ''
  let client = ''
  let hosting: RunningDaemon

  before(async () => {
    host = await nodes.repo('host')
    client = await nodes.repo('client')
    hosting = await nodes.start(host)
    await nodes.start(client)
  })
  after(() => nodes.close())

  async function check(
    onnx: string,
    card: string | undefined,
    files: string[],
    label?: (file: string, row: number) => string | undefined,
  ) {
    const name = onnx.replace('.onnx', '')
    const path = join(SHARED, 'models', onnx)
    const cardFile = card === undefined ? undefined : nodes.path(`${name}.yaml`)
    if (cardFile !== undefined) writeFileSync(cardFile, card!)
    await run([
      'model',
      'add',
      path,
      '--name',
      name,
      '--repo',
      host,
      ...(cardFile === undefined ? [] : ['--card', cardFile]),
    ])
    const result = await outcome([
      'query',
      '--peer',
      hosting.addresses[0],
      '--model',
      name,
      '--json',
      '--repo',
      client,
      ...files,
    ])
    assert.equal(result.code, 0, result.stderr)
    const lines = parseLines(result.stdout)
    const expected = await referenceOutputs(path, cardFile, files)
    assert.equal(lines.length, expected.length)
    lines.forEach((line, i) => {
      assert.deepEqual(line.outputs, expected[i], line.input)
      const want = label?.(line.input, i)
      if (want !== undefined) assert.equal(line.prediction.label, want, line.input)
    })
  }

  /** The first test digits as a batch, one row each. */
  function digits(count: number, mean: number, std: number): string {
    const images = gunzipSync(readFileSync(join(SHARED, 'data/mnist/t10k-images-idx3-ubyte.gz'))).subarray(16)
    const file = nodes.path(`digits-${mean}.f32`)
    writeFileSync(
      file,
      new Uint8Array(Float32Array.from(images.subarray(0, count * 784), (p) => (p / 255 - mean) / std).buffer),
    )
    return file
  }

  const samples = (prefix: string) =>
    existsSync(join(SHARED, 'models/samples'))
      ? readdirSync(join(SHARED, 'models/samples'))
          .filter((name) => name.startsWith(prefix))
          .map((name) => join(SHARED, 'models/samples', name))
      : []
  const fromName = (file: string) => /label(\d)/.exec(file)?.[1]

  test('mnist_minionn: the samples and 20 digits', async () => {
    await check('mnist_minionn.onnx', MNIST_CARD, [...samples('mnist_'), digits(20, 0, 1)], fromName)
  })

  test('S as exported in 2017, with S.tensor and 20 digits', async () => {
    const truth = [...'4771086757']
    const tensor = join(SHARED, 'models/S.tensor')
    await check('S.onnx', undefined, [tensor, digits(20, 0.1307, 0.3081)], (file, row) =>
      file.startsWith(tensor) ? truth[row] : undefined,
    )
  })

  test('R_S, both exports', async () => {
    const truth = [...'4771086757']
    const tensor = join(SHARED, 'models/S.tensor')
    for (const onnx of ['R_S_opset13.onnx', 'R_S.onnx']) {
      await check(onnx, undefined, [tensor, digits(20, 0.1307, 0.3081)], (file, row) =>
        file.startsWith(tensor) ? truth[row] : undefined,
      )
    }
  })

  test("SecureML's and CryptoNets' networks: the samples and 20 digits", async () => {
    for (const onnx of ['mnist_secure_ml.onnx', 'mnist_cryptonets.onnx']) {
      await check(onnx, MNIST_CARD, [...samples('mnist_'), digits(20, 0, 1)], fromName)
    }
  })

  test('cifar10_minionn: every sample', async () => {
    const wrong = 'label3_cat'
    await check('cifar10_minionn.onnx', CIFAR10_CARD, samples('cifar10_'), (file) =>
      file.includes(wrong) ? undefined : fromName(file),
    )
  })

  test('ptb_lstm_step: a session of 20 words in two commands, as from the README', async () => {
    const words = ptbText('test', 20).replaceAll('\n', '<eos>').split(/\s+/).slice(0, 20)
    writeFileSync(nodes.path('vocab.txt'), `${ptbVocabulary().join('\n')}\n`)
    const card = nodes.path('words.yaml')
    writeFileSync(card, readFileSync('configs/cards/words.yaml'))
    await run(['model', 'add', PTB_MODEL, '--name', 'ptb', '--card', card, '--repo', host])
    const shown = JSON.parse(await run(['model', 'show', 'ptb', '--repo', host, '--json'])) as PlanSummary
    assert.deepEqual([shown.andGates, shown.rounds], [452_800, 15])
    const lines: Line[] = []
    for (const part of [words.slice(0, 12), words.slice(12)]) {
      const common = ['--peer', hosting.addresses[0], '--model', 'ptb', '--session', 'test', '--repo', client, '--json']
      const result = await outcome(['query', ...common, '--text', part.join(' ')])
      assert.equal(result.code, 0, result.stderr)
      lines.push(...parseLines(result.stdout))
    }
    const { model, network } = importModel(readFileSync(PTB_MODEL), ptbCard())
    const { plan } = model.published.manifest
    const index = new Map(ptbVocabulary().map((word, i) => [word, i]))
    let states: Uint32Array[] | undefined
    let floats: Float64Array[] | undefined
    let difference = 0
    words.forEach((word, n) => {
      const input = oneHot(plan.output.size, index.get(word)!)
      const step = runReferenceStep(plan, model.secret, quantiseInput(plan, input), states)
      const float = runFloatStep(network, input, floats)
      states = step.states
      floats = float.states
      assert.deepEqual(
        lines[n].outputs,
        Array.from(step.outputs, (v) => v / plan.output.scale),
      )
      assert.equal(lines[n].step, n + 1)
      if (n + 1 === words.length) return
      const next = index.get(words[n + 1])!
      difference += surprise(step.outputs, plan.output.scale, next) - surprise(float.outputs, 1, next)
    })
    assert.ok(Math.abs(difference / 19) < 0.05, `${difference / 19} nats a word from the float model`)
  })
})
