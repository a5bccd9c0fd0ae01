/**
 * 128 random base oblivious transfers on ristretto255: Chou and Orlandi, "The Simplest Protocol for Oblivious
 * Transfer", LATINCRYPT 2015, figure 1, used semi-honestly. The sender ends with two keys per transfer, the receiver
 * with the one it chose. One message each way; 256 scalar multiplications a side, so once per OT session.
 */
import { createHash, randomBytes } from 'node:crypto'
import { ristretto255 } from '@noble/curves/ed25519.js'
import { MinionnError } from '../errors.js'
import { SEED_BYTES } from '../random.js'
import { type Frames, FrameType } from '../wire/frames.js'

const { Point } = ristretto255
type Point = InstanceType<typeof Point>
const POINT_BYTES = 32

/** A uniform scalar: 64 random bytes reduced modulo the 252-bit order, bias below 2^-256. */
function randomScalar(): bigint {
  const scalar = BigInt(`0x${randomBytes(64).toString('hex')}`) % Point.Fn.ORDER
  return scalar === 0n ? 1n : scalar
}

function decodePoint(bytes: Uint8Array): Point {
  try {
    const point = Point.fromBytes(bytes)
    if (!point.is0()) return point
  } catch {
    // falls through: not a canonical encoding
  }
  throw new MinionnError('BAD_PEER', 'a base OT point is not a valid ristretto255 element')
}

function deriveKey(index: number, a: Uint8Array, b: Uint8Array, shared: Point): Uint8Array {
  return createHash('sha256')
    .update('minionn base ot')
    .update(Uint8Array.of(index >>> 8, index & 0xff))
    .update(a)
    .update(b)
    .update(shared.toBytes())
    .digest()
    .subarray(0, SEED_BYTES)
}

/** The sender's side: `count` pairs of keys of 16 bytes. */
export async function baseOtSend(frames: Frames, count: number): Promise<[Uint8Array, Uint8Array][]> {
  const secret = randomScalar()
  const publicPoint = Point.BASE.multiply(secret)
  const publicBytes = publicPoint.toBytes()
  await frames.send(FrameType.baseOt, publicBytes)
  const reply = await frames.receive(FrameType.baseOt, count * POINT_BYTES)
  const offset = publicPoint.multiply(secret)
  return Array.from({ length: count }, (_, i) => {
    const bytes = reply.subarray(i * POINT_BYTES, (i + 1) * POINT_BYTES)
    const shared = decodePoint(bytes).multiply(secret)
    return [deriveKey(i, publicBytes, bytes, shared), deriveKey(i, publicBytes, bytes, shared.subtract(offset))]
  })
}

/** The receiver's side: the key of each choice (0 or 1). */
export async function baseOtReceive(frames: Frames, choices: readonly number[]): Promise<Uint8Array[]> {
  const publicBytes = await frames.receive(FrameType.baseOt, POINT_BYTES)
  const publicPoint = decodePoint(publicBytes)
  const secrets = choices.map(() => randomScalar())
  const points = secrets.map((secret, i) => {
    const point = Point.BASE.multiply(secret)
    // Both are computed, so that timing tells less of the choice.
    const moved = point.add(publicPoint)
    return (choices[i] ? moved : point).toBytes()
  })
  await frames.send(FrameType.baseOt, Buffer.concat(points))
  return secrets.map((secret, i) => deriveKey(i, publicBytes, points[i], publicPoint.multiply(secret)))
}
