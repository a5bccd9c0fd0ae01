/**
 * `npm run bench:figure15`: the paper's Figure 15, cross-entropy of the PTB language model against the number of linear pieces of sigmoid
 * and tanh: integers by the reference executor, which the protocol equals bit for bit, over the whole test text as one session.
 * --limit N words, --record writes docs/paper. Needs ../shared.
 */
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { table } from '../cli/output.js'
import { importModel } from '../daemon/import.js'
import { quantiseInput, runReferenceStep } from '../protocol/model/reference.js'
import { recordExperiment } from './experiment.js'
import { PAPER_PTB } from './paper.js'
import { linePlot } from './plot.js'
import { oneHot, PTB_MODEL, ptbCard, ptbWords, surprise } from './ptb.js'

/** Pieces at most; undefined as the compiler chooses them for its stated error. */
const PIECES = [undefined, 10, 11, 12, 13, 14]

interface Point {
  readonly pieces: number | undefined
  /** Largest errors of the two functions. */
  readonly sigmoid: number
  readonly tanh: number
  readonly nats: number
}

function measure(pieces: number | undefined, limit: number): Point {
  const { model } = importModel(readFileSync(PTB_MODEL), ptbCard(pieces))
  const { plan } = model.published.manifest
  const words = ptbWords('test')
  const count = Math.min(limit, words.length - 1)
  let states: Uint32Array[] | undefined
  let total = 0
  for (let n = 0; n < count; n++) {
    const step = runReferenceStep(plan, model.secret, quantiseInput(plan, oneHot(plan.output.size, words[n])), states)
    total += surprise(step.outputs, plan.output.scale, words[n + 1])
    states = step.states
    if (n % 1000 === 0) parentPort?.postMessage({ pieces, done: n / count })
  }
  const error = (fn: string) =>
    Math.max(...plan.stages.map(({ activation: a }) => (a?.approximates?.fn === fn ? a.approximates.error : 0)))
  return { pieces, sigmoid: error('Sigmoid'), tanh: error('Tanh'), nats: total / count }
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: { limit: { type: 'string' }, record: { type: 'boolean', default: false } },
  })
  if (!existsSync(PTB_MODEL)) {
    console.error(`skipped: ${PTB_MODEL} is not here`)
    return
  }
  const limit = Number(options.limit ?? Number.POSITIVE_INFINITY)
  const points: Point[] = []
  const left = [...PIECES]
  const work = async () => {
    while (left.length > 0) {
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { pieces: left.shift(), limit } })
      points.push(
        await new Promise<Point>((resolve, reject) => {
          worker.on('error', reject)
          worker.on('message', (message: Point | { done: number; pieces: number | undefined }) => {
            if ('nats' in message) resolve(message)
            else process.stderr.write(`\r${message.pieces ?? 'chosen'}: ${(100 * message.done).toFixed(0)} %   `)
          })
        }),
      )
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), PIECES.length) }, work))
  process.stderr.write('\n')
  points.sort((a, b) => (a.pieces ?? 0) - (b.pieces ?? 0))
  const headings = ['pieces', 'error of sigmoid', 'error of tanh', 'nats a word']
  const rows = points.map((p) => [p.pieces ?? 'as chosen', p.sigmoid, p.tanh, p.nats.toFixed(4)])
  const { approximated, exact, ours } = PAPER_PTB
  const text = `${table(headings, rows)}\n\nthe paper's network: ${approximated} nats approximated, ${exact} exact; ours exact (floats): ${ours}. So many pieces at most:\na symmetric function has an odd number of them. Flatter functions make this network, which is too sure of itself, a little less so`
  console.log(text)
  if (!options.record) return
  const chosen = points.filter((p) => p.pieces !== undefined)
  const flat = (name: string, value: number) => ({ name, points: chosen.map((p) => [p.pieces!, value] as const) })
  recordExperiment(
    'figure15',
    'npm run bench:figure15 -- --record',
    { words: Math.min(limit, ptbWords('test').length - 1), points },
    text,
    {
      figure15: linePlot(
        'Cross-entropy against linear pieces, PTB',
        'pieces of sigmoid and tanh',
        'nats a word',
        [
          { name: 'approximated', points: chosen.map((p) => [p.pieces!, p.nats] as const) },
          flat('exact', ours),
          flat('paper, approx.', approximated),
          flat('paper, exact', exact),
        ],
        'linear',
      ),
    },
  )
}

if (isMainThread) await main()
else parentPort!.postMessage(measure(workerData.pieces, workerData.limit))
