/**
 * The private half of a compiled model: integer weights and biases, and the salt of their commitment.
 */
import { createHash } from 'node:crypto'
import { weightCount } from '../ring/linear.js'
import { type PublishedModel, type Stage, stageSizes } from './plan.js'

export interface StageWeights {
  /** Layout of ring/linear.ts. */
  readonly weights: Int32Array
  /** One per output of W. */
  readonly bias: Int32Array
}

/** Secret: never leaves the host's repo. */
export interface ModelWeights {
  readonly salt: Uint8Array
  readonly stages: readonly StageWeights[]
}

/** A model a host can serve. */
export interface HostedModel {
  readonly published: PublishedModel
  readonly secret: ModelWeights
}

/** SHA-256 of salt and all weights, hex. */
export function commitmentOf(secret: ModelWeights): string {
  const hash = createHash('sha256').update(secret.salt)
  for (const { weights, bias } of secret.stages) hash.update(bytesOf(weights)).update(bytesOf(bias))
  return hash.digest('hex')
}

export function encodeWeights(secret: ModelWeights): Uint8Array {
  return Buffer.concat([
    secret.salt,
    ...secret.stages.flatMap(({ weights, bias }) => [bytesOf(weights), bytesOf(bias)]),
  ])
}

const SALT_BYTES = 32

/** Inverse of encodeWeights, sizes from the plan. */
export function decodeWeights(bytes: Uint8Array, stages: readonly Stage[]): ModelWeights {
  // A copy that starts its own buffer: a Buffer's slice() would not.
  const all = Uint8Array.from(bytes)
  let at = SALT_BYTES
  const take = (count: number) => {
    const out = new Int32Array(all.buffer.slice(at, at + count * 4))
    at += count * 4
    return out
  }
  const decoded = stages.map((s) => ({ weights: take(weightCount(s.linear)), bias: take(stageSizes(s).mapOutput) }))
  if (at !== bytes.length) throw new Error(`expected ${at} bytes of weights, got ${bytes.length}`)
  return { salt: all.slice(0, SALT_BYTES), stages: decoded }
}

function bytesOf(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}
