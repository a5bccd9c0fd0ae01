/**
 * `npm run bench:paper`: docs/paper/README.md, the paper's experiments beside ours, put together from what the other benchmarks recorded.
 * With --run makes all of the records first, which takes long; needs ../shared.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { bytes, seconds, table } from '../cli/output.js'
import type { Measurement } from './measure.js'
import { PAPER, PAPER_PTB } from './paper.js'

const REPORT = 'docs/paper/README.md'

/** Benchmarks that record what the report needs, in an order that leaves none of them out. */
const COMMANDS = ['accuracy', 'bench', 'operations', 'figure15', 'figure17'] as const

const read = <T>(path: string): T | undefined =>
  existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined

function networks(): string {
  const record = read<{ date: string; machine: string; measurements: Measurement[] }>('docs/bench/latest.json')
  const accuracies = read<{ rows: (string | number)[][] }>('docs/bench/accuracy.json')
  const pieces = read<{ points: { pieces?: number; nats: number }[] }>('docs/paper/figure15.json')
  if (record === undefined) return 'not recorded yet: `npm run bench -- --record`'
  const names: Record<string, string> = {
    mnist: 'models/mnist',
    secure_ml: 'mnist_secure_ml',
    cryptonets: 'mnist_cryptonets',
    cifar10: 'cifar10_minionn',
  }
  const rows = record.measurements
    .filter(({ network }) => PAPER[network] !== undefined)
    .sort((a, b) => PAPER[a.network].figure - PAPER[b.network].figure)
    .map(({ network, batch, offline, online }) => {
      const paper = PAPER[network]
      const accuracy = accuracies?.rows.find(([name]) => name === names[network])
      const nats = pieces?.points.find((point) => point.pieces === undefined)?.nats
      const quality =
        network === 'ptb'
          ? [
              `${nats?.toFixed(3) ?? '?'} nats (float ${PAPER_PTB.ours})`,
              `${PAPER_PTB.approximated} nats (float ${PAPER_PTB.exact})`,
            ]
          : [`${accuracy?.[3] ?? '?'} % (float ${accuracy?.[2] ?? '?'} %)`, `${paper.accuracy} %`]
      const megabytes = (value: number | undefined) => (value === undefined ? '' : `, ${value} MB`)
      return [
        `Figure ${paper.figure}, ${network}`,
        `${seconds(offline.seconds)}, ${bytes(offline.bytes)} (of ${batch})`,
        `${paper.offlineSeconds} s${megabytes(paper.offlineMegabytes)}`,
        `${seconds(online.seconds)}, ${bytes(online.bytes)}`,
        `${paper.onlineSeconds} s${megabytes(paper.onlineMegabytes)}`,
        ...quality,
      ]
    })
  const headings = ['network', 'offline', 'paper', 'online', 'paper', 'accuracy', 'paper']
  return `${table(headings, rows)}\n\nrecorded ${record.date} on ${record.machine}; offline is per prediction in a batch of so many`
}

function operations(): string {
  const record = read<{
    date: string
    points: { operation: string; instances: number; seconds: number; bytes: number }[]
  }>('docs/bench/operations.json')
  if (record === undefined) return 'not recorded yet: `npm run bench:operations -- --record`'
  const rows = record.points.map((p) => [p.operation, p.instances, seconds(p.seconds), bytes(p.bytes)])
  return `${table(['operation', 'invocations', 'seconds', 'bytes'], rows)}\n\nrecorded ${record.date}; the paper, 2^16 ReLU: 23 s, 2370 MB`
}

const section = (title: string, command: string, body: string) => `## ${title}\n\n\`${command}\`\n\n${body}\n`
const code = (text: string) => `\`\`\`\n${text}\n\`\`\``
const made = (name: string) => {
  const path = `docs/paper/${name}.md`
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : 'not recorded yet'
}

function main(): void {
  const { values: options } = parseArgs({ options: { run: { type: 'boolean', default: false } } })
  if (options.run) {
    for (const command of COMMANDS) {
      const script = fileURLToPath(new URL(`./${command}.js`, import.meta.url))
      const { status } = spawnSync(process.execPath, [script, '--record'], { stdio: 'inherit' })
      if (status !== 0) process.exit(status ?? 1)
    }
  }
  const report = [
    "# The paper's experiments\n",
    'Liu, Juuti, Lu, Asokan, "Oblivious Neural Network Predictions via MiniONN Transformations", CCS 2017. Every section names the command',
    "that made it; `npm run bench:paper` puts this page together from their records. The paper's figures were measured by its authors on",
    "their machines, between two hosts; ours between two daemons on one machine. Where the paper's numbers are not beside ours we do not have them at hand.\n",
    section(
      'Figures 10 to 14, Tables 2, 4 and 5: latency, bytes and accuracy',
      'npm run bench -- --record; npm run bench:accuracy -- --record; npm run bench:figure15 -- --record',
      `${code(networks())}\n\nAccuracy is over whole test sets, of the integers that the protocol equals bit for bit. PTB is one word of a session.`,
    ),
    section(
      'Figure 15: cross-entropy against the number of linear pieces',
      'npm run bench:figure15 -- --record',
      made('figure15'),
    ),
    section(
      'Figure 16: cost of single operations',
      'npm run bench:operations -- --record',
      `${code(operations())}\n\n![operations](../bench/operations.svg)`,
    ),
    section(
      'Figures 17 and 18, Table 6: accuracy against overhead of narrower networks',
      'npm run bench:figure17 -- --record',
      made('figure17'),
    ),
  ]
  writeFileSync(REPORT, report.join('\n'))
  console.log(`wrote ${REPORT}`)
}

main()
