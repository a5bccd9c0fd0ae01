/** Repos in a temporary folder, daemons on them, and their end. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { QueryResult } from '../../daemon/client.js'
import { importModel } from '../../daemon/import.js'
import { readInputs } from '../../daemon/input-file.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { type RunningDaemon, run, startDaemon } from '../../scripts/processes.js'
import { CountingProxy } from './counting-proxy.js'

export class Nodes {
  readonly folder = mkdtempSync(join(tmpdir(), 'minionn-e2e-'))
  readonly #daemons = new Set<RunningDaemon>()
  readonly #proxies: CountingProxy[] = []

  path(name: string): string {
    return join(this.folder, name)
  }

  /** Makes a repo and returns its folder. */
  async repo(name: string): Promise<string> {
    await run(['init', '--repo', this.path(name)])
    return this.path(name)
  }

  async start(repo: string, ...args: string[]): Promise<RunningDaemon> {
    const daemon = await startDaemon(repo, args)
    this.#daemons.add(daemon)
    return daemon
  }

  async proxy(target: number): Promise<CountingProxy> {
    const proxy = await CountingProxy.start(target)
    this.#proxies.push(proxy)
    return proxy
  }

  async close(): Promise<void> {
    for (const proxy of this.#proxies) proxy.close()
    await Promise.all([...this.#daemons].map((daemon) => daemon.kill()))
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export const port = (address: string) => Number(/\/tcp\/(\d+)/.exec(address)![1])
export const throughPort = (address: string, through: number) => address.replace(/\/tcp\/\d+/, `/tcp/${through}`)

export type Line = QueryResult & { input: string }
export const parseLines = (stdout: string): Line[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

/** Outputs of the reference executor for every row of files, dequantised. */
export async function referenceOutputs(
  onnx: string,
  card: string | undefined,
  files: readonly string[],
): Promise<number[][]> {
  const { model } = importModel(readFileSync(onnx), card === undefined ? undefined : readFileSync(card, 'utf8'))
  const { plan } = model.published.manifest
  const outputs: number[][] = []
  for (const file of files) {
    for (const values of await readInputs(file, readFileSync(file), plan)) {
      const integers = runReference(plan, model.secret, quantiseInput(plan, values))
      outputs.push(Array.from(integers, (v) => v / plan.output.scale))
    }
  }
  return outputs
}
