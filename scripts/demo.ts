/**
 * `npm run demo`: a host and a client, two processes over loopback, ten digits queried obliviously, each compared with
 * the plaintext reference bit for bit.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytes, seconds, table } from '../cli/output.js'
import type { QueryResult } from '../daemon/client.js'
import { importModel } from '../daemon/import.js'
import { readInputs } from '../daemon/input-file.js'
import { quantiseInput, runReference } from '../protocol/model/reference.js'
import { run, startDaemon } from './processes.js'

const MODEL = 'models/mnist.onnx'
const CARD = 'models/mnist.yaml'
const SAMPLES = 'models/samples'

const folder = mkdtempSync(join(tmpdir(), 'minionn-demo-'))
const host = join(folder, 'host')
const client = join(folder, 'client')
const stops: (() => Promise<void>)[] = []

try {
  console.log('Two nodes, host and client, each with a repo and a process of its own.')
  for (const repo of [host, client]) await run(['init', '--repo', repo])
  await run(['model', 'add', MODEL, '--name', 'mnist', '--card', CARD, '--repo', host])
  const hosting = await startDaemon(host)
  stops.push(hosting.stop)
  const querying = await startDaemon(client)
  stops.push(querying.stop)
  const [address] = hosting.addresses
  console.log(`host   serves ${MODEL} at ${address}`)

  const files = readdirSync(SAMPLES)
    .sort()
    .map((name) => join(SAMPLES, name))
  console.log(`client prepares ${files.length} bundles of triples ...`)
  await run(['pool', 'fill', '--peer', address, '--model', 'mnist', '--count', String(files.length), '--repo', client])
  console.log(`client queries ${files.length} digits ...\n`)
  const output = await run(['query', '--peer', address, '--model', 'mnist', '--json', '--repo', client, ...files])
  const results = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as QueryResult & { input: string })

  // The same import, weights known, on integers in the clear.
  const { model } = importModel(readFileSync(MODEL), readFileSync(CARD, 'utf8'))
  const { plan } = model.published.manifest
  let equal = 0
  const rows = []
  for (const result of results) {
    const [values] = await readInputs(result.input, readFileSync(result.input), plan)
    const reference = runReference(plan, model.secret, quantiseInput(plan, values))
    const same = result.outputs?.every((v, i) => v === reference[i] / plan.output.scale) ?? false
    if (same) equal++
    const label = /digit(\d)/.exec(result.input)?.[1] ?? '?'
    const { offline, online } = result.bytes
    rows.push([
      result.input.slice(SAMPLES.length + 1),
      result.prediction.label,
      label,
      same ? 'equal' : 'DIFFERENT',
      seconds(result.seconds.offline),
      seconds(result.seconds.online),
      bytes(offline.sent + offline.received),
      bytes(online.sent + online.received),
    ])
  }
  console.log(table(['input', 'prediction', 'label', 'reference', 's offline', 's online', 'offline', 'online'], rows))
  console.log(`\n${equal} of ${results.length} equal the plaintext reference bit for bit.`)
  if (equal !== files.length) process.exitCode = 1
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
} finally {
  for (const stop of stops) await stop()
  rmSync(folder, { recursive: true, force: true })
}
