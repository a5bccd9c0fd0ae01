/**
 * A libp2p stream as a Channel: exact reads, writes that wait for drain, back-pressure to the peer's window, and one
 * deadline for silence in either direction.
 */
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'
import { MinionnError } from '../protocol/errors.js'
import { IDLE_TIMEOUT_MS, MAX_STREAM_WINDOW, READ_HIGH_WATER, WRITE_HIGH_WATER } from '../protocol/limits.js'
import { type Channel, ReadQueue } from '../protocol/wire/channel.js'

export class StreamChannel implements Channel {
  readonly #stream: Stream
  readonly #queue = new ReadQueue()
  readonly #idleMs: number
  #paused = false
  #resuming = false
  #failure: Error | undefined
  #lastActivity = Date.now()

  constructor(stream: Stream, idleMs = IDLE_TIMEOUT_MS) {
    this.#stream = stream
    this.#idleMs = idleMs
    // While paused the peer may still fill its window; libp2p resets streams that buffer more than this.
    stream.maxReadBufferLength = 2 * MAX_STREAM_WINDOW
    stream.addEventListener('message', (event: StreamMessageEvent) => this.#onMessage(event))
    // A stream may close while data of it still waits behind a pause: only `end` says that all was handed over.
    stream.addEventListener('end', () => this.#end(undefined))
    stream.addEventListener('close', (event: StreamCloseEvent) => {
      if (event.error !== undefined) this.#end(event.error)
    })
  }

  async read(length: number): Promise<Uint8Array> {
    const reading = this.#queue.read(length)
    // Resumed early enough not to stall, and always when this read needs more than what lies here.
    if (this.#paused && (this.#queue.starving || this.#queue.length < READ_HIGH_WATER / 2)) this.#resume()
    return await this.#withDeadline(reading, 'to send')
  }

  #resume(): void {
    this.#paused = false
    this.#resuming = true
    try {
      this.#stream.resume()
    } catch {
      // The stream was reset meanwhile; its close event ended the queue.
      return
    } finally {
      this.#resuming = false
    }
    this.#pauseIfFull()
  }

  async write(...parts: Uint8Array[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    try {
      this.#stream.send(new Uint8ArrayList(...parts))
    } catch (cause) {
      throw this.#failure ?? gone(cause)
    }
    if (!this.#stream.writableNeedsDrain) return
    // Work goes on while the network takes what is queued; one turn of the event loop lets it.
    if (this.#stream.writeBufferLength < WRITE_HIGH_WATER) return await new Promise((resolve) => setImmediate(resolve))
    // libp2p's own onDrain() resolves at once after the first drain; the event does not.
    while (this.#stream.writableNeedsDrain && this.#stream.writeBufferLength >= WRITE_HIGH_WATER) {
      await this.#withDeadline(this.#drained(), 'to receive')
    }
  }

  abort(reason: Error): void {
    this.#failure ??= reason
    this.#queue.end(reason)
    this.#stream.abort(reason)
  }

  /** Ends the sending side after all data is out. */
  async close(): Promise<void> {
    await this.#stream.close({ signal: AbortSignal.timeout(this.#idleMs) })
  }

  #onMessage(event: StreamMessageEvent): void {
    this.#lastActivity = Date.now()
    const { data } = event
    if (data instanceof Uint8Array) this.#queue.push(data)
    else for (const part of data) this.#queue.push(part)
    this.#pauseIfFull()
  }

  #pauseIfFull(): void {
    // A pause from within resume() would be undone by it.
    if (this.#paused || this.#resuming || this.#queue.starving || this.#queue.length < READ_HIGH_WATER) return
    if (this.#stream.status !== 'open') return
    try {
      this.#stream.pause()
      this.#paused = true
    } catch {
      // The readable end is closing: all that will ever come is here, and there is nobody left to hold back.
    }
  }

  #end(error: Error | undefined): void {
    this.#failure ??= gone(error)
    this.#queue.end(this.#failure)
  }

  #drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#stream.removeEventListener('drain', drain)
        this.#stream.removeEventListener('close', close)
      }
      const drain = () => {
        stop()
        this.#lastActivity = Date.now()
        // The stream sends what it held back in a microtask of its own.
        setImmediate(resolve)
      }
      const close = (event: StreamCloseEvent) => {
        stop()
        reject(this.#failure ?? gone(event.error))
      }
      this.#stream.addEventListener('drain', drain)
      this.#stream.addEventListener('close', close)
    })
  }

  async #withDeadline<T>(operation: Promise<T>, what: string): Promise<T> {
    this.#lastActivity = Date.now()
    const check = () => {
      const silent = Date.now() - this.#lastActivity
      if (silent < this.#idleMs) {
        timer = setTimeout(check, this.#idleMs - silent)
        return
      }
      // After a long computation of our own, data may wait behind this timer.
      setImmediate(() => {
        if (Date.now() - this.#lastActivity < this.#idleMs) check()
        else this.abort(new MinionnError('TIMEOUT', `waited ${this.#idleMs / 1000} s for the peer ${what}; gave up`))
      })
    }
    let timer = setTimeout(check, this.#idleMs)
    try {
      return await operation
    } finally {
      clearTimeout(timer)
    }
  }
}

function gone(cause?: unknown): MinionnError {
  return new MinionnError('CONNECTION', 'the connection to the peer ended in the middle of the session', { cause })
}
