/** Addresses of peers this node has reached, so that a peer id is enough the next time. */
import type { Database } from './repo.js'
import { Room } from './room.js'

export class Peers {
  readonly #room: Room

  constructor(db: Database) {
    this.#room = new Room(db, 'peer')
  }

  async address(peer: string): Promise<string | undefined> {
    const raw = await this.#room.get(peer)
    return raw === undefined ? undefined : new TextDecoder().decode(raw)
  }

  async remember(peer: string, address: string): Promise<void> {
    if ((await this.address(peer)) === address) return
    await this.#room.write([{ type: 'put', key: this.#room.key(peer), value: new TextEncoder().encode(address) }])
  }

  async all(): Promise<{ peer: string; address: string }[]> {
    const out: { peer: string; address: string }[] = []
    for await (const [[peer], value] of this.#room.entries())
      out.push({ peer, address: new TextDecoder().decode(value) })
    return out
  }
}
