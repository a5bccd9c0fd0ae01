/** The command `minionn`: words a person types. Every command has --help, --repo and --json. */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { checkModelName } from '../daemon/api.js'
import { checkModel } from '../daemon/check.js'
import type { CatalogItem, QueryResult } from '../daemon/client.js'
import { parseConfig, writeConfig } from '../daemon/config.js'
import { type Opened, openModel } from '../daemon/import.js'
import { readInputs } from '../daemon/input-file.js'
import type { PlanSummary } from '../daemon/plan-summary.js'
import { initRepo } from '../daemon/repo-access.js'
import { asMinionnError, MinionnError } from '../protocol/errors.js'
import { MAX_INPUT_BYTES } from '../protocol/limits.js'
import { type CompileOptions, compileNetwork } from '../protocol/model/compile.js'
import { parsePrecision } from '../protocol/model/precision.js'
import { encodeWeights } from '../protocol/model/weights.js'
import { Repo } from '../storage/repo.js'
import { call } from './call.js'
import { runDaemon } from './daemon-command.js'
import { bytes, ProgressLine, printError, seconds, table } from './output.js'

const EXIT_ERROR = 1
const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

interface Common {
  readonly repo: string
  readonly json?: boolean
}

const interrupt = new AbortController()
const { signal } = interrupt

/** Parses arguments, runs one command, sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // Whatever is written holds keys or single-use secrets, or lies next to them.
  process.umask(0o077)
  dieWithParent()
  // A reader such as `head` that has enough is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : EXIT_ERROR))
  const program = buildProgram()
  try {
    await program.parseAsync([...argv])
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      process.exitCode = thrown.exitCode === 0 ? 0 : EXIT_USAGE
      return
    }
    const error = asMinionnError(thrown)
    if (error.code === 'INTERNAL' && process.env.MINIONN_DEBUG) console.error(error.cause)
    printError(error, argv.includes('--json'))
    process.exitCode = error.code === 'CANCELLED' ? EXIT_INTERRUPTED : EXIT_ERROR
  }
}

/** Under bin.ts on an old Node this process must not outlive the one the user sees. */
function dieWithParent(): void {
  if (process.env.MINIONN_PARENT === undefined || process.channel === undefined) return
  process.on('disconnect', () => process.exit(EXIT_ERROR))
  process.channel?.unref()
}

function cancelOnInterrupt(): void {
  process.once('SIGINT', () => {
    interrupt.abort()
    // A second one ends at once.
    process.once('SIGINT', () => process.exit(EXIT_INTERRUPTED))
  })
  process.once('SIGTERM', () => interrupt.abort())
}

