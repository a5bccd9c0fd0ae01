/**
 * A bundle: what one inference consumes of precomputed triples. Secret and single-use on both sides.
 *
 * For each stage j: the client holds r_j (from a seed) and v_j = W r_j - u_j, the host u_j (from a seed), so that
 * u_j + v_j = W r_j mod 2^k. MiniONN section 4.
 */
import { needsTriples, type Plan, stageSizes } from '../model/plan.js'
import { Prg, SEED_BYTES } from '../random.js'
import { packBits, packedBytes, unpackBits } from '../ring/bits.js'
import { reduceInto, sumPool } from '../ring/linear.js'

export const BUNDLE_ID_BYTES = 16

export interface ClientBundle {
  readonly id: Uint8Array
  readonly seed: Uint8Array
  /** v_j mod 2^k, per stage with triples; undefined for the others. */
  readonly v: readonly (Uint32Array | undefined)[]
}

export interface ServerBundle {
  readonly id: Uint8Array
  readonly seed: Uint8Array
}

/** The client's mask of stage j's input, uniform mod 2^k. */
export function inputMask(plan: Plan, seed: Uint8Array, j: number): Uint32Array {
  const s = plan.stages[j]
  return new Prg(seed, j).ring(stageSizes(s).input, s.ring)
}

/** What W is applied to of the client's mask: pre(r) mod 2^k. */
export function mapMask(plan: Plan, seed: Uint8Array, j: number): Uint32Array {
  const s = plan.stages[j]
  const r = inputMask(plan, seed, j)
  return s.pre === undefined ? r : reduceInto(sumPool(s.pre, r), s.ring)
}

/** u' of stage j, uniform mod 2^32: the host masks its response with it in the engine's ring, and its share is u = -u' mod 2^k. */
export function responseMask(plan: Plan, seed: Uint8Array, j: number): Uint32Array {
  return new Prg(seed, j).ring(stageSizes(plan.stages[j]).mapOutput, 32)
}

/** The client's share of stage j's y: post(v), or post(pre(r)) where W is the identity. */
export function clientShare(plan: Plan, bundle: ClientBundle, j: number): Uint32Array {
  const s = plan.stages[j]
  const v = bundle.v[j] ?? mapMask(plan, bundle.seed, j)
  return s.post === undefined ? v : reduceInto(sumPool(s.post, v), s.ring)
}

/** Seed and packed v: what the client stores. */
export function encodeClientBundle(plan: Plan, bundle: ClientBundle): Uint8Array {
  const parts = bundle.v.map((v, j) => (v === undefined ? new Uint8Array(0) : packBits(v, plan.stages[j].ring)))
  return Buffer.concat([bundle.seed, ...parts])
}

export function decodeClientBundle(plan: Plan, id: Uint8Array, bytes: Uint8Array): ClientBundle {
  let at = SEED_BYTES
  const v = plan.stages.map((s) => {
    if (!needsTriples(s)) return undefined
    const count = stageSizes(s).mapOutput
    const size = packedBytes(count, s.ring)
    const values = unpackBits(bytes.subarray(at, at + size), count, s.ring)
    at += size
    return values
  })
  if (at !== bytes.length) throw new Error(`expected a bundle of ${at} bytes, got ${bytes.length}`)
  return { id, seed: bytes.slice(0, SEED_BYTES), v }
}
