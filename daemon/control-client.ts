/** Calls a running daemon over its control socket. */
import { request } from 'node:http'
import { pipe } from 'it-pipe'
import { type ErrorCode, MinionnError } from '../protocol/errors.js'
import { controlPath } from './control-path.js'

type Line = { event: object } | { result: unknown } | { error: { code: ErrorCode; message: string } }

/**
 * Calls a method of the daemon on `folder`. Rejects with NO_DAEMON where none listens, and with the daemon's own errors.
 */
export async function callDaemon(
  folder: string,
  method: string,
  params: object,
  onEvent: (event: object) => void = () => {},
  signal?: AbortSignal,
): Promise<unknown> {
  const response = await post(folder, method, params, signal)
  return await pipe(response, splitLines, async (lines) => {
    for await (const text of lines) {
      const line = JSON.parse(text) as Line
      if ('event' in line) onEvent(line.event)
      else if ('error' in line) throw new MinionnError(line.error.code, line.error.message)
      else return line.result
    }
    throw new MinionnError('CONNECTION', 'the daemon went away in the middle of the call')
  })
}

function post(folder: string, method: string, params: object, signal?: AbortSignal): Promise<AsyncIterable<Buffer>> {
  return new Promise((resolve, reject) => {
    const call = request(
      { socketPath: controlPath(folder), path: `/${method}`, method: 'POST', signal },
      (response) => {
        resolve(guarded(response))
      },
    )
    call.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED') {
        reject(
          new MinionnError('NO_DAEMON', `no daemon runs on ${folder}; start one with: minionn daemon --repo ${folder}`),
        )
      } else if (signal?.aborted) {
        reject(new MinionnError('CANCELLED', 'cancelled'))
      } else if (cause.code === 'ECONNRESET') {
        reject(new MinionnError('CONNECTION', 'the daemon went away in the middle of the call', { cause }))
      } else {
        reject(new MinionnError('CONNECTION', `the control socket of ${folder} failed: ${cause.message}`, { cause }))
      }
    })
    call.end(JSON.stringify(params))
  })
}

/** A response cut off in the middle is an error of ours, not of the socket. */
async function* guarded(response: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* response
  } catch (cause) {
    throw new MinionnError('CONNECTION', 'the daemon went away in the middle of the call', { cause })
  }
}

async function* splitLines(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const part of source) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
