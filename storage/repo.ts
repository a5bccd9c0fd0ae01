/**
 * The repo: a folder of mode 0700 with one LevelDB in it. Rooms of the database: identity, models, manifests of remote
 * models, pools of single-use bundles, the spent ledger, addresses of known peers, states of recurrent sessions.
 *
 * Opening takes LevelDB's lock, so one process holds a repo at a time.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Level } from 'level'
import { Models } from './models.js'
import { Peers } from './peers.js'
import { ClientPool, HostPool } from './pools.js'
import { Sessions } from './sessions.js'

/** Values are bytes; what they mean is the business of the rooms. */
export type Database = Level<string, Uint8Array>

const FORMAT_KEY = 'format'
const FORMAT = '1'
const IDENTITY_KEY = 'identity'

export class Repo {
  readonly folder: string
  readonly models: Models
  readonly hostPool: HostPool
  readonly clientPool: ClientPool
  readonly peers: Peers
  readonly hostSessions: Sessions
  readonly clientSessions: Sessions
  readonly #db: Database
  /** The libp2p private key, as protobuf. Secret. */
  readonly identity: Uint8Array

  private constructor(folder: string, db: Database, identity: Uint8Array) {
    this.folder = folder
    this.#db = db
    this.identity = identity
    this.models = new Models(db)
    this.hostPool = new HostPool(db)
    this.clientPool = new ClientPool(db)
    this.peers = new Peers(db)
    this.hostSessions = new Sessions(db, 'host')
    this.clientSessions = new Sessions(db, 'client')
  }

  static exists(folder: string): boolean {
    return existsSync(join(folder, 'db', 'CURRENT'))
  }

  /** Makes a repo with this identity. Rejects where there is one already. */
  static async init(folder: string, identity: Uint8Array): Promise<void> {
    if (Repo.exists(folder)) throw new Error(`there is a repo in ${folder} already`)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const db = await openDatabase(folder)
    await db.batch(
      [
        { type: 'put', key: FORMAT_KEY, value: new TextEncoder().encode(FORMAT) },
        { type: 'put', key: IDENTITY_KEY, value: identity },
      ],
      { sync: true } as object,
    )
    await db.close()
  }

  /** Opens a repo; rejects with LevelDB's LEVEL_LOCKED in the cause where another process holds it. */
  static async open(folder: string): Promise<Repo> {
    const db = await openDatabase(folder)
    const format = await db.get(FORMAT_KEY)
    const identity = await db.get(IDENTITY_KEY)
    if (identity === undefined || format === undefined || new TextDecoder().decode(format) !== FORMAT) {
      await db.close()
      throw new Error(`the repo in ${folder} is of another format; this version reads format ${FORMAT}`)
    }
    return new Repo(folder, db, identity)
  }

  async close(): Promise<void> {
    await this.#db.close()
  }
}

async function openDatabase(folder: string): Promise<Database> {
  const db = new Level<string, Uint8Array>(join(folder, 'db'), { valueEncoding: 'view' })
  await db.open()
  return db
}
