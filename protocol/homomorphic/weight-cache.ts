/**
 * Weight polynomials kept across prepare sessions within a bound: making one costs more than using it.
 */
import type { WeightPolynomials } from './engine.js'

/** Bytes of weight polynomials kept; one linear map's alone may go beyond it. */
const MAX_KEPT_BYTES = 640 * 1024 * 1024

const entries = new Map<string, WeightPolynomials>()

/** The polynomials of a key, made where they are not kept. They are valid until the next call. */
export function keptWeights<W extends WeightPolynomials>(key: string, make: () => W): W {
  // One key is always of one engine, which is part of it.
  const kept = (entries.get(key) as W | undefined) ?? make()
  // Last in the order of insertion is the most recently used.
  entries.delete(key)
  entries.set(key, kept)
  let total = [...entries.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  for (const [oldest, polynomials] of entries) {
    if (total <= MAX_KEPT_BYTES || oldest === key) break
    total -= polynomials.bytes
    polynomials.dispose()
    entries.delete(oldest)
  }
  return kept
}
