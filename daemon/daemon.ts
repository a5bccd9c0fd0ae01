/** The daemon: a libp2p node, the models it serves, the queries it makes and the control socket, on one repo. */
import type { Libp2p } from '@libp2p/interface'
import type { Logger } from 'pino'
import { MinionnError } from '../protocol/errors.js'
import type { EngineName } from '../protocol/homomorphic/engine.js'
import type { Repo } from '../storage/repo.js'
import { Client } from './client.js'
import { ControlServer } from './control-server.js'
import { Host } from './host.js'
import { startNode } from './node.js'
import { openRepo, peerIdOf } from './repo-access.js'
import { SocketMeter } from './socket-meter.js'
import { Threads } from './threads.js'

export class Daemon {
  readonly #repo: Repo
  readonly #node: Libp2p
  readonly #control: ControlServer
  readonly #threads: Threads

  private constructor(repo: Repo, node: Libp2p, control: ControlServer, threads: Threads) {
    this.#repo = repo
    this.#node = node
    this.#control = control
    this.#threads = threads
  }

  /** Starts on a repo; resolves when peers and commands can be served. */
  static async start(folder: string, listen: readonly string[], engine: EngineName, log: Logger): Promise<Daemon> {
    const repo = await openRepo(folder)
    const threads = new Threads()
    let node: Libp2p | undefined
    try {
      const meter = new SocketMeter()
      node = await startNode(repo.identity, listen, meter).catch((cause: Error) => {
        throw new MinionnError('BAD_INPUT', `cannot listen on ${listen.join(', ')}: ${cause.message}`, { cause })
      })
      const started = node
      const host = new Host(repo, started, threads, log)
      await host.start()
      const running = {
        host,
        client: new Client(repo, started, meter, threads, engine, log),
        addresses: () => started.getMultiaddrs().map((address) => address.toString()),
        connections: () =>
          started.getConnections().map((c) => ({ peer: c.remotePeer.toString(), address: c.remoteAddr.toString() })),
        startedAt: Date.now(),
      }
      const control = new ControlServer({ repo, peerId: peerIdOf(repo), running }, log)
      await control.start()
      return new Daemon(repo, started, control, threads)
    } catch (error) {
      await node?.stop()
      await repo.close()
      throw error
    }
  }

  get addresses(): string[] {
    return this.#node.getMultiaddrs().map((address) => address.toString())
  }

  get peerId(): string {
    return this.#node.peerId.toString()
  }

  /** Cancels calls, ends connections and threads, closes the database. */
  async stop(): Promise<void> {
    await this.#control.stop()
    await this.#node.stop()
    await this.#threads.stop()
    await this.#repo.close()
  }
}
