/** A client's way through a recurrent session: where it stands, kept in the repo after every step if it has a name. */
import { MinionnError } from '../protocol/errors.js'
import { MAX_KEPT_SESSIONS } from '../protocol/limits.js'
import { type ClientSession, newSession } from '../protocol/online/infer.js'
import type { Repo } from '../storage/repo.js'
import type { RemoteModel } from './client.js'

/** Names that a command is going on with: steps follow each other. */
const inUse = new Set<string>()

export class SessionSteps {
  readonly #repo: Repo
  readonly #remote: RemoteModel
  readonly #wanted: { readonly name: string; readonly begin: boolean } | undefined
  #current: ClientSession

  /** `wanted`: the session of this name, from its beginning if `begin` or if there is none; without it one that is not kept. */
  constructor(repo: Repo, remote: RemoteModel, wanted: { name: string; begin: boolean } | undefined) {
    this.#repo = repo
    this.#remote = remote
    this.#wanted = wanted
    this.#current = newSession(remote.published.manifest.plan)
  }

  get current(): ClientSession {
    return this.#current
  }

  get #key(): string {
    const { published, peer } = this.#remote
    return [published.id, peer, this.#wanted?.name].join('!')
  }

  /** Takes up what is kept. Throws BUSY where another command is on this session; close() must follow otherwise. */
  async open(): Promise<void> {
    if (this.#wanted === undefined) return
    if (inUse.has(this.#key)) {
      throw new MinionnError(
        'BUSY',
        `session "${this.#wanted.name}" is in use by another command; wait for it, or take another name`,
      )
    }
    inUse.add(this.#key)
    if (this.#wanted.begin) return
    const { published, peer } = this.#remote
    const stored = await this.#repo.clientSessions.get(published.id, peer, this.#wanted.name)
    if (stored === undefined) return
    // The first vector is the session's id.
    const [id, ...masks] = stored.states
    this.#current = {
      id: new Uint8Array(id.buffer.slice(id.byteOffset, id.byteOffset + id.byteLength)),
      step: stored.step,
      masks,
    }
  }

  close(): void {
    inUse.delete(this.#key)
  }

  async advance(session: ClientSession | undefined): Promise<void> {
    if (session === undefined) return
    this.#current = session
    if (this.#wanted === undefined) return
    const { published, peer } = this.#remote
    const states = [new Uint32Array(Uint8Array.from(session.id).buffer), ...session.masks]
    const name = [this.#wanted.name]
    await this.#repo.clientSessions.put(published.id, peer, name, { step: session.step, states }, MAX_KEPT_SESSIONS)
  }
}
