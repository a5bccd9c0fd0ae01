/** Making and opening repos, with errors that say what to do. */
import { mkdirSync, statSync } from 'node:fs'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { MinionnError } from '../protocol/errors.js'
import { Repo } from '../storage/repo.js'

/** Makes a repo with a fresh Ed25519 identity; resolves to the peer id. */
export async function initRepo(folder: string): Promise<string> {
  if (Repo.exists(folder)) throw new MinionnError('BAD_INPUT', `there is a repo in ${folder} already`)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new MinionnError('BAD_INPUT', `cannot make the folder ${folder}: ${(cause as Error).message}`, { cause })
  }
  const key = await generateKeyPair('Ed25519')
  await Repo.init(folder, privateKeyToProtobuf(key))
  return peerIdFromPrivateKey(key).toString()
}

/** Opens a repo for this process alone. Rejects with NO_REPO or REPO_LOCKED. */
export async function openRepo(folder: string): Promise<Repo> {
  if (!Repo.exists(folder)) {
    throw new MinionnError('NO_REPO', `there is no repo in ${folder}; make one with: minionn init --repo ${folder}`)
  }
  if (statSync(folder).uid !== process.getuid?.() && process.getuid?.() !== 0) {
    throw new MinionnError('NO_REPO', `the repo in ${folder} belongs to another user`)
  }
  try {
    return await Repo.open(folder)
  } catch (error) {
    const cause = (error as Error).cause as { code?: string } | undefined
    if (cause?.code === 'LEVEL_LOCKED') {
      throw new MinionnError(
        'REPO_LOCKED',
        `another process uses the repo in ${folder}; is a daemon running on it already?`,
        { cause: error },
      )
    }
    throw new MinionnError('NO_REPO', `the repo in ${folder} cannot be opened: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

export function peerIdOf(repo: Repo): string {
  return peerIdFromPrivateKey(privateKeyFromProtobuf(repo.identity)).toString()
}
