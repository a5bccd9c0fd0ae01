/**
 * `npm run bench:figure17`: the paper's Figures 17 and 18 and Table 6: MNIST networks whose layers are alpha times as wide as those of
 * Figure 12, their accuracy over the whole test set (integers by the reference executor, which the protocol equals bit for bit) against
 * what a prediction costs between two daemons. --queries N, --record writes docs/paper. The test set is in ../shared.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bytes, seconds, table } from '../cli/output.js'
import { importModel } from '../daemon/import.js'
import { runFloat } from '../protocol/model/float.js'
import { argmax, quantiseInput, runReference } from '../protocol/model/reference.js'
import { recordExperiment } from './experiment.js'
import { type Measurement, measure } from './measure.js'
import { mnistTestSet } from './mnist-set.js'
import { MNIST_CARD, type Network } from './networks.js'
import { linePlot } from './plot.js'

const FOLDER = 'models/widths'
const BATCH = 64

interface Point {
  readonly alpha: number
  /** Shares of the test set that are right. */
  readonly float: number
  readonly integer: number
  readonly cost: Measurement
}

function accuracy(onnx: string): { float: number; integer: number } {
  const { model, network } = importModel(readFileSync(onnx), MNIST_CARD)
  const { plan } = model.published.manifest
  const set = mnistTestSet()
  let [float, integer] = [0, 0]
  for (let i = 0; i < set.count; i++) {
    const x = set.input(i)
    float += Number(argmax(runFloat(network, Float64Array.from(x))) === set.label(i))
    integer += Number(argmax(runReference(plan, model.secret, quantiseInput(plan, x))) === set.label(i))
  }
  return { float: float / set.count, integer: integer / set.count }
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: { queries: { type: 'string', default: '5' }, record: { type: 'boolean', default: false } },
  })
  if (!existsSync('../shared/data/mnist')) {
    console.error('skipped: ../shared/data/mnist is not here')
    return
  }
  const folder = mkdtempSync(join(tmpdir(), 'minionn-figure17-'))
  const points: Point[] = []
  try {
    for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.onnx'))) {
      const alpha = Number(/mnist-([\d.]+)\.onnx/.exec(file)?.[1])
      console.error(`alpha ${alpha} ...`)
      const onnx = join(FOLDER, file)
      const digit = () => [join('models/samples', readdirSync('models/samples')[0])]
      const network: Network = { onnx, card: MNIST_CARD, batch: BATCH, input: digit }
      const cost = await measure(`alpha-${alpha}`, network, folder, Number(options.queries))
      points.push({ alpha, ...accuracy(onnx), cost })
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  points.sort((a, b) => b.alpha - a.alpha)
  const percent = (share: number) => (100 * share).toFixed(2)
  const headings = ['alpha', 'float %', 'integer %', 'offline', 'CPU both', 'bytes', 'online', 'CPU both', 'bytes']
  const rows = points.map(({ alpha, float, integer, cost: { offline, online } }) => [
    alpha,
    percent(float),
    percent(integer),
    ...[offline, online].flatMap((phase) => [
      seconds(phase.seconds),
      seconds(phase.hostCpu + phase.clientCpu),
      bytes(phase.bytes),
    ]),
  ])
  const text = `${table(headings, rows)}\n\nmedians of ${options.queries} queries; offline per bundle in batches of ${BATCH}. The networks are of models/train/mnist.py, ten epochs each.`
  console.log(text)
  if (!options.record) return
  const series = (name: string, y: (p: Point) => number) => ({
    name,
    points: points.map((p) => [p.alpha, y(p)] as const),
  })
  recordExperiment('figure17', 'npm run bench:figure17 -- --record', { points }, text, {
    figure17: linePlot(
      'Accuracy against width, MNIST',
      'alpha: width of the layers',
      'accuracy, %',
      [series('float', (p) => 100 * p.float), series('integer', (p) => 100 * p.integer)],
      'linear',
    ),
    figure18: linePlot(
      'Cost of a prediction against width, MNIST',
      'alpha: width of the layers',
      'online: seconds and megabytes',
      [series('seconds', (p) => p.cost.online.seconds), series('megabytes', (p) => p.cost.online.bytes / 1e6)],
    ),
  })
}

await main()
