/**
 * The ceiling: what a bare libp2p stream moves between two processes on this machine, over TCP, Noise and yamux as the daemon sets
 * them up. Started again as a child process, this file is the receiver.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { DAEMON_FLAGS } from '../daemon/flags.js'
import { startNode } from '../daemon/node.js'
import { SocketMeter } from '../daemon/socket-meter.js'
import { BULK_FRAME_BYTES, WRITE_HIGH_WATER } from '../protocol/limits.js'

const PROTOCOL = '/minionn/bench/1.0.0'
const TOTAL_BYTES = 300e6
const RECEIVER = 'receive'

const node = async (listen: string[]) =>
  await startNode(privateKeyToProtobuf(await generateKeyPair('Ed25519')), listen, new SocketMeter())

async function receive(): Promise<void> {
  const receiver = await node(['/ip4/127.0.0.1/tcp/0'])
  await receiver.handle(PROTOCOL, (stream: Stream) => {
    let received = 0
    let started = 0
    stream.addEventListener('message', (event) => {
      if (received === 0) started = performance.now()
      received += event.data.byteLength
      if (received >= TOTAL_BYTES) process.send?.(received / ((performance.now() - started) / 1000))
    })
  })
  process.send?.(receiver.getMultiaddrs()[0].toString())
}

async function send(stream: Stream): Promise<void> {
  const block = new Uint8Array(BULK_FRAME_BYTES)
  for (let sent = 0; sent < TOTAL_BYTES; sent += block.length) {
    stream.send(block)
    if (stream.writableNeedsDrain && stream.writeBufferLength >= WRITE_HIGH_WATER) {
      await new Promise((resolve) => stream.addEventListener('drain', () => setImmediate(resolve), { once: true }))
    } else {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

/** Bytes a second of a bare stream, best of three: what disturbs it only makes it slower. */
export async function transportCeiling(): Promise<number> {
  let best = 0
  for (let run = 0; run < 3; run++) {
    const child = fork(fileURLToPath(import.meta.url), [RECEIVER], { execArgv: DAEMON_FLAGS })
    const sender = await node([])
    try {
      const address = await new Promise<string>((resolve) => child.once('message', (m) => resolve(String(m))))
      const stream = await sender.dialProtocol(multiaddr(address), PROTOCOL)
      const rate = new Promise<number>((resolve) => child.once('message', (m) => resolve(Number(m))))
      await send(stream)
      best = Math.max(best, await rate)
    } finally {
      child.kill()
      await sender.stop()
    }
  }
  return best
}

if (process.argv[2] === RECEIVER) await receive()