function buildProgram(): Command {
  const program = new Command('minionn')
    .description(
      'Oblivious neural-network predictions between peers: the host learns nothing of the input, the client nothing of the weights.',
    )
    .version('0.1.0')
    .exitOverride()
    .showHelpAfterError('(add --help for help)')
    .addHelpText('after', '\nA first session, with a host and a client on one machine, is in README.md.')

  const command = (parent: Command, name: string, description: string): Command =>
    parent
      .command(name)
      .description(description)
      .exitOverride()
      .option(
        '--repo <dir>',
        'folder of this node (or set MINIONN_REPO)',
        process.env.MINIONN_REPO || join(homedir(), '.minionn'),
      )
      .option('--json', 'print JSON, one object a line')

  command(program, 'init', 'make a repo with a fresh identity')
    .option('--config <file>', 'start from a configuration, such as one of configs/')
    .option('--listen <multiaddr...>', 'addresses to listen on')
    .action(init)
  command(program, 'daemon', 'serve models and answer commands until stopped')
    .option('--listen <multiaddr...>', 'addresses to listen on, instead of the configured ones')
    .option('--log-level <level>', 'debug, info, warn, error or silent')
    .option('--init', 'make the repo first if there is none')
    .action(async (options: Common & { listen?: string[]; logLevel?: string; init?: boolean }) => {
      await runDaemon({ ...options, repo: resolve(options.repo) })
    })
  command(program, 'id', 'print the peer id and addresses of this node').action(id)
  command(program, 'status', 'print what the running daemon does').action(status)
  command(program, 'catalog', 'list the models that a peer serves')
    .argument('<peer>', 'multiaddr or known peer id')
    .action(catalog)

  const model = program.command('model').description('models this node serves').exitOverride()
  command(model, 'add', 'import an ONNX file and serve it')
    .argument('<file>', 'ONNX file')
    .requiredOption('--name <name>', 'name in the catalog')
    .option('--card <file>', 'YAML card: input, labels, reveal, description')
    .option('--precision <name>', 'low, default, high, or weight bits / activation bits such as 9/9')
    .option('--samples <files...>', 'inputs typical of use, to set the widths by')
    .action(modelAdd)
  command(model, 'check', 'say what a model would cost and how accurate it would be, without adding it')
    .argument('<file>', 'ONNX file')
    .option('--card <file>', 'YAML card: input, labels, reveal, description')
    .option('--precision <name>', 'low, default, high, or weight bits / activation bits such as 9/9')
    .option('--samples <files...>', 'inputs typical of use, to set the widths by and to compare on')
    .action(modelCheck)
  command(model, 'ls', 'list the models').action(modelList)
  command(model, 'show', "print a model's plan: stages, widths, AND gates, bytes").argument('<name>').action(modelShow)
  command(model, 'rm', 'stop serving a model and delete it').argument('<name>').action(modelRemove)

  const pool = program.command('pool').description('precomputed single-use bundles').exitOverride()
  command(pool, 'ls', 'list pools, as client and as host').action(poolList)
  command(pool, 'fill', 'prepare bundles with a peer ahead of demand')
    .requiredOption('--peer <peer>', 'multiaddr or known peer id')
    .requiredOption('--model <name>', 'name or id of a model the peer serves')
    .option('--count <n>', 'bundles to make', positive, 1)
    .action(poolFill)
  command(pool, 'drop', 'delete bundles')
    .option('--peer <id>', 'only those made with this peer')
    .option('--model <name>', 'only those of this model (name or id)')
    .action(poolDrop)

  const session = program.command('session').description('recurrent sessions of this client').exitOverride()
  command(session, 'ls', 'list the sessions, and how many steps each has').action(sessionList)
  command(session, 'rm', 'forget a session')
    .argument('<name>')
    .option('--peer <id>', 'only that with this peer')
    .action(sessionRemove)

  command(program, 'query', 'get predictions for private inputs')
    .argument(
      '[files...]',
      '.png, .jpg, .npy, .json, .f32, .tensor (ONNX TensorProto) or .txt (words); a batch is queried row by row',
    )
    .option('--text <words>', 'words to query, instead of files')
    .option(
      '--session <name>',
      'take up this session of a recurrent model, or begin it: its states stay secret-shared between steps',
    )
    .option('--begin', 'begin the session anew')
    .requiredOption('--peer <peer>', 'multiaddr or known peer id')
    .requiredOption('--model <name>', 'name or id of a model the peer serves')
    .action(query)
  return program
}

function positive(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number of at least 1 is expected.')
  return value
}

function readFile(path: string, what: string, limit = Number.POSITIVE_INFINITY): Uint8Array {
  let content: Buffer
  try {
    content = readFileSync(path)
  } catch (cause) {
    const reason = { ENOENT: 'there is no such file', EISDIR: 'it is a folder', EACCES: 'it may not be read' }[
      (cause as NodeJS.ErrnoException).code ?? ''
    ]
    throw new MinionnError('BAD_INPUT', `cannot read ${what} ${path}: ${reason ?? (cause as Error).message}`, { cause })
  }
  if (content.length > limit)
    throw new MinionnError('BAD_INPUT', `${path} has ${content.length} bytes; at most ${limit} are accepted`)
  return content
}

function print(options: Common, value: object, human: () => string): void {
  console.log(options.json ? JSON.stringify(value) : human())
}

async function init(options: Common & { config?: string; listen?: string[] }): Promise<void> {
  const folder = resolve(options.repo)
  const text = options.config === undefined ? '' : new TextDecoder().decode(readFile(options.config, 'configuration'))
  const config = parseConfig(text, options.config ?? 'the default configuration')
  const peer = await initRepo(folder)
  writeConfig(folder, options.listen === undefined ? config : { ...config, listen: options.listen })
  print(options, { id: peer, repo: folder }, () => `made a repo in ${folder}\npeer id ${peer}`)
}

async function id(options: Common): Promise<void> {
  const result = await call<{ id: string; addresses: string[] }>(resolve(options.repo), 'id', {}, signal)
  print(options, result, () => [result.id, ...result.addresses].join('\n'))
}

interface PoolRow {
  readonly model: string
  readonly peer: string
  readonly count: number
}

