/** A TCP proxy on loopback that counts, records and can act once so many bytes have come down. */
import { connect, createServer, type Server, type Socket } from 'node:net'

export class CountingProxy {
  readonly port: number
  up = 0
  down = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly recorded: Buffer[] = []
  #trigger: { at: number; act: () => void } | undefined

  private constructor(server: Server, sockets: Set<Socket>) {
    this.#server = server
    this.#sockets = sockets
    this.port = (server.address() as { port: number }).port
  }

  static async start(target: number): Promise<CountingProxy> {
    const sockets = new Set<Socket>()
    let proxy: CountingProxy | undefined
    const server = createServer((near) => {
      const far = connect(target, '127.0.0.1')
      for (const [from, to, direction] of [
        [near, far, 'up'],
        [far, near, 'down'],
      ] as const) {
        sockets.add(from)
        from.on('data', (part: Buffer) => proxy?.count(direction, part))
        from.pipe(to)
        from.on('error', () => to.destroy())
        from.on('close', () => to.destroy())
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    proxy = new CountingProxy(server, sockets)
    return proxy
  }

  count(direction: 'up' | 'down', part: Buffer): void {
    this[direction] += part.length
    this.recorded.push(part)
    const trigger = this.#trigger
    if (trigger !== undefined && this.down >= trigger.at) {
      this.#trigger = undefined
      trigger.act()
    }
  }

  /** Runs `act` once `bytes` more have come down. */
  after(bytes: number, act: () => void): void {
    this.#trigger = { at: this.down + bytes, act }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
