/**
 * States of recurrent sessions, as vectors of 32-bit words: a client's masks, a host's values less the masks. Either half alone is
 * uniform. What is lost with a crash is a session that must begin anew; nothing is ever used twice for it.
 */
import type { Database } from './repo.js'
import { type Operation, Room } from './room.js'

export interface StoredSession {
  /** Inferences so far. */
  readonly step: number
  readonly states: readonly Uint32Array[]
}

interface Header {
  readonly at: number
  readonly step: number
  readonly sizes: readonly number[]
}

function encode({ step, states }: StoredSession): Uint8Array {
  const header: Header = { at: Date.now(), step, sizes: states.map((state) => state.length) }
  const parts = states.map((state) => new Uint8Array(state.buffer, state.byteOffset, state.byteLength))
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...parts])
}

function headerOf(bytes: Uint8Array): { header: Header; end: number } {
  const end = bytes.indexOf(10)
  return { header: JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))) as Header, end: end + 1 }
}

function decode(bytes: Uint8Array): StoredSession {
  const { header, end } = headerOf(bytes)
  let at = end
  const states = header.sizes.map((size) => {
    const state = new Uint32Array(Uint8Array.from(bytes.subarray(at, at + 4 * size)).buffer)
    at += 4 * size
    return state
  })
  return { step: header.step, states }
}

/** Sessions of one side: key model, peer, name, and for a host the step. */
export class Sessions {
  readonly #room: Room

  constructor(db: Database, side: 'host' | 'client') {
    this.#room = new Room(db, `${side}-session`)
  }

  async get(model: string, peer: string, ...name: readonly string[]): Promise<StoredSession | undefined> {
    const bytes = await this.#room.get(model, peer, ...name)
    return bytes === undefined ? undefined : decode(bytes)
  }

  /** Stores a session. Beyond `limit` entries for this model and peer the oldest give way. */
  async put(
    model: string,
    peer: string,
    name: readonly string[],
    session: StoredSession,
    limit: number,
  ): Promise<void> {
    const key = this.#room.key(model, peer, ...name)
    const others: string[] = []
    for await (const parts of this.#room.keys(model, peer)) {
      const other = this.#room.key(...parts)
      if (other !== key) others.push(other)
    }
    const excess = others.length + 1 - limit
    await this.#room.writeLater([
      ...(excess > 0 ? await this.#oldest(model, peer, key, excess) : []).map(
        (old): Operation => ({ type: 'del', key: old }),
      ),
      { type: 'put', key, value: encode(session) },
    ])
  }

  /** Keys of the `count` oldest entries of a model and peer, but for one. */
  async #oldest(model: string, peer: string, but: string, count: number): Promise<string[]> {
    const held: { key: string; at: number }[] = []
    for await (const [parts, value] of this.#room.entries(model, peer)) {
      const key = this.#room.key(...parts)
      if (key !== but) held.push({ key, at: headerOf(value).header.at })
    }
    return held
      .sort((a, b) => a.at - b.at)
      .slice(0, count)
      .map(({ key }) => key)
  }

  /** All sessions of this side, with when they were last gone on with, milliseconds since 1970. */
  async all(): Promise<{ model: string; peer: string; name: string; step: number; at: number }[]> {
    const sessions = []
    for await (const [[model, peer, name], value] of this.#room.entries()) {
      const { at, step } = headerOf(value).header
      sessions.push({ model, peer, name, step, at })
    }
    return sessions
  }

  async drop(model: string, peer: string, ...name: readonly string[]): Promise<void> {
    await this.#room.writeLater([{ type: 'del', key: this.#room.key(model, peer, ...name) }])
  }

  /** Deletes the sessions of a model. */
  async dropModel(model: string): Promise<void> {
    const operations: Operation[] = []
    for await (const parts of this.#room.keys(model)) operations.push({ type: 'del', key: this.#room.key(...parts) })
    if (operations.length > 0) await this.#room.writeLater(operations)
  }
}
