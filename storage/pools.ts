/**
 * Pools of single-use bundles and the spent ledger. Taking a bundle deletes it and writes its id to the ledger in one
 * synchronous, atomic batch, before the caller sees it: after any crash a bundle that may have been touched is gone.
 */
import type { Database } from './repo.js'
import { type Operation, Room } from './room.js'

/** What making a bundle cost: its share of the batch it was made in. */
export interface BundleCost {
  readonly seconds: number
  readonly sent: number
  readonly received: number
}

export interface StoredBundle {
  /** Hex. */
  readonly id: string
  readonly bytes: Uint8Array
}

export interface ClaimedBundle extends StoredBundle {
  /** It is deleted and entered in the spent ledger, durably. */
  readonly burned: Promise<void>
}

export interface PoolSize {
  readonly model: string
  readonly peer: string
  readonly count: number
}

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

/** Bundles of one side: key model, peer, bundle id. */
class Pool {
  protected readonly bundles: Room
  protected readonly spent: Room
  /** Ids being taken by this process, so that two takers never get the same. */
  readonly #taking = new Set<string>()

  constructor(db: Database, side: 'host' | 'client') {
    this.bundles = new Room(db, `${side}-bundle`)
    this.spent = new Room(db, `${side}-spent`)
  }

  async sizes(): Promise<PoolSize[]> {
    const counts = new Map<string, number>()
    for await (const [model, peer] of this.bundles.keys()) {
      const key = `${model}!${peer}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    return [...counts].map(([key, count]) => {
      const [model, peer] = key.split('!')
      return { model, peer, count }
    })
  }

  async count(model: string, peer: string): Promise<number> {
    let count = 0
    for await (const _ of this.bundles.keys(model, peer)) count++
    return count
  }

  /** Burns a bundle; undefined where there is none. */
  async take(model: string, peer: string, id: string): Promise<StoredBundle | undefined> {
    const claimed = await this.claim(model, peer, id)
    await claimed?.burned
    return claimed
  }

  /**
   * Begins to burn a bundle, and resolves to it before that is done: nothing that depends on it may be sent until `burned` has
   * resolved. Undefined where there is none.
   */
  protected async claim(model: string, peer: string, id: string): Promise<ClaimedBundle | undefined> {
    if (this.#taking.has(id)) return undefined
    this.#taking.add(id)
    const bytes = await this.bundles.get(model, peer, id)
    if (bytes === undefined || (await this.spent.get(id)) !== undefined) {
      this.#taking.delete(id)
      return undefined
    }
    const written = this.spent.write([
      { type: 'del', key: this.bundles.key(model, peer, id) },
      ...this.alsoDelete(model, peer, id),
      { type: 'put', key: this.spent.key(id), value: encode(Date.now()) },
    ])
    const burned = written.finally(() => this.#taking.delete(id))
    // Whoever waits for it sees the failure.
    burned.catch(() => {})
    return { id, bytes, burned }
  }

  /** Whether a bundle of this id was burned here. */
  async isSpent(id: string): Promise<boolean> {
    return (await this.spent.get(id)) !== undefined
  }

  /** Deletes the bundles of a model and peer, either or both left open; resolves to how many. */
  async drop(model: string | undefined, peer: string | undefined): Promise<number> {
    const operations: Operation[] = []
    let count = 0
    for await (const [m, p, id] of this.bundles.keys()) {
      if ((model !== undefined && m !== model) || (peer !== undefined && p !== peer)) continue
      count++
      operations.push({ type: 'del', key: this.bundles.key(m, p, id) }, ...this.alsoDelete(m, p, id))
    }
    if (count > 0) await this.bundles.write(operations)
    return count
  }

  protected alsoDelete(_model: string, _peer: string, _id: string): Operation[] {
    return []
  }
}

/** The host's halves: what it prepared for each client. */
export class HostPool extends Pool {
  constructor(db: Database) {
    super(db, 'host')
  }

  /**
   * Stores a batch. Beyond `limit` bundles for this model and peer others give way: a client that lost its halves would
   * otherwise be locked out, and one that still has them is told when it asks.
   */
  async add(model: string, peer: string, bundles: readonly StoredBundle[], limit: number): Promise<void> {
    const held: string[] = []
    for await (const [, , id] of this.bundles.keys(model, peer)) held.push(id)
    const excess = held.slice(0, Math.max(0, held.length + bundles.length - limit))
    await this.bundles.write([
      ...excess.map((id): Operation => ({ type: 'del', key: this.bundles.key(model, peer, id) })),
      ...bundles.map(
        ({ id, bytes }): Operation => ({ type: 'put', key: this.bundles.key(model, peer, id), value: bytes }),
      ),
    ])
  }
}

/** The client's halves, with what they cost. */
export class ClientPool extends Pool {
  readonly #costs: Room

  constructor(db: Database) {
    super(db, 'client')
    this.#costs = new Room(db, 'client-cost')
  }

  async add(model: string, peer: string, bundles: readonly StoredBundle[], cost: BundleCost): Promise<void> {
    await this.bundles.write(
      bundles.flatMap(({ id, bytes }): Operation[] => [
        { type: 'put', key: this.bundles.key(model, peer, id), value: bytes },
        { type: 'put', key: this.#costs.key(model, peer, id), value: encode(cost) },
      ]),
    )
  }

  /** Begins to burn any one bundle of the pool. */
  async claimAny(model: string, peer: string): Promise<(ClaimedBundle & { cost: BundleCost }) | undefined> {
    for await (const [, , id] of this.bundles.keys(model, peer)) {
      const raw = await this.#costs.get(model, peer, id)
      const taken = await this.claim(model, peer, id)
      if (taken === undefined || raw === undefined) continue
      return { ...taken, cost: JSON.parse(new TextDecoder().decode(raw)) as BundleCost }
    }
    return undefined
  }

  protected override alsoDelete(model: string, peer: string, id: string): Operation[] {
    return [{ type: 'del', key: this.#costs.key(model, peer, id) }]
  }
}
