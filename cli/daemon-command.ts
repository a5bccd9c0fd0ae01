/** `minionn daemon`: runs until SIGINT or SIGTERM. */
import { pino } from 'pino'
import { parseConfig, readConfig, writeConfig } from '../daemon/config.js'
import { Daemon } from '../daemon/daemon.js'
import { initRepo } from '../daemon/repo-access.js'
import { MinionnError } from '../protocol/errors.js'
import { Repo } from '../storage/repo.js'

/** A stop that takes longer than this is forced. */
const STOP_TIMEOUT_MS = 5_000

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent']

export interface DaemonOptions {
  readonly repo: string
  readonly json?: boolean
  readonly listen?: string[]
  readonly logLevel?: string
  readonly init?: boolean
}

export async function runDaemon(options: DaemonOptions): Promise<void> {
  if (options.logLevel !== undefined && !LEVELS.includes(options.logLevel)) {
    throw new MinionnError(
      'BAD_INPUT',
      `"${options.logLevel}" is no log level; one of ${LEVELS.join(', ')} is expected`,
    )
  }
  if (options.init && !Repo.exists(options.repo)) {
    await initRepo(options.repo)
    writeConfig(options.repo, parseConfig('', 'the default configuration'))
  }
  const config = readConfig(options.repo)
  const log = pino({ level: options.logLevel ?? config.logLevel }, pino.destination(2))
  // A stream that fails behind our back must not take the other sessions with it.
  process.on('unhandledRejection', (reason) => log.error({ err: reason }, 'unhandled rejection'))
  const daemon = await Daemon.start(options.repo, options.listen ?? config.listen, config.engine, log)

  if (options.json) {
    console.log(JSON.stringify({ id: daemon.peerId, addresses: daemon.addresses, ready: true }))
  } else {
    console.log(`peer id ${daemon.peerId}`)
    for (const address of daemon.addresses) console.log(`listening on ${address}`)
    console.log('ready')
  }

  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref()
  await daemon.stop()
  process.exit(0)
}
