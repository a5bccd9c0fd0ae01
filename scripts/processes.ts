/** minionn as processes: for the demo, the end-to-end tests and the benchmarks. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const BIN = fileURLToPath(new URL('../cli/bin.js', import.meta.url))
const START_TIMEOUT_MS = 30_000

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end, whatever the exit code. */
export function outcome(args: readonly string[], options: { timeoutMs?: number } = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [BIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (part) => {
      stdout += part
    })
    child.stderr.on('data', (part) => {
      stderr += part
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** Runs a command that must succeed; its standard output. */
export async function run(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await outcome(args)
  if (code !== 0) throw new Error(`minionn ${args.join(' ')} ended with ${code}: ${stderr.trim()}`)
  return stdout
}

export interface RunningDaemon {
  readonly id: string
  readonly addresses: string[]
  readonly process: ChildProcess
  /** SIGTERM and wait. */
  readonly stop: () => Promise<void>
  /** SIGKILL and wait. */
  readonly kill: () => Promise<void>
}

/** Starts a daemon and waits until it is ready. Its log goes to this process's standard error. */
export async function startDaemon(
  repo: string,
  args: readonly string[] = [],
  nodeOptions = process.env.NODE_OPTIONS,
): Promise<RunningDaemon> {
  const child = spawn(process.execPath, [BIN, 'daemon', '--json', '--log-level', 'error', '--repo', repo, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...(nodeOptions && { NODE_OPTIONS: nodeOptions }) },
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
  for await (const line of createInterface({ input: child.stdout })) {
    clearTimeout(timer)
    const { id, addresses } = JSON.parse(line) as { id: string; addresses: string[] }
    const end = async (signal: NodeJS.Signals) => {
      child.kill(signal)
      await ended
    }
    return { id, addresses, process: child, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') }
  }
  clearTimeout(timer)
  throw new Error(`the daemon on ${repo} ended before it was ready`)
}
