/** Serving: the catalog, and the prepare and infer protocols of every model in the repo. */
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import { asMinionnError, MinionnError } from '../protocol/errors.js'
import { MAX_CATALOG_ENTRIES, MAX_KEPT_SESSIONS, MAX_STORED_BUNDLES } from '../protocol/limits.js'
import { openManifest } from '../protocol/model/plan.js'
import { decodeWeights, type HostedModel } from '../protocol/model/weights.js'
import { prepareAsServer } from '../protocol/offline/prepare.js'
import type { Offload } from '../protocol/offload.js'
import { inferAsServer, OtSessions, type StateStore } from '../protocol/online/infer.js'
import type { GarblerTransfers } from '../protocol/transfer/ot-pair.js'
import { Frames, FrameType } from '../protocol/wire/frames.js'
import { CatalogReply, CatalogRequest } from '../protocol/wire/messages.js'
import type { StoredModel } from '../storage/models.js'
import type { Repo } from '../storage/repo.js'
import { CATALOG_PROTOCOL, inferProtocol, prepareProtocol } from './protocols.js'
import { SessionLimit } from './session-limit.js'
import { StreamChannel } from './stream-channel.js'

type Session = (frames: Frames, peer: string, connection: Connection) => Promise<void>

export class Host {
  readonly #repo: Repo
  readonly #node: Libp2p
  readonly #offload: Offload
  readonly #log: Logger
  readonly #limit = new SessionLimit()
  readonly #served = new Map<string, { name: string; model: HostedModel }>()
  readonly #otSessions = new WeakMap<Connection, OtSessions<GarblerTransfers>>()

  constructor(repo: Repo, node: Libp2p, offload: Offload, log: Logger) {
    this.#repo = repo
    this.#node = node
    this.#offload = offload
    this.#log = log
  }

  /** Sessions running now. */
  get sessions(): number {
    return this.#limit.running
  }

  async start(): Promise<void> {
    await this.#handle(CATALOG_PROTOCOL, (frames) => this.#catalog(frames))
    for (const name of await this.#repo.models.names()) {
      const stored = await this.#repo.models.get(name)
      if (stored === undefined) continue
      try {
        await this.serve(stored)
      } catch (error) {
        // One model, perhaps added by another version, must not keep the others from being served.
        const reason = asMinionnError(error).message
        this.#log.error({ model: name }, `cannot serve this model: ${reason}; remove it and add its ONNX file again`)
      }
    }
  }

  /** Registers a model's protocols; identify tells connected peers. */
  async serve(stored: StoredModel): Promise<void> {
    const published = openManifest(stored.manifest, stored.id)
    const secret = decodeWeights(stored.weights, published.manifest.plan.stages)
    const model: HostedModel = { published, secret }
    this.#served.set(stored.id, { name: stored.name, model })
    await this.#handle(prepareProtocol(stored.id), (frames, peer) => this.#prepare(frames, peer, model))
    await this.#handle(inferProtocol(stored.id), (frames, peer, connection) =>
      this.#infer(frames, peer, connection, model),
    )
  }

  async withdraw(id: string): Promise<void> {
    this.#served.delete(id)
    await this.#node.unhandle([prepareProtocol(id), inferProtocol(id)])
  }

  async #handle(protocol: string, session: Session): Promise<void> {
    const handler = async (stream: Stream, connection: Connection) => {
      const peer = connection.remotePeer.toString()
      const channel = new StreamChannel(stream)
      const frames = new Frames(channel)
      const started = performance.now()
      try {
        await this.#limit.run(peer, () => session(frames, peer, connection))
        await channel.close()
        this.#log.debug({ protocol, peer, ms: Math.round(performance.now() - started) }, 'session done')
      } catch (thrown) {
        const error = asMinionnError(thrown)
        const level = error.code === 'INTERNAL' ? 'error' : 'info'
        this.#log[level](
          { protocol, peer, code: error.code, err: level === 'error' ? error.cause : undefined },
          error.message,
        )
        await frames.sendError(error)
        await channel.close().catch(() => channel.abort(error))
      }
    }
    await this.#node.handle(protocol, (stream, connection) => void handler(stream, connection), {
      maxInboundStreams: 64,
    })
  }

  async #catalog(frames: Frames): Promise<void> {
    const { modelId } = await frames.receiveControl(CatalogRequest)
    if (modelId !== undefined) {
      const served = this.#served.get(modelId)
      if (served === undefined)
        throw new MinionnError('UNKNOWN_MODEL', `no model ${modelId.slice(0, 100)} is served here`)
      await frames.send(FrameType.manifest, served.model.published.bytes)
      return
    }
    const entries = [...this.#served.values()].slice(0, MAX_CATALOG_ENTRIES).map(({ name, model }) => ({
      name,
      modelId: model.published.id,
      description: model.published.manifest.plan.card.description ?? '',
    }))
    await frames.send(FrameType.manifest, CatalogReply.encode({ entries }))
  }

  async #prepare(frames: Frames, peer: string, model: HostedModel): Promise<void> {
    const { id } = model.published
    const pool = this.#repo.hostPool
    await prepareAsServer(
      frames,
      model,
      async (bundles) => {
        const stored = bundles.map((bundle) => ({ id: Buffer.from(bundle.id).toString('hex'), bytes: bundle.seed }))
        await pool.add(id, peer, stored, MAX_STORED_BUNDLES)
      },
      this.#offload,
    )
  }

  async #infer(frames: Frames, peer: string, connection: Connection, model: HostedModel): Promise<void> {
    let sessions = this.#otSessions.get(connection)
    if (sessions === undefined) {
      sessions = new OtSessions()
      this.#otSessions.set(connection, sessions)
    }
    const burn = async (id: Uint8Array) => {
      const hex = Buffer.from(id).toString('hex')
      const taken = await this.#repo.hostPool.take(model.published.id, peer, hex)
      if (taken === undefined) {
        const spent = await this.#repo.hostPool.isSpent(hex)
        throw new MinionnError(
          'UNKNOWN_BUNDLE',
          spent ? `bundle ${hex} was used already` : `no bundle ${hex} is held for this peer`,
        )
      }
      return { id, seed: taken.bytes }
    }
    const { id } = model.published
    const kept = this.#repo.hostSessions
    const states: StateStore = {
      get: async (session, step) => (await kept.get(id, peer, session, String(step)))?.states,
      put: async (session, step, vectors) => {
        await kept.put(id, peer, [session, String(step)], { step, states: vectors }, 2 * MAX_KEPT_SESSIONS)
        // The step before stays: its client may not have come to the end of this one.
        if (step > 1) await kept.drop(id, peer, session, String(step - 2))
      },
    }
    await inferAsServer(frames, model, burn, sessions, { offload: this.#offload, states })
  }
}
