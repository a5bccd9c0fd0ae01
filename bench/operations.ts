/**
 * `npm run bench:operations`: the paper's figure 16, cost of single operations on 32-bit shares against the number of
 * invocations: ReLU and the maximum of 2, 4 and 16. Two daemons on this machine over real libp2p, medians of online seconds,
 * bytes on the socket and CPU of both sides. The models are plans of one garbled stage between identities, so that no
 * linear layer takes part. --record writes docs/bench/operations.json and docs/bench/operations.svg.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bytes, seconds, table } from '../cli/output.js'
import type { QueryResult } from '../daemon/client.js'
import { callDaemon } from '../daemon/control-client.js'
import { type Plan, publish } from '../protocol/model/plan.js'
import { commitmentOf, encodeWeights } from '../protocol/model/weights.js'
import { run, startDaemon } from '../scripts/processes.js'
import { cpuSeconds } from './cpu-time.js'
import { linePlot } from './plot.js'

const RING = 32
const OPERATIONS: { name: string; window: number; relu: boolean; sizes: number[] }[] = [
  { name: 'ReLU', window: 1, relu: true, sizes: [0, 4, 8, 12, 16] },
  { name: 'max of 2', window: 2, relu: false, sizes: [0, 4, 8, 12, 16] },
  { name: 'max of 4', window: 4, relu: false, sizes: [0, 4, 8, 12, 14] },
  { name: 'max of 16', window: 16, relu: false, sizes: [0, 4, 8, 12] },
]

const { values: options } = parseArgs({
  options: {
    record: { type: 'boolean', default: false },
    queries: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
})

/** A plan that is nothing but `instances` of one circuit. */
function operationPlan(window: number, relu: boolean, instances: number): Plan {
  const input: [number, number, number] = [1, instances, window]
  const pool = {
    input,
    output: [1, instances, 1],
    kernel: [1, window],
    strides: [1, window],
    pads: [0, 0, 0, 0],
  } as const
  const size = instances * window
  return {
    card: { input: { kind: 'tensor', range: [-(2 ** 31), 2 ** 31 - 1] }, reveal: 'outputs' },
    input: { shape: input, scale: 1, low: -(2 ** 31), high: 2 ** 31 - 1 },
    stages: [
      {
        name: 'input',
        ring: RING,
        from: 0,
        linear: { kind: 'identity', size },
        factor: 1,
        skips: [],
        activation: {
          name: 'operation',
          ...(window > 1 && { pool }),
          fn: relu ? 'relu' : 'identity',
          shift: 0,
          bits: RING - 1,
          saturate: false,
          select: relu,
        },
      },
      { name: 'output', ring: RING, from: 1, linear: { kind: 'identity', size: instances }, factor: 1, skips: [] },
    ],
    output: { size: instances, scale: 1 },
  }
}

interface Point {
  readonly operation: string
  readonly instances: number
  readonly seconds: number
  readonly bytes: number
  readonly hostCpu: number
  readonly clientCpu: number
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'minionn-operations-'))
  const [host, client] = ['host', 'client'].map((name) => join(folder, name))
  for (const repo of [host, client]) await run(['init', '--repo', repo])
  const hosting = await startDaemon(host)
  const querying = await startDaemon(client)
  const points: Point[] = []
  try {
    for (const { name, window, relu, sizes } of OPERATIONS) {
      for (const size of sizes) {
        const instances = 2 ** size
        console.error(`${name}, 2^${size} ...`)
        const plan = operationPlan(window, relu, instances)
        const secret = {
          salt: new Uint8Array(32),
          stages: plan.stages.map((s) => ({
            weights: new Int32Array(0),
            bias: new Int32Array(s.linear.kind === 'identity' ? s.linear.size : 0),
          })),
        }
        const model = publish(plan, commitmentOf(secret))
        const id = `${name.replaceAll(' ', '-')}-${size}`
        const base64 = (data: Uint8Array) => Buffer.from(data).toString('base64')
        await callDaemon(host, 'model.add', {
          name: id,
          id: model.id,
          manifest: base64(model.bytes),
          weights: base64(encodeWeights(secret)),
        })
        const file = join(folder, 'input.json')
        const values = Array.from({ length: instances * window }, (_, i) => ((i * 2654435761) % 2 ** 32) - 2 ** 31)
        writeFileSync(file, JSON.stringify(values))
        const common = ['--peer', hosting.addresses[0], '--model', id, '--repo', client, '--json']
        const queries = Number(options.queries)
        await run(['query', ...common, file])
        await run(['pool', 'fill', ...common, '--count', String(queries)])
        const results: { seconds: number; bytes: number; cpu: number[] }[] = []
        for (let i = 0; i < queries; i++) {
          const cpu = () => [hosting, querying].map((daemon) => cpuSeconds(daemon.process.pid!))
          const before = cpu()
          const { seconds: s, bytes: b, outputs } = JSON.parse(await run(['query', ...common, file])) as QueryResult
          check(outputs!, values, window, relu)
          results.push({
            seconds: s.online,
            bytes: b.online.sent + b.online.received,
            cpu: cpu().map((after, n) => after - before[n]),
          })
        }
        points.push({
          operation: name,
          instances,
          seconds: median(results.map((r) => r.seconds)),
          bytes: median(results.map((r) => r.bytes)),
          hostCpu: median(results.map((r) => r.cpu[0])),
          clientCpu: median(results.map((r) => r.cpu[1])),
        })
        await run(['model', 'rm', id, '--repo', host])
      }
    }
  } finally {
    await Promise.all([hosting.stop(), querying.stop()])
    rmSync(folder, { recursive: true, force: true })
  }
  const rows = points.map((p) => [
    p.operation,
    p.instances,
    seconds(p.seconds),
    bytes(p.bytes),
    `${seconds(p.hostCpu)} + ${seconds(p.clientCpu)}`,
  ])
  console.log(
    options.json
      ? JSON.stringify(points)
      : `${table(['operation', 'instances', 'seconds', 'bytes', 'CPU host + client'], rows)}\n\nthe paper, 2^16 ReLU: 23 s, 2370 MB`,
  )
  if (!options.record) return
  writeFileSync(
    'docs/bench/operations.json',
    `${JSON.stringify({ date: new Date().toISOString().slice(0, 10), points }, null, 2)}\n`,
  )
  const series = OPERATIONS.map(({ name }) => ({
    name,
    points: points.filter((p) => p.operation === name).map((p) => [p.instances, p.seconds] as const),
  }))
  writeFileSync(
    'docs/bench/operations.svg',
    linePlot('Online seconds against invocations, 32-bit shares', 'invocations', 'seconds', series),
  )
}

/** A benchmark of wrong results would be worth nothing. */
function check(outputs: readonly number[], values: readonly number[], window: number, relu: boolean): void {
  outputs.forEach((output, i) => {
    const largest = Math.max(...values.slice(i * window, (i + 1) * window))
    if (output !== (relu ? Math.max(largest, 0) : largest)) throw new Error(`wrong result at ${i}: ${output}`)
  })
}

await main()
