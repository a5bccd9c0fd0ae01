/** Models this node serves, and manifests of models that others serve. */
import type { Database } from './repo.js'
import { Room } from './room.js'

export interface StoredModel {
  readonly name: string
  readonly id: string
  readonly addedAt: number
  /** The public manifest's bytes. */
  readonly manifest: Uint8Array
  /** The weights' bytes. Secret. */
  readonly weights: Uint8Array
}

interface Entry {
  readonly id: string
  readonly addedAt: number
}

export class Models {
  readonly #names: Room
  readonly #manifests: Room
  readonly #weights: Room
  readonly #remote: Room

  constructor(db: Database) {
    this.#names = new Room(db, 'model')
    this.#manifests = new Room(db, 'manifest')
    this.#weights = new Room(db, 'weights')
    this.#remote = new Room(db, 'remote')
  }

  async add(model: StoredModel): Promise<void> {
    const entry: Entry = { id: model.id, addedAt: model.addedAt }
    await this.#names.write([
      { type: 'put', key: this.#names.key(model.name), value: new TextEncoder().encode(JSON.stringify(entry)) },
      { type: 'put', key: this.#manifests.key(model.id), value: model.manifest },
      { type: 'put', key: this.#weights.key(model.id), value: model.weights },
    ])
  }

  async get(name: string): Promise<StoredModel | undefined> {
    const raw = await this.#names.get(name)
    if (raw === undefined) return undefined
    const { id, addedAt } = JSON.parse(new TextDecoder().decode(raw)) as Entry
    const [manifest, weights] = await Promise.all([this.#manifests.get(id), this.#weights.get(id)])
    if (manifest === undefined || weights === undefined) throw new Error(`the repo lacks the data of model ${name}`)
    return { name, id, addedAt, manifest, weights }
  }

  async names(): Promise<string[]> {
    const names: string[] = []
    for await (const [name] of this.#names.keys()) names.push(name)
    return names
  }

  async remove(name: string, id: string): Promise<void> {
    await this.#names.write([
      { type: 'del', key: this.#names.key(name) },
      { type: 'del', key: this.#manifests.key(id) },
      { type: 'del', key: this.#weights.key(id) },
    ])
  }

  async remoteManifest(id: string): Promise<Uint8Array | undefined> {
    return await this.#remote.get(id)
  }

  async putRemoteManifest(id: string, bytes: Uint8Array): Promise<void> {
    await this.#remote.write([{ type: 'put', key: this.#remote.key(id), value: bytes }])
  }
}
