import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Libp2p, Stream } from '@libp2p/interface'
import { startNode } from '../../daemon/node.js'
import { SocketMeter } from '../../daemon/socket-meter.js'
import { StreamChannel } from '../../daemon/stream-channel.js'

const PROTOCOL = '/minionn/test/1.0.0'
const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff)

describe('a Channel over libp2p, TCP, Noise and yamux', () => {
  const nodes: Libp2p[] = []
  let inbound: Promise<Stream>
  let arrived: (stream: Stream) => void = () => {}

  before(async () => {
    for (let i = 0; i < 2; i++) {
      const identity = privateKeyToProtobuf(await generateKeyPair('Ed25519'))
      nodes.push(await startNode(identity, ['/ip4/127.0.0.1/tcp/0'], new SocketMeter()))
    }
    await nodes[0].handle(PROTOCOL, (stream) => arrived(stream))
  })
  after(async () => {
    for (const node of nodes) await node.stop()
  })

  async function channels(idleMs?: number): Promise<[StreamChannel, StreamChannel]> {
    inbound = new Promise((resolve) => {
      arrived = resolve
    })
    const out = await nodes[1].dialProtocol(nodes[0].getMultiaddrs(), PROTOCOL)
    const near = new StreamChannel(out, idleMs)
    // What opens the stream at the other end is its first byte.
    await near.write(Uint8Array.of(7))
    const far = new StreamChannel(await inbound, idleMs)
    assert.deepEqual(await far.read(1), Uint8Array.of(7))
    return [near, far]
  }

  test('a slow reader holds the writer back, small reads and large ones mixed, and loses nothing', async () => {
    const [near, far] = await channels()
    const sizes = [...Array(40).fill(128 * 1024), 3_000_000, 5, 1_700_000, ...Array(20).fill(100_000), 6_000_000]
    let written = 0
    const writing = (async () => {
      for (const [n, size] of sizes.entries()) {
        await near.write(pattern(size, n))
        written = n + 1
      }
      await near.close()
    })()
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.ok(written < sizes.length, 'the writer waits for the reader')
    for (const [n, size] of sizes.entries()) {
      const bytes = await far.read(size)
      assert.ok(Buffer.from(bytes).equals(Buffer.from(pattern(size, n))), `block ${n}`)
      if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await writing
    await assert.rejects(far.read(1), { code: 'CONNECTION' })
  })

  test('both directions at once', async () => {
    const [near, far] = await channels()
    const move = async (from: StreamChannel, to: StreamChannel, seed: number) => {
      const data = pattern(9_000_000, seed)
      const [, got] = await Promise.all([from.write(data), to.read(data.length)])
      assert.ok(Buffer.from(got).equals(Buffer.from(data)))
    }
    await Promise.all([move(near, far, 1), move(far, near, 2)])
  })

  test('silence ends in TIMEOUT, an abort in CONNECTION at the other end', async () => {
    const [near] = await channels(200)
    await assert.rejects(near.read(1), { code: 'TIMEOUT' })
    const [left, right] = await channels()
    const reading = assert.rejects(right.read(10), { code: 'CONNECTION' })
    left.abort(new Error('enough'))
    await reading
    await assert.rejects(left.write(new Uint8Array(1)))
  })
})
