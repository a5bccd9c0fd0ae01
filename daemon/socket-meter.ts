/**
 * Counts bytes where they leave and enter the process: on the TCP sockets under the libp2p connections, with Noise,
 * yamux, identify and all. What is reported for a query is what was on the wire.
 */
import type { Socket } from 'node:net'
import type { Connection, Metrics, MultiaddrConnection } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'

export interface Traffic {
  readonly sent: number
  readonly received: number
}

interface Account {
  readonly socket: Socket
  sent: number
  received: number
}

const NOTHING = { update() {}, increment() {}, decrement() {}, reset() {}, observe() {}, timer: () => () => {} }

export class SocketMeter {
  readonly #accounts = new Map<string, Account>()

  /** For createLibp2p's `metrics`: sees every raw connection, measures nothing else. */
  metrics(): () => Metrics {
    const track = (connection: MultiaddrConnection) => {
      // The TCP transport's connections carry their socket; its type does not say so.
      const { socket } = connection as MultiaddrConnection & { socket?: Socket }
      if (socket === undefined) return
      const key = connection.remoteAddr.toString()
      this.#accounts.set(key, { socket, sent: 0, received: 0 })
      batchWrites(connection, socket)
      connection.addEventListener('close', () => {
        if (this.#accounts.get(key)?.socket === socket) this.#accounts.delete(key)
      })
    }
    const group = () => NOTHING
    return () =>
      ({
        trackMultiaddrConnection: track,
        trackProtocolStream() {},
        registerMetric: group,
        registerMetricGroup: group,
        registerCounter: group,
        registerCounterGroup: group,
        registerHistogram: group,
        registerHistogramGroup: group,
        registerSummary: group,
        registerSummaryGroup: group,
        traceFunction: (_name: string, fn: unknown) => fn,
        createTrace: () => undefined,
      }) as unknown as Metrics
  }

  /**
   * Bytes on a connection's socket since this was last asked. Sums over all phases are exact; of phases that run at the
   * same time on one connection, each gets what passed until it ended.
   */
  take(connection: Connection): Traffic {
    const account = this.#account(connection)
    if (account === undefined) return { sent: 0, received: 0 }
    const { bytesWritten, bytesRead } = account.socket
    const traffic = { sent: bytesWritten - account.sent, received: bytesRead - account.received }
    account.sent = bytesWritten
    account.received = bytesRead
    return traffic
  }

  #account(connection: Connection): Account | undefined {
    const address = connection.remoteAddr.toString()
    return this.#accounts.get(address) ?? this.#accounts.get(address.replace(/\/p2p\/[^/]+$/, ''))
  }
}

/** Has the parts of a message (lengths, headers, tags) leave in one system call: libp2p writes each by itself. */
function batchWrites(connection: MultiaddrConnection, socket: Socket): void {
  const stream = connection as MultiaddrConnection & {
    sendData(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean }
  }
  stream.sendData = (data) => {
    socket.cork()
    let canSendMore = true
    for (const part of data) canSendMore = socket.write(part)
    process.nextTick(() => socket.uncork())
    return { sentBytes: data.byteLength, canSendMore }
  }
}
