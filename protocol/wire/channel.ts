/**
 * The duplex byte channel that all protocol code sees: exact reads, writes with back-pressure, abort.
 * libp2p streams, in-memory pairs and whatever comes later stand behind it.
 */
export interface Channel {
  /** The next `length` bytes; rejects when the peer closes first or a deadline passes. */
  read(length: number): Promise<Uint8Array>
  /** Sends the parts one after another; resolves when the transport can take more. They must not be changed afterwards. */
  write(...parts: Uint8Array[]): Promise<void>
  /** Ends the channel; both sides' pending operations reject. */
  abort(reason: Error): void
}

/** Queue of received bytes with exact reads; the receiving half of every Channel. */
export class ReadQueue {
  #parts: Uint8Array[] = []
  #offset = 0
  #length = 0
  #waiting: { length: number; resolve: (bytes: Uint8Array) => void; reject: (error: Error) => void } | undefined
  #ended: Error | undefined

  /** Bytes received and not yet read. */
  get length(): number {
    return this.#length
  }

  /** True while a read waits for bytes. */
  get starving(): boolean {
    return this.#waiting !== undefined
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#ended !== undefined) return
    this.#parts.push(bytes)
    this.#length += bytes.length
    this.#serve()
  }

  /** No more bytes will come; what was received can still be read. */
  end(reason: Error): void {
    this.#ended ??= reason
    this.#serve()
  }

  read(length: number): Promise<Uint8Array> {
    if (this.#waiting !== undefined) return Promise.reject(new Error('a read is already waiting on this channel'))
    return new Promise((resolve, reject) => {
      this.#waiting = { length, resolve, reject }
      this.#serve()
    })
  }

  #serve(): void {
    const waiting = this.#waiting
    if (waiting === undefined) return
    if (this.#length >= waiting.length) {
      this.#waiting = undefined
      waiting.resolve(this.#take(waiting.length))
    } else if (this.#ended !== undefined) {
      this.#waiting = undefined
      waiting.reject(this.#ended)
    }
  }

  /** Without a copy where the bytes lie in one part. */
  #take(length: number): Uint8Array {
    const head = this.#parts[0]
    if (head !== undefined && head.length - this.#offset > length) {
      const out = head.subarray(this.#offset, this.#offset + length)
      this.#offset += length
      this.#length -= length
      return out
    }
    const out = new Uint8Array(length)
    let filled = 0
    let consumed = 0
    while (filled < length) {
      const part = this.#parts[consumed]
      const take = Math.min(length - filled, part.length - this.#offset)
      out.set(part.subarray(this.#offset, this.#offset + take), filled)
      filled += take
      this.#offset += take
      if (this.#offset === part.length) {
        consumed++
        this.#offset = 0
      }
    }
    this.#parts.splice(0, consumed)
    this.#length -= length
    return out
  }
}

/** Two channels joined in memory, for both parties in one process. Counts the bytes each side sent. */
export function memoryChannels(): [MemoryChannel, MemoryChannel] {
  const a = new MemoryChannel()
  const b = new MemoryChannel()
  a.peer = b
  b.peer = a
  return [a, b]
}

export class MemoryChannel implements Channel {
  readonly #queue = new ReadQueue()
  peer: MemoryChannel | undefined
  /** Bytes sent so far. */
  sent = 0
  #drained: (() => void) | undefined

  async read(length: number): Promise<Uint8Array> {
    const bytes = await this.#queue.read(length)
    this.#drained?.()
    return bytes
  }

  async write(...parts: Uint8Array[]): Promise<void> {
    const peer = this.peer!
    for (const part of parts) {
      this.sent += part.length
      peer.#queue.push(part)
    }
    // As real transports do: hold the writer while the reader lags.
    while (peer.#queue.length > 4 * 1024 * 1024 && !peer.#queue.starving) {
      await new Promise<void>((resolve) => {
        peer.#drained = resolve
      })
    }
  }

  abort(reason: Error): void {
    for (const side of [this, this.peer!]) {
      side.#queue.end(reason)
      side.#drained?.()
    }
  }
}
