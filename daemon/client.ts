/** Querying: catalogs of peers, pools of bundles, oblivious predictions. */
import type { Connection, Libp2p } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import { MinionnError } from '../protocol/errors.js'
import type { EngineName } from '../protocol/homomorphic/engine.js'
import {
  DIAL_TIMEOUT_MS,
  MAX_CATALOG_BYTES,
  MAX_CATALOG_ENTRIES,
  MAX_PLAN_BYTES,
  MAX_PREPARE_COUNT,
} from '../protocol/limits.js'
import { openManifest, type Plan, type PublishedModel, stageSizes } from '../protocol/model/plan.js'
import { quantiseInput } from '../protocol/model/reference.js'
import { decodeClientBundle, encodeClientBundle } from '../protocol/offline/bundle.js'
import { prepareAsClient } from '../protocol/offline/prepare.js'
import type { Offload } from '../protocol/offload.js'
import { type ClientSession, inferAsClient, OtSessions } from '../protocol/online/infer.js'
import type { EvaluatorTransfers } from '../protocol/transfer/ot-pair.js'
import { Frames, FrameType } from '../protocol/wire/frames.js'
import { CatalogReply, CatalogRequest } from '../protocol/wire/messages.js'
import type { BundleCost, ClaimedBundle } from '../storage/pools.js'
import type { Repo } from '../storage/repo.js'
import { CATALOG_PROTOCOL, inferProtocol, prepareProtocol } from './protocols.js'
import type { SocketMeter, Traffic } from './socket-meter.js'
import { StreamChannel } from './stream-channel.js'

export interface CatalogItem {
  readonly name: string
  readonly id: string
  readonly description: string
}

export interface Label {
  readonly index: number
  readonly label: string
}

export interface QueryResult {
  readonly model: { readonly name: string; readonly id: string }
  readonly peer: string
  readonly outputs?: number[]
  readonly prediction: Label
  /** Where the labels of several largest outputs are revealed. */
  readonly top?: readonly Label[]
  /** `stages`: the online seconds, stage by stage of the plan. */
  readonly seconds: { readonly offline: number; readonly online: number; readonly stages: readonly number[] }
  readonly bytes: { readonly offline: Traffic; readonly online: Traffic }
  readonly bundle: 'pooled' | 'prepared'
  /** Of a recurrent model: inferences of the session so far. */
  readonly step?: number
}

/** A model as found at a peer. */
export interface RemoteModel {
  readonly connection: Connection
  readonly peer: string
  readonly name: string
  readonly published: PublishedModel
  /** Ids of the bundles prepared since it was found. */
  readonly fresh: Set<string>
}

type Progress = (event: { phase: 'preparing' | 'querying'; done: number; total: number }) => void

/** Elements of shares that one prepare batch holds in memory on the client. */
const BATCH_ELEMENTS = 1 << 22
/** Bundles a query gives up after when the host does not know them: it may have lost its pool. */
const MAX_STALE_BUNDLES = 64

/** Bundles per prepare session: as many as memory allows, since larger batches pack better. */
export function batchSize(plan: Plan, count: number): number {
  const perBundle = plan.stages.reduce((sum, s) => sum + stageSizes(s).input + stageSizes(s).mapOutput, 0)
  return Math.max(1, Math.min(count, MAX_PREPARE_COUNT, Math.floor(BATCH_ELEMENTS / perBundle)))
}

export class Client {
  readonly #repo: Repo
  readonly #node: Libp2p
  readonly #meter: SocketMeter
  readonly #offload: Offload
  readonly #engine: EngineName
  readonly #log: Logger
  readonly #otSessions = new WeakMap<Connection, OtSessions<EvaluatorTransfers>>()

  constructor(repo: Repo, node: Libp2p, meter: SocketMeter, offload: Offload, engine: EngineName, log: Logger) {
    this.#repo = repo
    this.#node = node
    this.#meter = meter
    this.#offload = offload
    this.#engine = engine
    this.#log = log
  }

