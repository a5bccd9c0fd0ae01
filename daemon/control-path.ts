import { join } from 'node:path'
import { MinionnError } from '../protocol/errors.js'

/** Unix sockets' paths fit sockaddr_un: 108 bytes on Linux, 104 elsewhere, the closing zero included. */
const MAX_SOCKET_PATH = 103

/** The control socket of a repo. Throws BAD_INPUT where the path is too long for one. */
export function controlPath(folder: string): string {
  const path = join(folder, 'control.sock')
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new MinionnError(
      'BAD_INPUT',
      `the repo's path is ${Buffer.byteLength(folder)} bytes long; a control socket needs at most ${MAX_SOCKET_PATH - 13}. Choose a shorter --repo`,
    )
  }
  return path
}
