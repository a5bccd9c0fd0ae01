/**
 * Typed frames over a Channel: one byte of type, four of length (little-endian), then the payload.
 * Control frames carry protobuf messages; all others are raw binary whose exact length both sides know.
 */

import { ERROR_CODES, type ErrorCode, MinionnError } from '../errors.js'
import { MAX_CONTROL_BYTES } from '../limits.js'
import type { Channel } from './channel.js'
import { ErrorMessage } from './messages.js'

export const FrameType = {
  error: 0,
  control: 1,
  baseOt: 2,
  otCorrection: 3,
  ciphertexts: 4,
  masked: 5,
  tables: 6,
  projections: 7,
  colours: 8,
  shares: 9,
  manifest: 10,
  selections: 11,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

export const HEADER_BYTES = 5
const MAX_ERROR_TEXT = 1024

interface Codec<T> {
  encode(message: Partial<T>): Uint8Array
  decode(bytes: Uint8Array): T
}

export class Frames {
  readonly #channel: Channel
  /** Payload and header bytes so far. */
  sent = 0
  received = 0

  constructor(channel: Channel) {
    this.#channel = channel
  }

  /** Sends one frame; resolves when the transport can take more. */
  async send(type: FrameType, payload: Uint8Array): Promise<void> {
    const header = new Uint8Array(HEADER_BYTES)
    header[0] = type
    new DataView(header.buffer).setUint32(1, payload.length, true)
    this.sent += HEADER_BYTES + payload.length
    await this.#channel.write(header, payload)
  }

  async sendControl<T>(codec: Codec<T>, message: T): Promise<void> {
    await this.send(FrameType.control, codec.encode(message))
  }

  /** The payload of the next frame, which must be of this type and exactly this long. */
  async receive(type: FrameType, length: number): Promise<Uint8Array> {
    return await this.#receive(type, (announced) => announced === length, `exactly ${length}`)
  }

  /** The payload of the next frame, which must be of this type and at most this long. */
  async receiveUpTo(type: FrameType, limit: number): Promise<Uint8Array> {
    return await this.#receive(type, (announced) => announced <= limit, `at most ${limit}`)
  }

  async receiveControl<T>(codec: Codec<T>): Promise<T> {
    const payload = await this.receiveUpTo(FrameType.control, MAX_CONTROL_BYTES)
    return decode(codec, payload)
  }

  async #receive(type: FrameType, fits: (length: number) => boolean, expected: string): Promise<Uint8Array> {
    const header = await this.#channel.read(HEADER_BYTES)
    const length = new DataView(header.buffer, header.byteOffset).getUint32(1, true)
    this.received += HEADER_BYTES + length
    if (header[0] === FrameType.error && type !== FrameType.error) {
      if (length > MAX_CONTROL_BYTES)
        throw new MinionnError('BAD_PEER', `the peer announced an error of ${length} bytes`)
      throw remoteError(await this.#channel.read(length))
    }
    if (header[0] !== type) {
      throw new MinionnError('BAD_PEER', `expected a ${frameName(type)} frame, the peer sent ${frameName(header[0])}`)
    }
    if (!fits(length)) {
      throw new MinionnError(
        'BAD_PEER',
        `expected a ${frameName(type)} frame of ${expected} bytes, the peer announced ${length}`,
      )
    }
    return await this.#channel.read(length)
  }

  /** Tells the peer why this side gives up, as far as it may know; never throws. */
  async sendError(error: MinionnError): Promise<void> {
    const shown = error.code === 'INTERNAL' ? 'internal error; see the log of that node' : error.message
    const payload = ErrorMessage.encode({ code: error.code, message: shown.slice(0, MAX_ERROR_TEXT) })
    await this.send(FrameType.error, payload).catch(() => {})
  }
}

function decode<T>(codec: Codec<T>, payload: Uint8Array): T {
  try {
    return codec.decode(payload)
  } catch (cause) {
    throw new MinionnError('BAD_PEER', 'the peer sent a control message that does not parse', { cause })
  }
}

function remoteError(payload: Uint8Array): MinionnError {
  const { code, message } = decode(ErrorMessage, payload)
  const known = (ERROR_CODES as readonly string[]).includes(code) ? (code as ErrorCode) : 'BAD_PEER'
  // Control characters from a peer must not reach a terminal.
  const text = message.slice(0, MAX_ERROR_TEXT).replace(/\p{Cc}/gu, ' ')
  return new MinionnError(known, `the peer says: ${text}`)
}

function frameName(type: number): string {
  return Object.entries(FrameType).find(([, value]) => value === type)?.[0] ?? `unknown (${type})`
}
