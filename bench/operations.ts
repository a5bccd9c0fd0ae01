/**
 * `npm run bench:operations`: the paper's figure 16, cost of single operations on 32-bit shares against the number of
 * invocations: ReLU, square, sigmoid and the maximum of 2, 4 and 16. Two daemons on this machine over real libp2p, medians of online seconds,
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
import type { ActivationShape } from '../protocol/circuits/activation.js'
import { fitPieces } from '../protocol/model/fit-pieces.js'
import { scalarFunction } from '../protocol/model/functions.js'
import { type Plan, publish } from '../protocol/model/plan.js'
import { runReference } from '../protocol/model/reference.js'
import { commitmentOf, encodeWeights } from '../protocol/model/weights.js'
import { run, startDaemon } from '../scripts/processes.js'
import { cpuSeconds } from './cpu-time.js'
import { linePlot } from './plot.js'

const RING = 32
/** Results of queries lie in [-LIMIT, LIMIT): one bit is left for the rounding of those that shift. */
const LIMIT = 2 ** (RING - 2)

type Operation = Pick<ActivationShape, 'window' | 'fn' | 'pieces' | 'shift' | 'bits' | 'saturate' | 'select'>

const plain: Operation = { window: 1, fn: 'identity', shift: 0, bits: RING - 1, saturate: false, select: false }
/** Nine bits and a sign over [-8, 8), as the compiler would have it. */
const SIGMOID = fitPieces(scalarFunction('Sigmoid', []), -512, 511, 64, 2 ** 13, 0.005).pieces

const OPERATIONS: { name: string; operation: Operation; sizes: number[] }[] = [
  { name: 'ReLU', operation: { ...plain, fn: 'relu', select: true }, sizes: [0, 4, 8, 12, 16] },
  // Of the ten upper bits: more would not fit 32 bits with anything behind.
  { name: 'square', operation: { ...plain, fn: 'square', shift: RING - 10, bits: 9 }, sizes: [0, 4, 8, 12, 16] },
  {
    name: 'sigmoid',
    operation: { ...plain, fn: 'pieces', pieces: SIGMOID, shift: RING - 10, bits: 9 },
    sizes: [0, 4, 8, 12, 14],
  },
  { name: 'max of 2', operation: { ...plain, window: 2 }, sizes: [0, 4, 8, 12, 16] },
  { name: 'max of 4', operation: { ...plain, window: 4 }, sizes: [0, 4, 8, 12, 14] },
  { name: 'max of 16', operation: { ...plain, window: 16 }, sizes: [0, 4, 8, 12] },
]

const { values: options } = parseArgs({
  options: {
    record: { type: 'boolean', default: false },
    queries: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
})

/** A plan that is nothing but `instances` of one circuit. */
function operationPlan({ window, ...operation }: Operation, instances: number): Plan {
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
    card: { input: { kind: 'tensor', range: [-LIMIT, LIMIT - 1] }, reveal: 'outputs' },
    input: { shape: input, scale: 1, low: -LIMIT, high: LIMIT - 1 },
    states: [],
    stages: [
      {
        name: 'input',
        ring: RING,
        parts: [{ from: 0, factor: 1 }],
        linear: { kind: 'identity', size },
        skips: [],
        activation: { name: 'operation', ...(window > 1 && { pool }), ...operation },
      },
      {
        name: 'output',
        ring: RING,
        parts: [{ from: 1, factor: 1 }],
        linear: { kind: 'identity', size: instances },
        skips: [],
      },
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
    for (const { name, operation, sizes } of OPERATIONS) {
      for (const size of sizes) {
        const instances = 2 ** size
        console.error(`${name}, 2^${size} ...`)
        const plan = operationPlan(operation, instances)
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
        const count = instances * operation.window
        const values = Int32Array.from({ length: count }, (_, i) => ((i * 2654435761) % (2 * LIMIT)) - LIMIT)
        const expected = runReference(plan, secret, values)
        writeFileSync(file, JSON.stringify([...values]))
        const common = ['--peer', hosting.addresses[0], '--model', id, '--repo', client, '--json']
        const queries = Number(options.queries)
        await run(['query', ...common, file])
        await run(['pool', 'fill', ...common, '--count', String(queries)])
        const results: { seconds: number; bytes: number; cpu: number[] }[] = []
        for (let i = 0; i < queries; i++) {
          const cpu = () => [hosting, querying].map((daemon) => cpuSeconds(daemon.process.pid!))
          const before = cpu()
          const { seconds: s, bytes: b, outputs } = JSON.parse(await run(['query', ...common, file])) as QueryResult
          // A benchmark of wrong results would be worth nothing.
          if (outputs!.some((v, n) => v !== expected[n])) throw new Error(`${name}: a wrong result`)
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

await main()
