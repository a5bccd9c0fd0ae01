/** What a network costs between two daemons: for the benchmark and for the paper's experiments. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { QueryResult } from '../daemon/client.js'
import { type RunningDaemon, run, startDaemon } from '../scripts/processes.js'
import { cpuSeconds, forgetPeak, memoryOf } from './cpu-time.js'
import type { Network } from './networks.js'

export interface Phase {
  readonly seconds: number
  readonly bytes: number
  readonly hostCpu: number
  readonly clientCpu: number
  /** What the phase added to the memory that either process had resident before, at most, bytes. */
  readonly hostMemory: number
  readonly clientMemory: number
}

export interface Measurement {
  readonly network: string
  readonly batch: number
  readonly queries: number
  readonly rounds: number
  readonly offline: Phase
  readonly online: Phase
}

/** Queries before those that are measured: the compiler of V8 has seen the code by then. */
const WARM_UP_QUERIES = 3

export const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

export interface Parties {
  readonly hosting: RunningDaemon
  readonly querying: RunningDaemon
  /** Flags of a command of the client's. */
  readonly common: readonly string[]
  readonly host: string
  readonly client: string
}

/** A host that serves the network and a client, in daemons of their own. */
export async function startParties(
  name: string,
  network: Network,
  folder: string,
  engine = 'lattice',
  nodeOptions?: string,
): Promise<Parties> {
  const [host, client] = ['host', 'client'].map((side) => join(folder, `${name}-${side}`))
  const config = join(folder, 'config.yaml')
  writeFileSync(config, `engine: ${engine}\n`)
  for (const repo of [host, client]) await run(['init', '--repo', repo, '--config', config])
  const card = join(folder, `${name}.yaml`)
  writeFileSync(card, typeof network.card === 'string' ? network.card : network.card())
  await run(['model', 'add', network.onnx, '--name', name, '--card', card, '--repo', host])
  const hosting = await startDaemon(host, [], nodeOptions)
  const querying = await startDaemon(client, [], nodeOptions)
  const common = ['--peer', hosting.addresses[0], '--model', name, '--repo', client, '--json']
  return { hosting, querying, common, host, client }
}

/** Costs of one network between two daemons on this machine: medians of `queries` queries with a bundle ready. */
export async function measure(
  name: string,
  network: Network,
  folder: string,
  queries: number,
  engine = 'lattice',
): Promise<Measurement> {
  const { hosting, querying, common, host, client } = await startParties(name, network, folder, engine)
  try {
    const pids = [hosting.process.pid!, querying.process.pid!]
    /** Begins to watch memory; what it calls gives the growth since. */
    const watchMemory = () => {
      pids.forEach(forgetPeak)
      const before = pids.map((pid) => memoryOf(pid).now)
      return () => {
        const [hostMemory, clientMemory] = pids.map((pid, side) => memoryOf(pid).peak - before[side])
        return { hostMemory, clientMemory }
      }
    }
    const offlineGrowth = watchMemory()
    const cpu = () => [cpuSeconds(hosting.process.pid!), cpuSeconds(querying.process.pid!)]
    const { rounds } = JSON.parse(await run(['model', 'show', name, '--repo', host, '--json'])) as { rounds: number }
    const query = async () => JSON.parse(await run(['query', ...common, ...network.input(folder)])) as QueryResult
    // Outside of the measurement: engines start, weights are transformed, base OTs run, code gets compiled.
    const { batch } = network
    await run(['pool', 'fill', ...common, '--count', String(Math.max(batch, WARM_UP_QUERIES))])
    const offlineMemory = offlineGrowth()
    const onlineGrowth = watchMemory()
    await query()
    const onlineMemory = onlineGrowth()
    for (let i = 1; i < WARM_UP_QUERIES; i++) await query()
    await run(['pool', 'drop', '--repo', client])
    const beforeFill = cpu()
    const filled = JSON.parse(await run(['pool', 'fill', ...common, '--count', String(batch)])) as {
      seconds: number
      bytes: { sent: number; received: number }
    }
    const offlineCpu = cpu().map((after, i) => (after - beforeFill[i]) / batch)
    if (queries > batch) await run(['pool', 'fill', ...common, '--count', String(queries - batch)])
    const online: { seconds: number; bytes: number; cpu: number[] }[] = []
    for (let i = 0; i < queries; i++) {
      const before = cpu()
      const result = await query()
      const { sent, received } = result.bytes.online
      online.push({
        seconds: result.seconds.online,
        bytes: sent + received,
        cpu: cpu().map((after, side) => after - before[side]),
      })
    }
    return {
      network: name,
      batch,
      queries,
      rounds,
      offline: {
        seconds: filled.seconds / batch,
        bytes: (filled.bytes.sent + filled.bytes.received) / batch,
        hostCpu: offlineCpu[0],
        clientCpu: offlineCpu[1],
        ...offlineMemory,
      },
      online: {
        seconds: median(online.map((o) => o.seconds)),
        bytes: median(online.map((o) => o.bytes)),
        hostCpu: median(online.map((o) => o.cpu[0])),
        clientCpu: median(online.map((o) => o.cpu[1])),
        ...onlineMemory,
      },
    }
  } finally {
    await Promise.all([hosting.stop(), querying.stop()])
  }
}