async function status(options: Common): Promise<void> {
  const s = await call<{
    id: string
    addresses: string[]
    uptimeSeconds: number
    models: string[]
    peers: { peer: string; address: string }[]
    sessions: number
    pools: { host: PoolRow[]; client: PoolRow[] }
  }>(resolve(options.repo), 'status', {}, signal)
  const count = (rows: PoolRow[]) => rows.reduce((sum, row) => sum + row.count, 0)
  print(options, s, () =>
    table(
      ['peer id', s.id],
      [
        ['addresses', s.addresses.join(' ') || 'none'],
        ['up', `${s.uptimeSeconds} s`],
        ['models', s.models.join(' ') || 'none'],
        ['connected peers', s.peers.length],
        ['sessions running', s.sessions],
        ['bundles', `${count(s.pools.client)} as client, ${count(s.pools.host)} as host`],
      ],
    ),
  )
}

async function catalog(peer: string, options: Common): Promise<void> {
  const result = await call<{ peer: string; models: CatalogItem[] }>(resolve(options.repo), 'catalog', { peer }, signal)
  print(options, result, () =>
    result.models.length === 0
      ? `peer ${result.peer} serves no models`
      : table(
          ['name', 'id', 'description'],
          result.models.map((m) => [m.name, m.id, m.description]),
        ),
  )
}

interface ImportOptions extends Common {
  readonly card?: string
  readonly precision?: string
  readonly samples?: string[]
}

/** A model file, its card and what it is to be compiled with. */
async function readModel(file: string, options: ImportOptions): Promise<{ opened: Opened; compile: CompileOptions }> {
  const card = options.card === undefined ? undefined : new TextDecoder().decode(readFile(options.card, 'card'))
  const precision = options.precision === undefined ? undefined : parsePrecision(options.precision)
  const labels = (name: string) =>
    new TextDecoder().decode(readFile(resolve(dirname(options.card!), name), 'labels', MAX_INPUT_BYTES))
  const opened = openModel(readFile(file, 'model'), card, labels)
  const shape = { card: opened.card, input: { shape: opened.network.inputShape } }
  const samples: Float64Array[] = []
  for (const name of options.samples ?? []) {
    samples.push(...(await readInputs(name, readFile(name, 'sample', MAX_INPUT_BYTES), shape)))
  }
  return { opened, compile: { precision, ...(samples.length > 0 && { samples }) } }
}

async function modelCheck(file: string, options: ImportOptions): Promise<void> {
  const { opened, compile } = await readModel(file, options)
  const line = new ProgressLine()
  const check = checkModel(opened, { ...compile, progress: (done) => line.update('calibrating', done, 1) })
  line.clear()
  const { assumptions, dominating, accuracy } = check
  print(options, { supported: true, ...check }, () =>
    [
      ...assumptions.map((assumption) => `without a card, assumed: ${assumption}`),
      `${basename(file)} is supported`,
      describePlan(check),
      ...(dominating === undefined
        ? []
        : [
            `stage ${dominating} ("${check.stages[dominating].name}") has the most online bytes: ${bytes(check.stages[dominating].bytes)}`,
          ]),
      `against the float model on ${accuracy.inputs} ${accuracy.synthetic ? 'synthetic inputs' : 'samples'}: same label on ${accuracy.sameLabel}, outputs differ by ${accuracy.largestError.toPrecision(2)} at most, the largest is ${accuracy.largestOutput.toPrecision(3)}`,
      ...(accuracy.synthetic ? ['give inputs typical of use with --samples to compare on those'] : []),
    ].join('\n'),
  )
}

async function modelAdd(file: string, options: ImportOptions & { name: string }): Promise<void> {
  const folder = resolve(options.repo)
  checkModelName(options.name)
  if (!Repo.exists(folder))
    throw new MinionnError('NO_REPO', `there is no repo in ${folder}; make one with: minionn init --repo ${folder}`)
  const { opened, compile } = await readModel(file, options)
  const { assumptions } = opened
  const line = new ProgressLine()
  const model = compileNetwork(opened.network, opened.card, {
    ...compile,
    progress: (done) => line.update('calibrating', done, 1),
  })
  line.clear()
  const { published, secret } = model
  const result = await call<{ name: string; id: string }>(
    folder,
    'model.add',
    {
      name: options.name,
      id: published.id,
      manifest: Buffer.from(published.bytes).toString('base64'),
      weights: Buffer.from(encodeWeights(secret)).toString('base64'),
    },
    signal,
  )
  print(options, { ...result, assumptions }, () =>
    [
      ...assumptions.map((assumption) => `without a card, assumed: ${assumption}`),
      `added ${result.name}`,
      `id ${result.id}`,
    ].join('\n'),
  )
}

