/** Both parties of the protocol in one process, over channels in memory. */
import { MinionnError } from '../../protocol/errors.js'
import type { HostedModel } from '../../protocol/model/weights.js'
import type { ClientBundle, ServerBundle } from '../../protocol/offline/bundle.js'
import { prepareAsClient, prepareAsServer } from '../../protocol/offline/prepare.js'
import { inline, type Offload } from '../../protocol/offload.js'
import { type ClientSession, inferAsClient, inferAsServer, OtSessions } from '../../protocol/online/infer.js'
import type { EvaluatorTransfers, GarblerTransfers } from '../../protocol/transfer/ot-pair.js'
import { memoryChannels } from '../../protocol/wire/channel.js'
import { Frames } from '../../protocol/wire/frames.js'

export function framePair(): { client: Frames; host: Frames } {
  const [a, b] = memoryChannels()
  return { client: new Frames(a), host: new Frames(b) }
}

export class TwoParties {
  readonly model: HostedModel
  readonly #bundles = new Map<string, ServerBundle>()
  readonly #hostSessions = new OtSessions<GarblerTransfers>()
  readonly #clientSessions = new OtSessions<EvaluatorTransfers>()
  /** Bytes of the last prepare and infer. */
  offline = { sent: 0, received: 0 }
  online = { sent: 0, received: 0 }

  readonly #kept = new Map<string, readonly Uint32Array[]>()
  readonly #states = {
    get: async (session: string, step: number) => this.#kept.get(`${session}/${step}`),
    put: async (session: string, step: number, states: readonly Uint32Array[]) =>
      void this.#kept.set(`${session}/${step}`, states),
  }

  readonly #offload: Offload

  constructor(model: HostedModel, offload = inline) {
    this.model = model
    this.#offload = offload
  }

  get plan() {
    return this.model.published.manifest.plan
  }

  async prepare(count: number): Promise<ClientBundle[]> {
    const { client, host } = framePair()
    const [bundles] = await Promise.all([
      prepareAsClient(client, this.plan, count),
      prepareAsServer(
        host,
        this.model,
        async (made) => {
          for (const bundle of made) this.#bundles.set(Buffer.from(bundle.id).toString('hex'), bundle)
        },
        this.#offload,
      ),
    ])
    this.offline = { sent: client.sent, received: client.received }
    return bundles
  }

  async infer(bundle: ClientBundle, input: Int32Array, session?: ClientSession) {
    const [near, far] = memoryChannels()
    const [client, host] = [new Frames(near), new Frames(far)]
    const burn = async (id: Uint8Array) => {
      const key = Buffer.from(id).toString('hex')
      const found = this.#bundles.get(key)
      if (found === undefined) throw new MinionnError('UNKNOWN_BUNDLE', 'no such bundle')
      this.#bundles.delete(key)
      return found
    }
    const [prediction] = await Promise.all([
      inferAsClient(client, this.plan, bundle, input, this.#clientSessions, { offload: this.#offload, session }),
      inferAsServer(host, this.model, burn, this.#hostSessions, { offload: this.#offload, states: this.#states }),
    ]).catch((error) => {
      near.abort(error)
      throw error
    })
    this.online = { sent: client.sent, received: client.received }
    return prediction
  }
}
