/** The libp2p node: TCP, Noise, yamux, identify, ping. */
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import { MAX_STREAM_WINDOW } from '../protocol/limits.js'
import { bulkCrypto } from './noise-crypto.js'
import type { SocketMeter } from './socket-meter.js'

/** With its header of 12 bytes a yamux message fills one Noise message: 65535 bytes less the tag of 16. */
const YAMUX_MESSAGE_BYTES = 65535 - 16 - 12
/** Receive window of a stream: four bulk frames at first, so that the first garbled chunk never waits. */
const INITIAL_WINDOW_BYTES = 1024 * 1024
const MAX_CONNECTIONS = 256

export async function startNode(identity: Uint8Array, listen: readonly string[], meter: SocketMeter): Promise<Libp2p> {
  return await createLibp2p({
    privateKey: privateKeyFromProtobuf(identity),
    addresses: { listen: [...listen] },
    transports: [tcp()],
    connectionEncrypters: [noise({ crypto: bulkCrypto })],
    streamMuxers: [
      yamux({
        maxMessageSize: YAMUX_MESSAGE_BYTES,
        streamOptions: { initialStreamWindowSize: INITIAL_WINDOW_BYTES, maxStreamWindowSize: MAX_STREAM_WINDOW },
      }),
    ],
    // It ends connections whose ping waits behind bulk data; sessions have deadlines of their own (StreamChannel).
    connectionMonitor: { enabled: false },
    connectionManager: { maxConnections: MAX_CONNECTIONS },
    nodeInfo: { name: 'minionn', version: '0.1.0' },
    services: { identify: identify(), ping: ping() },
    metrics: meter.metrics(),
  })
}
