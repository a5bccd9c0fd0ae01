/** A peer that breaks the protocol in every way we could think of: the host answers in words and serves the next one. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Connection, Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { startNode } from '../../daemon/node.js'
import { CATALOG_PROTOCOL, inferProtocol, prepareProtocol } from '../../daemon/protocols.js'
import { SocketMeter } from '../../daemon/socket-meter.js'
import { StreamChannel } from '../../daemon/stream-channel.js'
import { latticeEngine } from '../../protocol/homomorphic/lattice-engine.js'
import { MAX_PREPARE_COUNT } from '../../protocol/limits.js'
import { Frames, FrameType } from '../../protocol/wire/frames.js'
import { CatalogRequest, InferRequest, PrepareAccept, PrepareRequest } from '../../protocol/wire/messages.js'
import { type RunningDaemon, run } from '../../scripts/processes.js'
import { Nodes, parseLines } from '../helpers/nodes.js'

describe('hostile peer', () => {
  const nodes = new Nodes()
  let hosting: RunningDaemon
  let client = ''
  let model = ''
  let attacker: Libp2p
  let connection: Connection

  before(async () => {
    const host = await nodes.repo('host')
    client = await nodes.repo('client')
    const added = await run(['model', 'add', 'models/mnist.onnx', '--name', 'mnist', '--json', '--repo', host])
    model = (JSON.parse(added) as { id: string }).id
    hosting = await nodes.start(host)
    await nodes.start(client)
    const identity = privateKeyToProtobuf(await generateKeyPair('Ed25519'))
    attacker = await startNode(identity, [], new SocketMeter())
    connection = await attacker.dial(multiaddr(hosting.addresses[0]))
  })
  after(async () => {
    await attacker.stop()
    await nodes.close()
  })

  async function open(protocol: string): Promise<{ channel: StreamChannel; frames: Frames }> {
    const channel = new StreamChannel(await connection.newStream(protocol))
    return { channel, frames: new Frames(channel) }
  }

  /** What the host answers, as an error. */
  async function refusal(frames: Frames): Promise<{ code: string; message: string }> {
    try {
      await frames.receiveUpTo(FrameType.control, 65536)
    } catch (error) {
      return error as { code: string; message: string }
    }
    throw new Error('the host went on')
  }

  const header = (type: number, length: number) => {
    const bytes = new Uint8Array(5)
    bytes[0] = type
    new DataView(bytes.buffer).setUint32(1, length, true)
    return bytes
  }

  test('frames of the wrong type, absurd length or nonsense content', async () => {
    for (const protocol of [CATALOG_PROTOCOL, prepareProtocol(model), inferProtocol(model)]) {
      for (const [bytes, message] of [
        [header(6, 10), /expected a control frame, the peer sent tables/],
        [header(99, 0), /unknown \(99\)/],
        [header(FrameType.control, 0xffffffff), /at most 65536 bytes, the peer announced 4294967295/],
        [Buffer.concat([header(FrameType.control, 3), Uint8Array.of(255, 255, 255)]), /does not parse/],
      ] as const) {
        const { channel, frames } = await open(protocol)
        await channel.write(bytes)
        const error = await refusal(frames)
        assert.equal(error.code, 'BAD_PEER')
        assert.match(error.message, message)
      }
    }
  })

  test('counts out of range, unknown bundles and models', async () => {
    for (const count of [0, MAX_PREPARE_COUNT + 1, 4_000_000_000]) {
      const { frames } = await open(prepareProtocol(model))
      await frames.sendControl(PrepareRequest, { count, engine: 'lattice' })
      assert.match((await refusal(frames)).message, /1 to 64 bundles/)
    }
    for (const bundleId of [randomBytes(16), randomBytes(3), new Uint8Array(0)]) {
      const { frames } = await open(inferProtocol(model))
      await frames.sendControl(InferRequest, { bundleId, otSession: 0, session: new Uint8Array(0), step: 0 })
      assert.match((await refusal(frames)).code, bundleId.length === 16 ? /UNKNOWN_BUNDLE/ : /BAD_PEER/)
    }
    const { frames } = await open(CATALOG_PROTOCOL)
    await frames.sendControl(CatalogRequest, { modelId: '../../etc/passwd' })
    assert.equal((await refusal(frames)).code, 'UNKNOWN_MODEL')
  })

  test('ciphertexts and base OTs that are noise', async () => {
    const prepare = await open(prepareProtocol(model))
    await prepare.frames.sendControl(PrepareRequest, { count: 1, engine: 'lattice' })
    const { bundleIds } = await prepare.frames.receiveControl(PrepareAccept)
    assert.equal(bundleIds.length, 1)
    await prepare.frames.send(FrameType.ciphertexts, new Uint8Array(latticeEngine.encryptionBytes).fill(255))
    assert.match((await refusal(prepare.frames)).message, /ciphertext .* not valid/)
    // The bundle of a prepare that broke off does not exist.
    const infer = await open(inferProtocol(model))
    await infer.frames.sendControl(InferRequest, {
      bundleId: bundleIds[0],
      otSession: 0,
      session: new Uint8Array(0),
      step: 0,
    })
    assert.equal((await refusal(infer.frames)).code, 'UNKNOWN_BUNDLE')
  })

  test('bundles of one peer are of no use to another', async () => {
    const query = ['--peer', hosting.addresses[0], '--model', 'mnist', '--repo', client, '--json']
    await run(['pool', 'fill', ...query])
    const other = await open(inferProtocol(model))
    await other.frames.sendControl(InferRequest, {
      bundleId: randomBytes(16),
      otSession: 1,
      session: new Uint8Array(0),
      step: 0,
    })
    assert.equal((await refusal(other.frames)).code, 'UNKNOWN_BUNDLE')
  })

  test('half-open sessions are limited, and do not keep others out', async () => {
    const opened = await Promise.all(Array.from({ length: 6 }, () => open(prepareProtocol(model))))
    // A session counts from the first byte of its stream.
    const replies = await Promise.allSettled(
      opened.map(async ({ channel, frames }) => {
        await channel.write(header(FrameType.control, 2).subarray(0, 3))
        return await Promise.race([refusal(frames), delay(1000, undefined)])
      }),
    )
    const busy = replies.filter((r) => r.status === 'fulfilled' && r.value?.code === 'BUSY').length
    assert.ok(busy >= 2, `${busy} refused`)
    const { stdout } = {
      stdout: await run([
        'query',
        '--peer',
        hosting.addresses[0],
        '--model',
        'mnist',
        '--json',
        '--repo',
        client,
        'models/samples/digit3_test00030.png',
      ]),
    }
    assert.equal(parseLines(stdout)[0].prediction.label, '3')
    for (const { channel } of opened) channel.abort(new Error('done'))
  })
})
