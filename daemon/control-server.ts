/**
 * The control socket: HTTP over a Unix socket of mode 0600 in the repo. POST /METHOD with a JSON body; the reply is one
 * JSON object a line: events as they come, then {"result"} or {"error"}. A caller that hangs up cancels its call.
 */
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { asMinionnError, MinionnError } from '../protocol/errors.js'
import { type Context, callMethod } from './api.js'
import { controlPath } from './control-path.js'

/** A request body, bytes: weights and input files travel in it, base64. */
const MAX_BODY_BYTES = 1024 * 1024 * 1024

export class ControlServer {
  readonly #context: Context
  readonly #log: Logger
  readonly #server: Server
  readonly #path: string
  readonly #calls = new Set<AbortController>()

  constructor(context: Context, log: Logger) {
    this.#context = context
    this.#log = log
    this.#path = controlPath(context.repo.folder)
    this.#server = createServer((request, response) => void this.#serve(request, response))
    this.#server.requestTimeout = 0
  }

  async start(): Promise<void> {
    // The repo's lock is held, so a socket that is there is left over from a crash.
    rmSync(this.#path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#path, resolve)
    })
    chmodSync(this.#path, 0o600)
  }

  async stop(): Promise<void> {
    for (const call of this.#calls) call.abort()
    await new Promise((resolve) => {
      this.#server.close(resolve)
      this.#server.closeIdleConnections()
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = new AbortController()
    this.#calls.add(call)
    response.on('close', () => call.abort())
    response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
    response.flushHeaders()
    const line = (value: object) => {
      if (!response.destroyed) response.write(`${JSON.stringify(value)}\n`)
    }
    try {
      const method = request.url?.slice(1) ?? ''
      const params = await readBody(request)
      const result = await callMethod(this.#context, method, params, {
        signal: call.signal,
        emit: (event) => line({ event }),
      })
      line({ result })
    } catch (thrown) {
      const error = asMinionnError(thrown)
      if (error.code === 'INTERNAL') this.#log.error({ err: error.cause }, error.message)
      line({ error: { code: error.code, message: error.message } })
    } finally {
      this.#calls.delete(call)
      response.end()
    }
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of request) {
    length += (part as Buffer).length
    if (length > MAX_BODY_BYTES)
      throw new MinionnError('BAD_INPUT', `a request may have ${MAX_BODY_BYTES} bytes at most`)
    parts.push(part as Buffer)
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8') || '{}')
  } catch {
    throw new MinionnError('BAD_INPUT', 'the request is not JSON')
  }
}