  /** What a peer serves. `peer` is a multiaddr or a known peer id. */
  async catalog(peer: string, signal: AbortSignal): Promise<{ peer: string; models: CatalogItem[] }> {
    const connection = await this.#connect(peer, signal)
    return { peer: connection.remotePeer.toString(), models: await this.#list(connection, signal) }
  }

  /** Finds a model by name or id at a peer, its manifest checked against the id. */
  async find(peer: string, model: string, signal: AbortSignal): Promise<RemoteModel> {
    const connection = await this.#connect(peer, signal)
    const models = await this.#list(connection, signal)
    const item = models.find(({ name, id }) => name === model || id === model)
    if (item === undefined) {
      const names = models.map(({ name }) => name).join(', ') || 'none'
      throw new MinionnError(
        'UNKNOWN_MODEL',
        `peer ${connection.remotePeer} serves no model "${model}"; it serves: ${names}`,
      )
    }
    const kept = await this.#repo.models.remoteManifest(item.id)
    const bytes = kept ?? (await this.#fetchManifest(connection, item.id, signal))
    const published = openManifest(bytes, item.id)
    if (kept === undefined) await this.#repo.models.putRemoteManifest(item.id, bytes)
    return { connection, peer: connection.remotePeer.toString(), name: item.name, published, fresh: new Set() }
  }

  /** Prepares `count` bundles with a peer, batch by batch; what is done stays, whatever breaks later. */
  async fill(
    remote: RemoteModel,
    count: number,
    signal: AbortSignal,
    progress: Progress,
  ): Promise<{ seconds: number; bytes: Traffic }> {
    let seconds = 0
    let bytes: Traffic = { sent: 0, received: 0 }
    for (let made = 0; made < count; ) {
      const batch = batchSize(remote.published.manifest.plan, count - made)
      const cost = await this.#prepare(remote, batch, signal, (done) =>
        progress({ phase: 'preparing', done: made + done * batch, total: count }),
      )
      made += batch
      seconds += cost.seconds
      bytes = { sent: bytes.sent + cost.bytes.sent, received: bytes.received + cost.bytes.received }
    }
    return { seconds, bytes }
  }

  /**
   * One oblivious prediction, of a recurrent model one step of a session. Without a bundle in the pool, `missing` of them are
   * prepared first.
   */
  async query(
    remote: RemoteModel,
    values: Float64Array,
    missing: number,
    signal: AbortSignal,
    progress: Progress,
    session?: ClientSession,
  ): Promise<{ result: QueryResult; session: ClientSession | undefined }> {
    const { plan } = remote.published.manifest
    const input = quantiseInput(plan, values)
    for (let attempt = 0; ; attempt++) {
      let taken = await this.#repo.clientPool.claimAny(remote.published.id, remote.peer)
      if (taken === undefined) {
        await this.fill(remote, batchSize(plan, missing), signal, progress)
        taken = await this.#repo.clientPool.claimAny(remote.published.id, remote.peer)
        if (taken === undefined)
          throw new MinionnError('BUSY', 'the bundles just prepared were used by other queries; try again')
      }
      try {
        return await this.#infer(remote, taken, input, signal, progress, session)
      } catch (error) {
        const stale = error instanceof MinionnError && error.code === 'UNKNOWN_BUNDLE' && attempt < MAX_STALE_BUNDLES
        if (!stale) throw error
        this.#log.info({ bundle: taken.id }, 'the host does not hold this bundle; dropped it')
      }
    }
  }

  async #infer(
    remote: RemoteModel,
    taken: ClaimedBundle & { cost: BundleCost },
    input: Int32Array,
    signal: AbortSignal,
    progress: Progress,
    session: ClientSession | undefined,
  ): Promise<{ result: QueryResult; session: ClientSession | undefined }> {
    const { connection, published, peer, name } = remote
    const { plan } = published.manifest
    let sessions = this.#otSessions.get(connection)
    if (sessions === undefined) {
      sessions = new OtSessions()
      this.#otSessions.set(connection, sessions)
    }
    const started = performance.now()
    const bundle = decodeClientBundle(plan, Buffer.from(taken.id, 'hex'), taken.bytes)
    const stages: number[] = []
    let last = started
    const stageDone = (done: number) => {
      const now = performance.now()
      stages.push((now - last) / 1000)
      last = now
      progress({ phase: 'querying', done, total: 1 })
    }
    const prediction = await this.#session(connection, inferProtocol(published.id), signal, (frames) =>
      inferAsClient(frames, plan, bundle, input, sessions, {
        progress: stageDone,
        offload: this.#offload,
        session,
        burned: taken.burned,
      }),
    )
    const online = (performance.now() - started) / 1000
    const { seconds, sent, received } = taken.cost
    const named = (index: number) => ({ index, label: plan.card.labels?.[index] ?? String(index) })
    const result: QueryResult = {
      model: { name, id: published.id },
      peer,
      ...(prediction.outputs && { outputs: Array.from(prediction.outputs, (v) => v / plan.output.scale) }),
      prediction: named(prediction.label),
      ...(prediction.labels.length > 1 && { top: prediction.labels.map(named) }),
      seconds: { offline: seconds, online, stages },
      bytes: { offline: { sent, received }, online: this.#meter.take(connection) },
      bundle: remote.fresh.has(taken.id) ? 'prepared' : 'pooled',
      ...(prediction.session && { step: prediction.session.step }),
    }
    return { result, session: prediction.session }
  }

