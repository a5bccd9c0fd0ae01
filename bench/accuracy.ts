/**
 * `npm run bench:accuracy`: accuracy over whole test sets, float by ONNX Runtime against integers by the reference executor,
 * which the protocol equals bit for bit. --limit N inputs, --only NETWORK, --precision WEIGHTBITS/ACTIVATIONBITS. Writes docs/ACCURACY.md with --record. The language model's cross-entropy is that of bench:figure15. Needs ../shared/data and ../shared/models;
 * ONNX Runtime is installed into bench/onnxruntime the first time.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { table } from '../cli/output.js'
import { importModel } from '../daemon/import.js'
import { DEFAULT_PRECISION } from '../protocol/model/precision.js'
import { argmax, quantiseInput, runReference } from '../protocol/model/reference.js'
import { mnistTestSet } from './mnist-set.js'
import { CIFAR10_CARD, MNIST_CARD, MNIST_NORMALISED_CARD } from './networks.js'

const SHARED = '../shared'
const REPORT = 'docs/ACCURACY.md'
const RECORD = 'docs/bench/accuracy.json'

interface TestSet {
  readonly count: number
  readonly shape: number[]
  readonly input: (i: number) => Float32Array
  readonly label: (i: number) => number
}

const mnist = (mean: number, std: number): TestSet => ({ ...mnistTestSet(mean, std), shape: [1, 1, 28, 28] })

function cifar10(): TestSet {
  const data = gunzipSync(readFileSync(`${SHARED}/data/cifar10/test_batch.bin.gz`))
  const input = (i: number) =>
    Float32Array.from(data.subarray(i * 3073 + 1, (i + 1) * 3073), (p) => (p / 255 - 0.5) / 0.5)
  return { count: data.length / 3073, shape: [1, 3, 32, 32], input, label: (i) => data[i * 3073] }
}

interface Case {
  readonly onnx: string
  /** What ONNX Runtime reads where it refuses the file itself (opset 2). */
  readonly float?: string
  readonly card: string
  readonly set: () => TestSet
}

const CASES: Record<string, Case> = {
  'models/mnist': { onnx: 'models/mnist.onnx', card: MNIST_CARD, set: () => mnist(0, 1) },
  mnist_minionn: { onnx: `${SHARED}/models/mnist_minionn.onnx`, card: MNIST_CARD, set: () => mnist(0, 1) },
  S: {
    onnx: `${SHARED}/models/S.onnx`,
    float: `${SHARED}/models/S_opset13.onnx`,
    card: MNIST_NORMALISED_CARD,
    set: () => mnist(0.1307, 0.3081),
  },
  R_S: {
    onnx: `${SHARED}/models/R_S.onnx`,
    float: `${SHARED}/models/R_S_opset13.onnx`,
    card: MNIST_NORMALISED_CARD,
    set: () => mnist(0.1307, 0.3081),
  },
  mnist_secure_ml: {
    onnx: `${SHARED}/models/mnist_secure_ml.onnx`,
    card: MNIST_CARD,
    set: () => mnist(0, 1),
  },
  mnist_cryptonets: {
    onnx: `${SHARED}/models/mnist_cryptonets.onnx`,
    card: MNIST_CARD,
    set: () => mnist(0, 1),
  },
  cifar10_minionn: { onnx: `${SHARED}/models/cifar10_minionn.onnx`, card: CIFAR10_CARD, set: cifar10 },
}

/** As much of onnxruntime-node as is used. */
interface Ort {
  InferenceSession: {
    create(path: string): Promise<{
      inputNames: string[]
      outputNames: string[]
      run(feeds: Record<string, unknown>): Promise<Record<string, { data: Float32Array }>>
    }>
  }
  Tensor: new (type: 'float32', data: Float32Array, shape: number[]) => unknown
}

function onnxRuntime(): Ort {
  if (!existsSync('bench/onnxruntime/node_modules/onnxruntime-node')) {
    console.error('installing ONNX Runtime into bench/onnxruntime (once) ...')
    // Its install script fetches GPU libraries; what is needed here is in the package.
    const { status } = spawnSync(
      'npm',
      ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', 'bench/onnxruntime'],
      {
        stdio: 'inherit',
      },
    )
    if (status !== 0) process.exit(1)
  }
  return createRequire(resolve('bench/onnxruntime/package.json'))('onnxruntime-node') as Ort
}

const { values: options } = parseArgs({
  options: {
    limit: { type: 'string' },
    only: { type: 'string' },
    precision: { type: 'string' },
    record: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  if (!existsSync(SHARED)) {
    console.error(`skipped: ${SHARED} with the test sets is not here`)
    return
  }
  const ort = onnxRuntime()
  const [weightBits, activationBits] = (options.precision ?? '').split('/').map(Number)
  const precision = options.precision === undefined ? undefined : { ...DEFAULT_PRECISION, weightBits, activationBits }
  const rows: (string | number)[][] = []
  for (const [name, { onnx, float, card, set }] of Object.entries(CASES)) {
    if (options.only !== undefined && options.only !== name) continue
    const test = set()
    const count = Math.min(test.count, Number(options.limit ?? test.count))
    const { model } = importModel(readFileSync(onnx), card, { precision })
    const { plan } = model.published.manifest
    const session = await ort.InferenceSession.create(float ?? onnx)
    const batch = name === 'S' || name === 'R_S' ? 10 : 1
    let floatRight = 0
    let integerRight = 0
    let agree = 0
    for (let i = 0; i < count; i++) {
      const x = test.input(i)
      const padded = new Float32Array(x.length * batch)
      padded.set(x)
      const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', padded, [batch, ...test.shape.slice(1)]) }
      const logits = (await session.run(feeds))[session.outputNames[0]].data
      const f = argmax(logits.subarray(0, logits.length / batch))
      const q = argmax(runReference(plan, model.secret, quantiseInput(plan, x)))
      floatRight += Number(f === test.label(i))
      integerRight += Number(q === test.label(i))
      agree += Number(f === q)
      if (i % 500 === 0) process.stderr.write(`\r${name}: ${i} of ${count}   `)
    }
    process.stderr.write('\r\x1b[K')
    const percent = (n: number) => ((100 * n) / count).toFixed(2)
    const rings = plan.stages.map((s) => s.ring).join(' ')
    rows.push([
      name,
      count,
      percent(floatRight),
      percent(integerRight),
      ((100 * (integerRight - floatRight)) / count).toFixed(2),
      percent(agree),
      rings,
    ])
  }
  const headings = ['network', 'inputs', 'float %', 'integer %', 'difference', 'same label %', 'rings (bits)']
  console.log(options.json ? JSON.stringify({ headings, rows }) : table(headings, rows))
  if (options.record) {
    writeFileSync(RECORD, `${JSON.stringify({ headings, rows }, null, 2)}\n`)
    writeFileSync(
      REPORT,
      `# Accuracy\n\nWhole test sets: float by ONNX Runtime, integers by the reference executor, which the protocol equals bit for bit.\nMade by \`npm run bench:accuracy -- --record\`.\n\n\`\`\`\n${table(headings, rows)}\n\`\`\`\n`,
    )
  }
}

await main()
