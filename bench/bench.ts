/**
 * `npm run bench`: two daemons on this machine, over loopback with real libp2p, Noise and LevelDB. Per network, medians of
 * online seconds, offline seconds a bundle, bytes on the socket, round trips and CPU seconds of each side, beside the paper's
 * figures and the last recorded run, and what a bare libp2p stream moves here. Writes docs/bench/latest.json and docs/BENCH.md with
 * --record. With --profile shows where the time goes instead, by stage and by phase.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bytes, seconds, table } from '../cli/output.js'
import type { QueryResult } from '../daemon/client.js'
import type { PlanSummary } from '../daemon/plan-summary.js'
import { run } from '../scripts/processes.js'
import { type Measurement, measure, median, startParties } from './measure.js'
import { NETWORKS } from './networks.js'
import { PAPER } from './paper.js'
import { phases } from './profile.js'
import { transportCeiling } from './transport.js'

const LATEST = 'docs/bench/latest.json'
const REPORT = 'docs/BENCH.md'

const { values: options } = parseArgs({
  options: {
    record: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    engine: { type: 'string', default: 'lattice' },
    only: { type: 'string' },
    queries: { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
})

/** Seconds by stage of the plan and by phase of the protocol, over `queries` queries and the bundles for them. */
async function profile(name: string, folder: string, queries: number): Promise<string> {
  const profiles = join(folder, `${name}-profiles`)
  const { hosting, querying, common, host } = await startParties(
    name,
    NETWORKS[name],
    folder,
    options.engine,
    `--cpu-prof --cpu-prof-dir=${profiles}`,
  )
  const stages: number[][] = []
  let summary: PlanSummary
  try {
    summary = JSON.parse(await run(['model', 'show', name, '--repo', host, '--json']))
    await run(['pool', 'fill', ...common, '--count', String(queries)])
    for (let i = 0; i < queries; i++) {
      const result = JSON.parse(await run(['query', ...common, ...NETWORKS[name].input(folder)])) as QueryResult
      stages.push([...result.seconds.stages])
    }
  } finally {
    await Promise.all([hosting.stop(), querying.stop()])
  }
  const stageRows = summary.stages.map((stage, i) => [
    stage.name,
    stage.activation,
    seconds(median(stages.map((times) => times[i] ?? 0))),
    stage.andGates,
    bytes(stage.bytes),
  ])
  const [left, right] = [hosting, querying].map((daemon) => phases(profiles, daemon.process.pid!))
  const names = [...new Set([...left.keys(), ...right.keys()])]
  const cost = (phase: string) => (left.get(phase) ?? 0) + (right.get(phase) ?? 0)
  const phaseRows = names
    .sort((a, b) => cost(b) - cost(a))
    .map((phase) => [phase, ...[left, right].map((side) => seconds((side.get(phase) ?? 0) / 1000))])
  return `${name}: client's seconds by stage, medians of ${queries} queries\n${table(['stage', 'activation', 'seconds', 'AND gates', 'bytes'], stageRows)}\n\n${name}: CPU seconds by phase, start and ${queries} bundles and queries\n${table(['phase', 'host', 'client'], phaseRows)}\n`
}

const times = (factor: number) => (Number.isFinite(factor) ? `${factor.toPrecision(3)}x` : '-')

function report(measurements: readonly Measurement[], previous: readonly Measurement[]): string {
  const rows = measurements.flatMap((m) => {
    const paper = PAPER[m.network]
    const last = previous.find((p) => p.network === m.network)
    return (['offline', 'online'] as const).map((phase) => {
      const now = m[phase]
      const megabytes = paper?.[`${phase}Megabytes`]
      const wall = paper?.[`${phase}Seconds`] ?? Number.NaN
      return [
        m.network,
        phase === 'offline' ? `offline, batch of ${m.batch}` : 'online',
        seconds(now.seconds),
        `${seconds(now.hostCpu)} + ${seconds(now.clientCpu)}`,
        bytes(now.bytes),
        phase === 'online' ? m.rounds : '',
        `${bytes(now.hostMemory)} + ${bytes(now.clientMemory)}`,
        Number.isNaN(wall) ? '-' : `${wall} s${megabytes === undefined ? '' : `, ${megabytes} MB`}`,
        `${times(wall / now.seconds)} faster, ${times(((megabytes ?? Number.NaN) * 1e6) / now.bytes)} fewer bytes`,
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
      'round trips',
      'memory host + client',
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
      'npm run bench -- [--only NETWORK] [--queries N] [--json] [--record] [--profile] [--engine lattice|seal]\nnetworks: ' +
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
      if (options.profile) {
        console.log(await profile(name, folder, Number(options.queries)))
        continue
      }
      measurements.push(await measure(name, network, folder, Number(options.queries), options.engine))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  if (options.profile) return
  console.error('a bare libp2p stream: measuring ...')
  const ceiling = await transportCeiling()
  const machine = `${cpus().length} x ${cpus()[0].model.trim()}, Node ${process.versions.node}, both parties on it, loopback`
  const share = measurements.map(({ network, online }) => {
    const percent = (100 * online.bytes) / online.seconds / ceiling
    return `${network} ${percent.toFixed(0)} %`
  })
  const text = `${report(measurements, previous)}\n\na bare libp2p stream (TCP, Noise, yamux) moves ${bytes(ceiling)} a second here; of that online: ${share.join(', ')}`
  const json = { date: new Date().toISOString().slice(0, 10), machine, transportBytesPerSecond: ceiling, measurements }
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
