/**
 * A bundle: what one inference consumes of precomputed triples. Secret and single-use on both sides.
 *
 * For each stage j: the client holds r_j (from a seed) and v_j = W r_j - u_j, the host u_j (from a seed), so that
 * u_j + v_j = W r_j mod 2^k. MiniONN section 4.
 */
import { needsTriples, type Plan, type Stage, stageSizes, takenBy, valueRing, valueSize } from '../model/plan.js'
import { addSkips, mapInput } from '../model/reference.js'
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

/** The client's mask r of value j, uniform mod 2^k, k the value's ring. */
export function valueMask(plan: Plan, seed: Uint8Array, j: number): Uint32Array {
  return new Prg(seed, j).ring(valueSize(plan, j), valueRing(plan, j))
}

/** The client's masks of the values that a stage takes, by number. */
function masksFor(plan: Plan, seed: Uint8Array, s: Stage): Uint32Array[] {
  const masks: Uint32Array[] = []
  for (const value of takenBy(s)) masks[value] ??= valueMask(plan, seed, value)
  return masks
}

/** What stage i's W is applied to of the client's masks: pre of them put together, mod 2^k. */
export function mapMask(plan: Plan, seed: Uint8Array, i: number): Uint32Array {
  const s = plan.stages[i]
  return reduceInto(mapInput(s, masksFor(plan, seed, s)), s.ring)
}

/** u' of stage j, uniform mod 2^32: the host masks its response with it in the engine's ring, and its share is u = -u' mod 2^k. */
export function responseMask(plan: Plan, seed: Uint8Array, j: number): Uint32Array {
  return new Prg(seed, j).ring(stageSizes(plan.stages[j]).mapOutput, 32)
}

/** The client's share of stage i's y: post(v), or post(pre(r)) where W is the identity, plus its shares of the skips. */
export function clientShare(plan: Plan, bundle: ClientBundle, i: number): Uint32Array {
  const s = plan.stages[i]
  const v = bundle.v[i]?.slice() ?? mapMask(plan, bundle.seed, i)
  const y = s.post === undefined ? v : sumPool(s.post, v)
  return reduceInto(addSkips(s, masksFor(plan, bundle.seed, s), y), s.ring)
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
