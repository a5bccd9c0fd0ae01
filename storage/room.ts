/** A prefix of the database. Keys are parts joined by '!', which no part may contain. */
import type { Database } from './repo.js'

export type Operation = { type: 'put'; key: string; value: Uint8Array } | { type: 'del'; key: string }

export class Room {
  readonly #db: Database
  readonly #prefix: string

  constructor(db: Database, name: string) {
    this.#db = db
    this.#prefix = `${name}!`
  }

  key(...parts: readonly string[]): string {
    for (const part of parts) if (part.includes('!')) throw new Error(`a key part may not contain "!": ${part}`)
    return this.#prefix + parts.join('!')
  }

  get(...parts: readonly string[]): Promise<Uint8Array | undefined> {
    return this.#db.get(this.key(...parts))
  }

  /** Atomic, and on disk when it resolves. */
  async write(operations: readonly Operation[]): Promise<void> {
    await this.#db.batch([...operations], { sync: true } as object)
  }

  /** Atomic; a crash of the machine may undo it. */
  async writeLater(operations: readonly Operation[]): Promise<void> {
    await this.#db.batch([...operations])
  }

  /** Parts of all keys that begin with the given parts, in order. */
  async *keys(...parts: readonly string[]): AsyncGenerator<string[]> {
    for await (const key of this.#db.keys(this.#range(parts))) yield key.slice(this.#prefix.length).split('!')
  }

  async *entries(...parts: readonly string[]): AsyncGenerator<[string[], Uint8Array]> {
    for await (const [key, value] of this.#db.iterator(this.#range(parts))) {
      yield [key.slice(this.#prefix.length).split('!'), value]
    }
  }

  #range(parts: readonly string[]): { gte: string; lt: string } {
    const start = parts.length === 0 ? this.#prefix : `${this.key(...parts)}!`
    // '"' is the character after '!'.
    return { gte: start, lt: `${start.slice(0, -1)}"` }
  }
}
