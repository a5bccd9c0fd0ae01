/**
 * Weight polynomials in NTT form, kept across prepare sessions within a bound: making one costs more than using it.
 */
import type { WeightPolynomials } from './responder.js'

/** Polynomials kept, 64 KiB each in SEAL's heap: 512 MiB of the 4 GiB that a WebAssembly memory may grow to. */
const MAX_KEPT = 8192

interface Entry {
  readonly polynomials: WeightPolynomials
  users: number
}

const entries = new Map<string, Entry>()

/** Runs `use` with the polynomials of a key, made where they are not kept. */
export async function withWeights<T>(
  key: string,
  make: () => WeightPolynomials,
  use: (polynomials: WeightPolynomials) => Promise<T>,
): Promise<T> {
  const entry = entries.get(key) ?? { polynomials: make(), users: 0 }
  // Last in the order of insertion is the most recently used.
  entries.delete(key)
  entries.set(key, entry)
  entry.users++
  try {
    return await use(entry.polynomials)
  } finally {
    entry.users--
    evict()
  }
}

function evict(): void {
  let kept = 0
  for (const { polynomials } of entries.values()) kept += polynomials.size
  for (const [key, { polynomials, users }] of entries) {
    if (kept <= MAX_KEPT) return
    if (users > 0) continue
    kept -= polynomials.size
    polynomials.dispose()
    entries.delete(key)
  }
}
