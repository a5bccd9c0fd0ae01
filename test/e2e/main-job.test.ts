/** Two daemons, real libp2p, LevelDB and node-seal: the main job, what is on the wire, and what happens to crashes. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { importModel } from '../../daemon/import.js'
import { outcome, type RunningDaemon, run } from '../../scripts/processes.js'
import { Nodes, parseLines, port, referenceOutputs, throughPort } from '../helpers/nodes.js'

const MODEL = 'models/mnist.onnx'
const CARD = 'models/mnist.yaml'
const SAMPLES = readdirSync('models/samples')
  .sort()
  .map((name) => join('models/samples', name))

describe('main job', () => {
  const nodes = new Nodes()
  let host = ''
  let client = ''
  let hosting: RunningDaemon
  let querying: RunningDaemon
  let listen = ''

  before(async () => {
    host = await nodes.repo('host')
    client = await nodes.repo('client')
    await run(['model', 'add', MODEL, '--name', 'mnist', '--card', CARD, '--repo', host])
    hosting = await nodes.start(host)
    listen = hosting.addresses[0].replace(/\/p2p\/.*/, '')
    querying = await nodes.start(client)
  })
  after(() => nodes.close())

  const query = (peer: string, ...files: string[]) =>
    outcome(['query', '--peer', peer, '--model', 'mnist', '--json', '--repo', client, ...files], { timeoutMs: 60_000 })
  const pool = async (repo: string, side: 'client' | 'host') => {
    const pools = JSON.parse(await run(['pool', 'ls', '--json', '--repo', repo])) as Record<string, { count: number }[]>
    return pools[side].reduce((sum, { count }) => sum + count, 0)
  }

  test('predictions equal the reference bit for bit; a bundle is prepared when none is ready, and used once', async () => {
    const files = SAMPLES.slice(0, 3)
    const expected = await referenceOutputs(MODEL, CARD, files)
    const prepared = await query(hosting.addresses[0], ...files)
    assert.equal(prepared.code, 0, prepared.stderr)
    await run(['pool', 'fill', '--peer', hosting.id, '--model', 'mnist', '--count', '2', '--repo', client])
    assert.equal(await pool(client, 'client'), 2)
    assert.equal(await pool(host, 'host'), 2)
    // By peer id alone, now that an address is known.
    const pooled = await query(hosting.id, files[0])
    const lines = [...parseLines(prepared.stdout), ...parseLines(pooled.stdout)]
    lines.forEach((line, i) => {
      assert.deepEqual(line.outputs, expected[i % 3])
      assert.equal(line.prediction.label, String(i % 3))
      assert.equal(line.bundle, i < 3 ? 'prepared' : 'pooled')
      assert.equal(line.peer, hosting.id)
      assert.ok(line.seconds.offline > 0 && line.seconds.online > 0)
    })
    assert.equal(await pool(client, 'client'), 1)
    assert.equal(await pool(host, 'host'), 1)
    await run(['pool', 'drop', '--repo', client])
    assert.equal(await pool(client, 'client'), 0)
  })

  test('bytes reported are the bytes on the socket; neither input nor weights are in clear', async () => {
    const repo = await nodes.repo('fresh')
    await nodes.start(repo)
    const proxy = await nodes.proxy(port(hosting.addresses[0]))
    const address = throughPort(hosting.addresses[0], proxy.port)
    const { stdout } = await outcome([
      'query',
      '--peer',
      address,
      '--model',
      'mnist',
      '--json',
      '--repo',
      repo,
      SAMPLES[0],
      SAMPLES[7],
    ])
    const lines = parseLines(stdout)
    const sum = (way: 'sent' | 'received') =>
      lines.reduce((total, { bytes }) => total + bytes.offline[way] + bytes.online[way], 0)
    assert.ok(Math.abs(sum('sent') / proxy.up - 1) < 0.02, `${sum('sent')} reported, ${proxy.up} sent`)
    assert.ok(Math.abs(sum('received') / proxy.down - 1) < 0.02, `${sum('received')} reported, ${proxy.down} received`)
    const wire = Buffer.concat(proxy.recorded)
    const { model } = importModel(readFileSync(MODEL), readFileSync(CARD, 'utf8'))
    for (const { weights } of model.secret.stages) {
      for (let i = 0; i + 4 <= Math.min(weights.length, 400); i += 4) {
        const four = Buffer.from(weights.buffer, i * 4, 16)
        if (weights.subarray(i, i + 4).every((w) => w !== 0)) assert.equal(wire.includes(four), false)
      }
    }
    const onnx = readFileSync(MODEL)
    for (let at = 1000; at < 100_000; at += 1000) assert.equal(wire.includes(onnx.subarray(at, at + 16)), false)
    const png = readFileSync(SAMPLES[0])
    assert.equal(wire.includes(png.subarray(40, 60)), false)
  })

  test('kill -9 of the host in the middle of a query: a clear error, nothing used twice, the next query works', async () => {
    const proxy = await nodes.proxy(port(hosting.addresses[0]))
    // A client of its own: the first one keeps its direct connection.
    const repo = await nodes.repo('cut')
    await nodes.start(repo)
    const address = throughPort(hosting.addresses[0], proxy.port)
    await run(['pool', 'fill', '--peer', address, '--model', 'mnist', '--count', '2', '--repo', repo])
    proxy.after(5_000_000, () => hosting.process.kill('SIGKILL'))
    const started = Date.now()
    const cut = await outcome(['query', '--peer', address, '--model', 'mnist', '--json', '--repo', repo, SAMPLES[1]])
    assert.equal(cut.code, 1)
    assert.equal(JSON.parse(cut.stderr).error.code, 'CONNECTION')
    assert.ok(Date.now() - started < 30_000)
    await hosting.kill()

    hosting = await nodes.start(host, '--listen', listen)
    assert.equal(await pool(repo, 'client'), 1)
    const next = await outcome([
      'query',
      '--peer',
      hosting.addresses[0],
      '--model',
      'mnist',
      '--json',
      '--repo',
      repo,
      SAMPLES[1],
    ])
    assert.equal(next.code, 0, next.stderr)
    assert.equal(parseLines(next.stdout)[0].prediction.label, '1')
    assert.equal(await pool(repo, 'client'), 0)
  })

  test('kill -9 of the client in the middle of a query: the host goes on, its bundle is gone', async () => {
    const proxy = await nodes.proxy(port(hosting.addresses[0]))
    const repo = await nodes.repo('killed')
    const victim = await nodes.start(repo)
    const address = throughPort(hosting.addresses[0], proxy.port)
    await run(['pool', 'fill', '--peer', address, '--model', 'mnist', '--count', '2', '--repo', repo])
    const before = await pool(host, 'host')
    proxy.after(5_000_000, () => victim.process.kill('SIGKILL'))
    const cut = await outcome(['query', '--peer', address, '--model', 'mnist', '--json', '--repo', repo, SAMPLES[2]])
    assert.equal(cut.code, 1)
    assert.match(JSON.parse(cut.stderr).error.message, /daemon went away/)
    await victim.kill()
    assert.equal(await pool(host, 'host'), before - 1)
    const again = await nodes.start(repo)
    assert.equal(await pool(repo, 'client'), 1)
    const next = await outcome([
      'query',
      '--peer',
      hosting.addresses[0],
      '--model',
      'mnist',
      '--json',
      '--repo',
      repo,
      SAMPLES[2],
    ])
    assert.equal(parseLines(next.stdout)[0].bundle, 'pooled')
    await again.stop()
  })

  test('bad input: each with its own words and a non-zero exit, and the daemon lives', async () => {
    const bad = nodes.path('bad.png')
    writeFileSync(bad, 'no image')
    writeFileSync(nodes.path('short.json'), '[1,2,3]')
    writeFileSync(nodes.path('half.onnx'), readFileSync(MODEL).subarray(0, 50_000))
    const peer = hosting.addresses[0]
    const on = ['--repo', client]
    const cases: [string[], number, RegExp][] = [
      [['query', '--peer', peer, '--model', 'mnist', nodes.path('none.png'), ...on], 1, /there is no such file/],
      [['query', '--peer', peer, '--model', 'mnist', bad, ...on], 1, /not a PNG or JPEG/],
      [['query', '--peer', peer, '--model', 'mnist', nodes.path('short.json'), ...on], 1, /3 values/],
      [['query', '--peer', peer, '--model', 'nope', SAMPLES[0], ...on], 1, /serves no model "nope"; it serves: mnist/],
      [['query', '--peer', querying.id, '--model', 'mnist', SAMPLES[0], ...on], 1, /no address is known|cannot reach/],
      [['query', '--peer', 'nonsense', '--model', 'mnist', SAMPLES[0], ...on], 1, /neither a multiaddr nor a peer id/],
      [['query', '--peer', '/ip4/127.0.0.1/tcp/1', '--model', 'mnist', SAMPLES[0], ...on], 1, /cannot reach/],
      [['query', '--peer', peer, '--model', 'mnist', SAMPLES[0], '--repo', nodes.path('nowhere')], 1, /minionn init/],
      [['query', '--peer', peer], 2, /missing required argument|required option/],
      [
        ['model', 'add', nodes.path('half.onnx'), '--name', 'half', '--repo', host],
        1,
        /does not parse|truncated|holds/,
      ],
      [['model', 'add', bad, '--name', 'bad', '--repo', host], 1, /does not parse|no ONNX graph/],
      [['model', 'add', MODEL, '--name', 'a b', '--repo', host], 1, /cannot name a model/],
      [['model', 'add', MODEL, '--name', 'mnist', '--repo', host], 1, /already/],
      [['model', 'show', 'nope', '--repo', host], 1, /there is no model "nope"/],
      [['daemon', '--repo', host], 1, /another process uses the repo/],
      [['pool', 'fill', '--peer', peer, '--model', 'mnist', '--count', '0', ...on], 2, /at least 1/],
      [['frobnicate'], 2, /unknown command/],
    ]
    for (const [args, code, message] of cases) {
      const result = await outcome(args)
      assert.equal(result.code, code, `${args.join(' ')}: ${result.stderr}`)
      assert.match(result.stderr, message, args.join(' '))
    }
    const status = JSON.parse(await run(['status', '--json', ...on])) as { id: string }
    assert.equal(status.id, querying.id)
  })

  test('without a daemon: models are managed, queries say how to start one; the socket is private', async () => {
    const repo = await nodes.repo('alone')
    await run(['model', 'add', MODEL, '--name', 'mine', '--repo', repo])
    assert.match(await run(['model', 'ls', '--repo', repo]), /mine .*1x28x28/)
    const plan = JSON.parse(await run(['model', 'show', 'mine', '--json', '--repo', repo])) as {
      stages: { andGates: number }[]
    }
    assert.equal(plan.stages.length, 4)
    assert.ok(plan.stages[0].andGates > 0)
    const refused = await outcome(['query', '--peer', hosting.id, '--model', 'mnist', SAMPLES[0], '--repo', repo])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /minionn daemon --repo/)
    assert.match(await run(['model', 'rm', 'mine', '--repo', repo]), /removed mine/)
    assert.equal(statSync(join(client, 'control.sock')).mode & 0o777, 0o600)
  })

  test('reveal: label: the client learns the label alone', async () => {
    const card = nodes.path('label.yaml')
    writeFileSync(card, readFileSync(CARD, 'utf8').replace('reveal: outputs', 'reveal: label'))
    await run(['model', 'add', MODEL, '--name', 'label', '--card', card, '--repo', host])
    const args = ['query', '--peer', hosting.addresses[0], '--model', 'label', '--repo', client]
    const [line] = parseLines(await run([...args, '--json', SAMPLES[4]]))
    assert.equal(line.prediction.label, '4')
    assert.equal('outputs' in line, false)
    assert.doesNotMatch(await run([...args, SAMPLES[4]]), /outputs/)
    await run(['model', 'rm', 'label', '--repo', host])
  })

  test('a model added to a running daemon is served at once, and gone when removed', async () => {
    await run(['model', 'add', MODEL, '--name', 'late', '--card', CARD, '--repo', host])
    const names = async () => {
      const { models } = JSON.parse(await run(['catalog', hosting.addresses[0], '--json', '--repo', client])) as {
        models: { name: string }[]
      }
      return models.map(({ name }) => name).sort()
    }
    assert.deepEqual(await names(), ['late', 'mnist'])
    await run(['model', 'rm', 'late', '--repo', host])
    assert.deepEqual(await names(), ['mnist'])
  })
})
