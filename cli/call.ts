/** Runs a method of the control API: in the daemon where one runs, else on the repo itself where that is enough. */
import { callMethod, type MethodName } from '../daemon/api.js'
import { callDaemon } from '../daemon/control-client.js'
import { openRepo, peerIdOf } from '../daemon/repo-access.js'
import { MinionnError } from '../protocol/errors.js'
import { Repo } from '../storage/repo.js'

/** Methods that talk to peers or about the running daemon. */
const NEEDS_DAEMON: ReadonlySet<MethodName> = new Set<MethodName>(['status', 'catalog', 'pool.fill', 'query'])

export async function call<T>(
  folder: string,
  method: MethodName,
  params: object,
  signal: AbortSignal,
  onEvent: (event: object) => void = () => {},
): Promise<T> {
  if (!Repo.exists(folder)) {
    throw new MinionnError('NO_REPO', `there is no repo in ${folder}; make one with: minionn init --repo ${folder}`)
  }
  try {
    return (await callDaemon(folder, method, params, onEvent, signal)) as T
  } catch (error) {
    const alone = error instanceof MinionnError && error.code === 'NO_DAEMON' && !NEEDS_DAEMON.has(method)
    if (!alone) throw error
  }
  const repo = await openRepo(folder)
  try {
    const context = { repo, peerId: peerIdOf(repo), running: undefined }
    return (await callMethod(context, method, params, { signal, emit: onEvent })) as T
  } finally {
    await repo.close()
  }
}
