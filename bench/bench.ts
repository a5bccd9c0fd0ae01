/**
 * `npm run bench`: two daemons on this machine, over loopback with real libp2p, Noise and LevelDB. Per network, medians of
 * online seconds, offline seconds a bundle, bytes on the socket and CPU seconds of each side, beside the paper's
 * figures and the last recorded run. Writes docs/bench/latest.json and docs/BENCH.md with --record.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bytes, seconds, table } from '../cli/output.js'
import type { QueryResult } from '../daemon/client.js'
import { run, startDaemon } from '../scripts/processes.js'
import { cpuSeconds } from './cpu-time.js'
import { NETWORKS } from './networks.js'
import { PAPER } from './paper.js'

const LATEST = 'docs/bench/latest.json'
const REPORT = 'docs/BENCH.md'

interface Measurement {
  readonly network: string
  readonly batch: number
  readonly queries: number
  readonly offline: { seconds: number; bytes: number; hostCpu: number; clientCpu: number }
  readonly online: { seconds: number; bytes: number; hostCpu: number; clientCpu: number }
}

const { values: options } = parseArgs({
  options: {
    record: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string' },
    queries: { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
})

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

async function measure(name: string, folder: string, queries: number): Promise<Measurement> {
  const network = NETWORKS[name]
  const [host, client] = ['host', 'client'].map((side) => join(folder, `${name}-${side}`))
  for (const repo of [host, client]) await run(['init', '--repo', repo])
  const card = join(folder, `${name}.yaml`)
  writeFileSync(card, network.card)
  await run(['model', 'add', network.onnx, '--name', name, '--card', card, '--repo', host])
  const hosting = await startDaemon(host)
  const querying = await startDaemon(client)
  try {
    const cpu = () => [cpuSeconds(hosting.process.pid!), cpuSeconds(querying.process.pid!)]
    const common = ['--peer', hosting.addresses[0], '--model', name, '--repo', client, '--json']
    const query = async () => JSON.parse(await run(['query', ...common, ...network.input(folder)])) as QueryResult
    // One query outside of the measurement: engines start, base OTs run, code gets compiled.
    await query()
    await run(['pool', 'drop', '--repo', client])
    const batch = Math.max(queries, network.batch)
    const beforeFill = cpu()
    const filled = JSON.parse(await run(['pool', 'fill', ...common, '--count', String(batch)])) as {
      seconds: number
      bytes: { sent: number; received: number }
    }
    const offlineCpu = cpu().map((after, i) => (after - beforeFill[i]) / batch)
    const online: { seconds: number; bytes: number; cpu: number[] }[] = []
    for (let i = 0; i < queries; i++) {
      const before = cpu()
      const result = await query()
      const { sent, received } = result.bytes.online
      online.push({
        seconds: result.seconds.online,
        bytes: sent + received,
        cpu: cpu().map((after, side) => after - before[side]),
      })
    }
    return {
      network: name,
      batch,
      queries,
      offline: {
        seconds: filled.seconds / batch,
        bytes: (filled.bytes.sent + filled.bytes.received) / batch,
        hostCpu: offlineCpu[0],
        clientCpu: offlineCpu[1],
      },
      online: {
        seconds: median(online.map((o) => o.seconds)),
        bytes: median(online.map((o) => o.bytes)),
        hostCpu: median(online.map((o) => o.cpu[0])),
        clientCpu: median(online.map((o) => o.cpu[1])),
      },
    }
  } finally {
    await Promise.all([hosting.stop(), querying.stop()])
  }
}

const times = (factor: number) => (Number.isFinite(factor) ? `${factor.toPrecision(3)}x` : '-')

function report(measurements: readonly Measurement[], previous: readonly Measurement[]): string {
  const rows = measurements.flatMap((m) => {
    const paper = PAPER[m.network]
    const last = previous.find((p) => p.network === m.network)
    return (['offline', 'online'] as const).map((phase) => {
      const now = m[phase]
      const megabytes = paper?.[`${phase}Megabytes`] ?? Number.NaN
      const wall = paper?.[`${phase}Seconds`] ?? Number.NaN
      return [
        m.network,
        phase === 'offline' ? `offline, batch of ${m.batch}` : 'online',
        seconds(now.seconds),
        `${seconds(now.hostCpu)} + ${seconds(now.clientCpu)}`,
        bytes(now.bytes),
        Number.isNaN(wall) ? '-' : `${wall} s, ${megabytes} MB`,
        `${times(wall / now.seconds)} faster, ${times((megabytes * 1e6) / now.bytes)} fewer bytes`,
        last === undefined
          ? '-'
          : `${times(now.seconds / last[phase].seconds)} s, ${times(now.bytes / last[phase].bytes)} bytes`,
      ]
    })
  })
  return table(
    [
      'network',
      'phase',
      'seconds',
      'CPU host + client',
      'bytes',
      'paper',
      'against the paper',
      'against the last record',
    ],
    rows,
  )
}

async function main(): Promise<void> {
  if (options.help) {
    console.log(
      'npm run bench -- [--only NETWORK] [--queries N] [--json] [--record]\nnetworks: ' +
        Object.keys(NETWORKS).join(', '),
    )
    return
  }
  const previous: Measurement[] = existsSync(LATEST) ? JSON.parse(readFileSync(LATEST, 'utf8')).measurements : []
  const folder = mkdtempSync(join(tmpdir(), 'minionn-bench-'))
  const measurements: Measurement[] = []
  try {
    for (const [name, network] of Object.entries(NETWORKS)) {
      if (options.only !== undefined && options.only !== name) continue
      if (!existsSync(network.onnx)) {
        console.error(`${name}: skipped, ${network.onnx} is not here`)
        continue
      }
      console.error(`${name}: measuring ...`)
      measurements.push(await measure(name, folder, Number(options.queries)))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const machine = `${cpus().length} x ${cpus()[0].model.trim()}, Node ${process.versions.node}, both parties on it, loopback`
  const text = report(measurements, previous)
  const json = { date: new Date().toISOString().slice(0, 10), machine, measurements }
  console.log(
    options.json
      ? JSON.stringify(json)
      : `${machine}\nmedians of ${options.queries} queries with a bundle ready\n\n${text}`,
  )
  if (options.record) {
    writeFileSync(LATEST, `${JSON.stringify(json, null, 2)}\n`)
    writeFileSync(
      REPORT,
      `# Benchmark\n\nRecorded ${json.date} by \`npm run bench -- --record\` on ${machine}. Medians of ${options.queries} queries with a bundle ready;\noffline is per bundle. The paper's figures were measured by its authors on their machines.\n\n\`\`\`\n${text}\n\`\`\`\n`,
    )
  }
}

await main()