async function modelList(options: Common): Promise<void> {
  const models = await call<
    { name: string; id: string; input: number[]; outputs: number; reveal: string; description: string }[]
  >(resolve(options.repo), 'model.ls', {}, signal)
  if (options.json) {
    for (const model of models) console.log(JSON.stringify(model))
    return
  }
  console.log(
    models.length === 0
      ? 'no models; add one with: minionn model add FILE.onnx --name NAME'
      : table(
          ['name', 'input', 'outputs', 'reveals', 'id'],
          models.map((m) => [m.name, m.input.join('x'), m.outputs, m.reveal, m.id]),
        ),
  )
}

async function modelShow(name: string, options: Common): Promise<void> {
  const plan = await call<PlanSummary & { name: string }>(resolve(options.repo), 'model.show', { name }, signal)
  print(options, plan, () => `${plan.name}  ${plan.id}\n${describePlan(plan)}`)
}

function describePlan(plan: PlanSummary): string {
  const { online, offline, offlineBatch16 } = plan.bytes
  const both = (b: { up: number; down: number }) => `${bytes(b.up)} up, ${bytes(b.down)} down`
  return [
    `input [${plan.input.shape}] from ${plan.input.range[0].toPrecision(4)} to ${plan.input.range[1].toPrecision(4)}, ${plan.outputs} outputs, reveals ${plan.reveal}`,
    '',
    table(
      ['stage', 'linear', 'ring', 'garbled', 'circuits', 'AND gates', 'bytes'],
      plan.stages.map((s, i) => [
        `${i} ${s.name}`,
        s.linear,
        s.ring,
        s.activation,
        s.instances,
        s.andGates,
        bytes(s.bytes),
      ]),
    ),
    '',
    `AND gates per inference: ${plan.andGates}, round trips: ${plan.rounds}`,
    `triples per bundle: ${plan.ciphertexts.up} ciphertexts up, ${plan.ciphertexts.down} down`,
    `bytes per inference, online: ${both(online)}`,
    `bytes per bundle, offline: ${both(offline)} alone; ${both(offlineBatch16)} in batches of 16`,
  ].join('\n')
}

async function modelRemove(name: string, options: Common): Promise<void> {
  const result = await call<{ name: string; bundles: number }>(resolve(options.repo), 'model.rm', { name }, signal)
  print(options, result, () => `removed ${result.name} and ${result.bundles} bundles prepared for it`)
}

async function poolList(options: Common): Promise<void> {
  const pools = await call<{ client: PoolRow[]; host: PoolRow[] }>(resolve(options.repo), 'pool.ls', {}, signal)
  const rows = [
    ...pools.client.map((row) => ['client', row] as const),
    ...pools.host.map((row) => ['host', row] as const),
  ]
  print(options, pools, () =>
    rows.length === 0
      ? 'no bundles'
      : table(
          ['as', 'model', 'peer', 'bundles'],
          rows.map(([side, row]) => [side, row.model, row.peer, row.count]),
        ),
  )
}

async function poolFill(options: Common & { peer: string; model: string; count: number }): Promise<void> {
  cancelOnInterrupt()
  const line = new ProgressLine()
  const { peer, model, count } = options
  try {
    const result = await call<{
      made: number
      pooled: number
      seconds: number
      bytes: { sent: number; received: number }
    }>(resolve(options.repo), 'pool.fill', { peer, model, count }, signal, (event) => {
      const { done, total } = event as { done: number; total: number }
      line.update(`preparing ${total} bundles`, done, total)
    })
    line.clear()
    print(
      options,
      result,
      () =>
        `prepared ${result.made} bundles in ${seconds(result.seconds)}, ${bytes(result.bytes.sent)} sent, ${bytes(result.bytes.received)} received; the pool holds ${result.pooled}`,
    )
  } finally {
    line.clear()
  }
}

async function poolDrop(options: Common & { peer?: string; model?: string }): Promise<void> {
  const { peer, model } = options
  const result = await call<{ client: number; host: number }>(
    resolve(options.repo),
    'pool.drop',
    { peer, model },
    signal,
  )
  print(options, result, () => `dropped ${result.client} bundles as client, ${result.host} as host`)
}

