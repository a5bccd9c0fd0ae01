/** Concurrent sessions, per peer and in total. */
import { MinionnError } from '../protocol/errors.js'
import { MAX_SESSIONS, MAX_SESSIONS_PER_PEER } from '../protocol/limits.js'

export class SessionLimit {
  readonly #perPeer = new Map<string, number>()
  #total = 0

  get running(): number {
    return this.#total
  }

  /** Runs a session of a peer, or rejects with BUSY. */
  async run<T>(peer: string, session: () => Promise<T>): Promise<T> {
    const own = this.#perPeer.get(peer) ?? 0
    if (own >= MAX_SESSIONS_PER_PEER) {
      throw new MinionnError('BUSY', `this peer has ${own} sessions running, the most a peer may; wait for one to end`)
    }
    if (this.#total >= MAX_SESSIONS) {
      throw new MinionnError('BUSY', `the host runs ${this.#total} sessions, the most it takes; try again later`)
    }
    this.#total++
    this.#perPeer.set(peer, own + 1)
    try {
      return await session()
    } finally {
      this.#total--
      const left = this.#perPeer.get(peer)! - 1
      if (left === 0) this.#perPeer.delete(peer)
      else this.#perPeer.set(peer, left)
    }
  }
}