  async #prepare(remote: RemoteModel, count: number, signal: AbortSignal, progress: (done: number) => void) {
    const { connection, published, peer } = remote
    const { plan } = published.manifest
    const started = performance.now()
    const bundles = await this.#session(connection, prepareProtocol(published.id), signal, (frames) =>
      prepareAsClient(frames, plan, count, progress, this.#engine),
    )
    const seconds = (performance.now() - started) / 1000
    const bytes = this.#meter.take(connection)
    const stored = bundles.map((bundle) => ({
      id: Buffer.from(bundle.id).toString('hex'),
      bytes: encodeClientBundle(plan, bundle),
    }))
    const share = {
      seconds: seconds / count,
      sent: Math.round(bytes.sent / count),
      received: Math.round(bytes.received / count),
    }
    await this.#repo.clientPool.add(published.id, peer, stored, share)
    for (const { id } of stored) remote.fresh.add(id)
    return { seconds, bytes }
  }

  async #list(connection: Connection, signal: AbortSignal): Promise<CatalogItem[]> {
    const bytes = await this.#session(connection, CATALOG_PROTOCOL, signal, async (frames) => {
      await frames.sendControl(CatalogRequest, {})
      return await frames.receiveUpTo(FrameType.manifest, MAX_CATALOG_BYTES)
    })
    const { entries } = CatalogReply.decode(bytes, { limits: { entries: MAX_CATALOG_ENTRIES } })
    const printable = (text: string, length: number) => text.replace(/\p{Cc}/gu, ' ').slice(0, length)
    return entries.map((e) => ({
      name: printable(e.name, 64),
      id: printable(e.modelId, 100),
      description: printable(e.description, 200),
    }))
  }

  async #fetchManifest(connection: Connection, id: string, signal: AbortSignal): Promise<Uint8Array> {
    return await this.#session(connection, CATALOG_PROTOCOL, signal, async (frames) => {
      await frames.sendControl(CatalogRequest, { modelId: id })
      return await frames.receiveUpTo(FrameType.manifest, MAX_PLAN_BYTES)
    })
  }

  async #session<T>(
    connection: Connection,
    protocol: string,
    signal: AbortSignal,
    run: (frames: Frames) => Promise<T>,
  ): Promise<T> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
    const stream = await connection.newStream(protocol, { signal: deadline }).catch((cause: Error) => {
      if (signal.aborted) throw cancelled()
      if (cause.name === 'UnsupportedProtocolError') {
        throw new MinionnError('UNKNOWN_MODEL', `peer ${connection.remotePeer} does not speak ${protocol}`, { cause })
      }
      throw new MinionnError('CONNECTION', `cannot open a stream to ${connection.remotePeer}: ${cause.message}`, {
        cause,
      })
    })
    const channel = new StreamChannel(stream)
    const cancel = () => channel.abort(cancelled())
    signal.addEventListener('abort', cancel)
    try {
      const result = await run(new Frames(channel))
      await channel.close()
      return result
    } catch (error) {
      channel.abort(error as Error)
      throw error
    } finally {
      signal.removeEventListener('abort', cancel)
    }
  }

  async #connect(peer: string, signal: AbortSignal): Promise<Connection> {
    const target = await this.#resolve(peer)
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
    try {
      const connection = await this.#node.dial(target, { signal: deadline })
      await this.#repo.peers.remember(connection.remotePeer.toString(), connection.remoteAddr.toString())
      return connection
    } catch (cause) {
      if (signal.aborted) throw cancelled()
      const reason =
        cause instanceof AggregateError
          ? cause.errors.map((e: Error) => e.message).join('; ')
          : (cause as Error).message
      throw new MinionnError('CONNECTION', `cannot reach ${peer} at ${target}: ${reason}. Is its daemon running?`, {
        cause,
      })
    }
  }

  async #resolve(peer: string) {
    if (peer.startsWith('/')) {
      try {
        return multiaddr(peer)
      } catch (cause) {
        throw new MinionnError(
          'BAD_INPUT',
          `"${peer}" is not a multiaddr; one looks like /ip4/127.0.0.1/tcp/4710/p2p/12D3...`,
          { cause },
        )
      }
    }
    try {
      peerIdFromString(peer)
    } catch (cause) {
      throw new MinionnError('BAD_INPUT', `"${peer}" is neither a multiaddr nor a peer id`, { cause })
    }
    const open = this.#node.getConnections().find((connection) => connection.remotePeer.toString() === peer)
    const address = open?.remoteAddr.toString() ?? (await this.#repo.peers.address(peer))
    if (address === undefined) {
      throw new MinionnError(
        'UNKNOWN_PEER',
        `no address is known for peer ${peer}; give its multiaddr once, and its id is enough from then on`,
      )
    }
    return multiaddr(address.includes('/p2p/') ? address : `${address}/p2p/${peer}`)
  }
}

function cancelled(): MinionnError {
  return new MinionnError('CANCELLED', 'cancelled')
}