async function sessionList(options: Common): Promise<void> {
  const { sessions } = await call<{
    sessions: { model: string; peer: string; name: string; step: number; at: number }[]
  }>(resolve(options.repo), 'session.ls', {}, signal)
  if (options.json) {
    for (const s of sessions) console.log(JSON.stringify(s))
    return
  }
  console.log(
    sessions.length === 0
      ? 'no sessions; one begins with: minionn query --session NAME ...'
      : table(
          ['name', 'steps', 'last step', 'model', 'peer'],
          sessions.map((s) => [s.name, s.step, new Date(s.at).toISOString(), s.model, s.peer]),
        ),
  )
}

async function sessionRemove(name: string, options: Common & { peer?: string }): Promise<void> {
  const { peer } = options
  const result = await call<{ removed: number }>(resolve(options.repo), 'session.rm', { name, peer }, signal)
  print(
    options,
    result,
    () => `forgot ${result.removed === 1 ? 'the session' : `${result.removed} sessions`} "${name}"`,
  )
}

type Line = QueryResult & { input: string; nats?: number }
/** Outputs that a person is shown. */
const MAX_SHOWN_OUTPUTS = 20

type QueryEvent = { result: Line } | { input: string; phase: 'preparing' | 'querying'; done: number; total: number }

interface QueryOptions extends Common {
  readonly peer: string
  readonly model: string
  readonly text?: string
  readonly session?: string
  readonly begin?: boolean
}

async function query(files: string[], options: QueryOptions): Promise<void> {
  cancelOnInterrupt()
  if (files.length === 0 && options.text === undefined)
    throw new MinionnError('BAD_INPUT', 'there is nothing to query: files, or words after --text, are expected')
  if (options.begin && options.session === undefined)
    throw new MinionnError('BAD_INPUT', '--begin needs the name of a session: --session NAME')
  const payload = files.map((file) => ({
    name: file,
    bytes: Buffer.from(readFile(file, 'input', MAX_INPUT_BYTES)).toString('base64'),
  }))
  if (options.text !== undefined)
    payload.push({ name: 'text.txt', bytes: Buffer.from(options.text).toString('base64') })
  const progress = new ProgressLine()
  let announced = false
  let first = true
  const show = (event: QueryEvent) => {
    if ('result' in event) {
      progress.clear()
      if (options.json) console.log(JSON.stringify(event.result))
      else console.log(describe(event.result, first))
      first = false
    } else {
      if (event.phase === 'preparing' && !announced) {
        announced = true
        progress.clear()
        if (!options.json)
          console.error(`no bundle is ready for this model; preparing ${event.total === 1 ? 'one' : event.total} first`)
      }
      progress.update(`${event.phase} ${basename(event.input)}`, event.done, event.total)
    }
  }
  try {
    const { peer, model, session: name, begin = false } = options
    const params = { peer, model, files: payload, ...(name !== undefined && { session: { name, begin } }) }
    await call(resolve(options.repo), 'query', params, signal, (event) => show(event as QueryEvent))
  } finally {
    progress.clear()
  }
}

function describe(result: Line, withHeading: boolean): string {
  const { offline, online } = result.bytes
  const heading = withHeading ? `model ${result.model.name} (${result.model.id}) at ${result.peer}\n` : ''
  const shown = result.outputs?.slice(0, MAX_SHOWN_OUTPUTS).map((v) => v.toFixed(3)) ?? []
  const more = (result.outputs?.length ?? 0) - shown.length
  const outputs =
    shown.length === 0 ? '' : `\n  outputs  ${shown.join(' ')}${more > 0 ? ` and ${more} more (--json has all)` : ''}`
  const top = result.top === undefined ? '' : `\n  top      ${result.top.map(({ label }) => label).join(', ')}`
  const step = result.step === undefined ? '' : `\n  step     ${result.step} of the session`
  const nats = result.nats === undefined ? '' : `, ${result.nats.toFixed(2)} nats for the word that follows`
  const number =
    result.prediction.label === String(result.prediction.index) ? '' : ` (index ${result.prediction.index})`
  return `${heading}${result.input}: ${result.prediction.label}${number}${outputs}${top}${step}${nats}
  offline  ${seconds(result.seconds.offline)}, ${bytes(offline.sent)} sent, ${bytes(offline.received)} received (bundle ${result.bundle})
  online   ${seconds(result.seconds.online)}, ${bytes(online.sent)} sent, ${bytes(online.received)} received`
}
