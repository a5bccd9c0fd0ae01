/** A recurrent session between two daemons: states stay shared between commands and over restarts. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { importModel } from '../../daemon/import.js'
import { quantiseInput, runReferenceStep } from '../../protocol/model/reference.js'
import { outcome, type RunningDaemon, run } from '../../scripts/processes.js'
import { Nodes, parseLines } from '../helpers/nodes.js'
import { onnxModel } from '../helpers/onnx-builder.js'
import { lstmStep } from '../helpers/recurrent.js'

const WORDS = ['the', 'cat', 'sat', 'down', '<unk>', '<eos>']
const CARD = `input: { kind: one-hot }\nlabels: ${JSON.stringify(WORDS)}\n`

describe('recurrent sessions', () => {
  const nodes = new Nodes()
  let host = ''
  let client = ''
  let hosting: RunningDaemon
  let peer = ''
  const onnx = onnxModel(lstmStep())

  before(async () => {
    host = await nodes.repo('host')
    client = await nodes.repo('client')
    writeFileSync(nodes.path('lstm.onnx'), onnx)
    writeFileSync(nodes.path('lstm.yaml'), CARD)
    await run([
      'model',
      'add',
      nodes.path('lstm.onnx'),
      '--name',
      'lstm',
      '--card',
      nodes.path('lstm.yaml'),
      '--repo',
      host,
    ])
    hosting = await nodes.start(host)
    peer = hosting.addresses[0]
    await nodes.start(client)
  })
  after(() => nodes.close())

  const query = (...args: string[]) =>
    outcome(['query', '--peer', peer, '--model', 'lstm', '--json', '--repo', client, ...args])

  /** Outputs of the reference for a text as one session. */
  function expected(words: readonly string[]): number[][] {
    const { model } = importModel(onnx, CARD)
    const { plan } = model.published.manifest
    let states: Uint32Array[] | undefined
    return words.map((word) => {
      const row = WORDS.map((other) => Number(other === word))
      const step = runReferenceStep(plan, model.secret, quantiseInput(plan, row), states)
      states = step.states
      return Array.from(step.outputs, (v) => v / plan.output.scale)
    })
  }

  const text = ['the', 'cat', 'sat', '<eos>', '<unk>', 'down', 'cat']

  test('a text in parts, by command and by file, over a restart of the host, equals the reference step by step', async () => {
    const lines = []
    const first = await query('--session', 'one', '--text', 'the cat')
    assert.equal(first.code, 0, first.stderr)
    lines.push(...parseLines(first.stdout))
    writeFileSync(nodes.path('rest.txt'), 'sat\nnonsense')
    lines.push(...parseLines((await query('--session', 'one', nodes.path('rest.txt'))).stdout))
    await hosting.stop()
    hosting = await nodes.start(host, '--listen', peer.replace(/\/p2p\/.*/, ''))
    lines.push(...parseLines((await query('--session', 'one', '--text', 'down cat')).stdout))
    assert.deepEqual(
      lines.map((line) => line.outputs),
      expected(text),
    )
    assert.deepEqual(
      lines.map((line) => line.step),
      [1, 2, 3, 4, 5, 6, 7],
    )
  })

  test('sessions of other names, begun anew, and without a name begin with zeros', async () => {
    const [once] = expected(['sat'])
    for (const args of [['--session', 'two'], ['--session', 'one', '--begin'], []]) {
      const { stdout } = await query('--text', 'sat', ...args)
      assert.deepEqual(parseLines(stdout)[0].outputs, once)
    }
    const { stdout } = await query('--text', 'sat down')
    const [line] = parseLines(stdout) as (ReturnType<typeof parseLines>[number] & { nats: number })[]
    const outputs = line.outputs!
    const sum = outputs.reduce((total, v) => total + Math.exp(v), 0)
    assert.ok(Math.abs(line.nats - (Math.log(sum) - outputs[3])) < 1e-9)
  })

  test('two commands at once: one goes on with the session, the other is told', async () => {
    const both = await Promise.all(
      [0, 1].map(() => query('--session', 'shared', '--text', 'the cat sat down the cat sat')),
    )
    const [ended, told] = both.sort((a, b) => a.code! - b.code!)
    assert.equal(ended.code, 0, ended.stderr)
    // Where one was done before the other began, they followed each other.
    if (told.code === 0) {
      assert.deepEqual(both.map(({ stdout }) => parseLines(stdout)[6].step).sort(), [14, 7])
    } else {
      assert.match(told.stderr, /in use by another command/)
    }
  })

  test('sessions are listed and forgotten', async () => {
    const list = async () =>
      (await run(['session', 'ls', '--json', '--repo', client]))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as { name: string; step: number; peer: string })
    const before = await list()
    assert.deepEqual(
      before.find(({ name }) => name === 'two'),
      { ...before.find(({ name }) => name === 'two'), step: 1, peer: hosting.id },
    )
    await run(['session', 'rm', 'two', '--repo', client])
    assert.ok((await list()).every(({ name }) => name !== 'two'))
    const again = await outcome(['session', 'rm', 'two', '--repo', client])
    assert.equal(again.code, 1)
    assert.match(again.stderr, /no session "two"; there are: /)
  })

  test('what a host no longer keeps, and what is no session, is said in words', async () => {
    // The same model again is another model: its weights are committed to with fresh salt.
    await query('--session', 'three', '--text', 'the')
    await run(['model', 'rm', 'lstm', '--repo', host])
    await run([
      'model',
      'add',
      nodes.path('lstm.onnx'),
      '--name',
      'lstm',
      '--card',
      nodes.path('lstm.yaml'),
      '--repo',
      host,
    ])
    const fresh = await query('--session', 'three', '--text', 'the')
    assert.equal(parseLines(fresh.stdout)[0].step, 1)
    for (const [args, message] of [
      [['--begin', '--text', 'the'], /--session NAME/],
      [['--session', 'a b', '--text', 'the'], /64 letters/],
      [['--session', 'x'], /nothing to query/],
      [['--text', ' '], /no words/],
    ] as const) {
      const { code, stderr } = await query(...args)
      assert.equal(code, 1)
      assert.match(stderr, message)
    }
  })
})
