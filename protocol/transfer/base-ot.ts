/**
 * 128 random base oblivious transfers on P-256: Chou and Orlandi, "The Simplest Protocol for Oblivious Transfer", LATINCRYPT
 * 2015, figure 1, used semi-honestly. The sender ends with two keys per transfer, the receiver with the one it chose. One message each
 * way, so once per OT session. Scalar multiplications, the secret ones, are OpenSSL's ECDH; sums of public points are noble's.
 */
import { createECDH, createHash, type ECDH } from 'node:crypto'
import { p256 } from '@noble/curves/nist.js'
import { MinionnError } from '../errors.js'
import { SEED_BYTES } from '../random.js'
import { type Frames, FrameType } from '../wire/frames.js'

const { Point } = p256
type Point = InstanceType<typeof Point>
/** Uncompressed. */
const POINT_BYTES = 65
const CURVE = 'prime256v1'

const encode = (point: Point) => point.toBytes(false)

function bad(): never {
  throw new MinionnError('BAD_PEER', 'a base OT point is not a valid point of P-256')
}

function decode(bytes: Uint8Array): Point {
  try {
    const point = Point.fromBytes(bytes)
    if (!point.is0()) return point
  } catch {
    // falls through: not on the curve, or another encoding
  }
  return bad()
}

/** The x coordinate of secret times point. */
function multiply(secret: ECDH, point: Point): Uint8Array {
  // The identity: the peer sent the other's own point.
  if (point.is0()) bad()
  return secret.computeSecret(encode(point))
}

function deriveKey(index: number, a: Uint8Array, b: Uint8Array, shared: Uint8Array): Uint8Array {
  return createHash('sha256')
    .update('minionn base ot')
    .update(Uint8Array.of(index >>> 8, index & 0xff))
    .update(a)
    .update(b)
    .update(shared)
    .digest()
    .subarray(0, SEED_BYTES)
}

function keyPair(): { secret: ECDH; bytes: Uint8Array } {
  const secret = createECDH(CURVE)
  return { secret, bytes: new Uint8Array(secret.generateKeys()) }
}

/** The sender's side: `count` pairs of keys of 16 bytes. */
export async function baseOtSend(frames: Frames, count: number): Promise<[Uint8Array, Uint8Array][]> {
  const { secret, bytes: own } = keyPair()
  await frames.send(FrameType.baseOt, own)
  const reply = await frames.receive(FrameType.baseOt, count * POINT_BYTES)
  const publicPoint = decode(own)
  return Array.from({ length: count }, (_, i) => {
    const bytes = reply.slice(i * POINT_BYTES, (i + 1) * POINT_BYTES)
    const point = decode(bytes)
    const key = (of: Point) => deriveKey(i, own, bytes, multiply(secret, of))
    return [key(point), key(point.subtract(publicPoint))]
  })
}

/** The receiver's side: the key of each choice (0 or 1). */
export async function baseOtReceive(frames: Frames, choices: readonly number[]): Promise<Uint8Array[]> {
  const theirs = await frames.receive(FrameType.baseOt, POINT_BYTES)
  const publicPoint = decode(theirs)
  const pairs = choices.map((choice) => {
    const { secret, bytes } = keyPair()
    // Both are computed, so that timing tells less of the choice.
    const moved = encode(decode(bytes).add(publicPoint))
    return { secret, point: choice ? moved : bytes }
  })
  await frames.send(FrameType.baseOt, Buffer.concat(pairs.map(({ point }) => point)))
  return pairs.map(({ secret, point }, i) => deriveKey(i, theirs, point, multiply(secret, publicPoint)))
}
