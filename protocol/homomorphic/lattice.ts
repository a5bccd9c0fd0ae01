/**
 * The ring of the triple engine: polynomials modulo X^4096 + 1 and Q, the product of four primes of 27.25 bits that are 1
 * modulo 8192, kept as residues modulo each and in the order of the kernels' number-theoretic transform.
 *
 * Q has 109 bits: what the Homomorphic Encryption Standard (2018, table 1, ternary secret) allows for 128-bit security at this
 * degree. The primes are the four below 2^28 whose product comes closest to 2^109 from below.
 */
import type { Arena } from '../kernels/arena.js'
import { DEGREE } from './packing.js'

export const PRIMES = [159645697, 159571969, 159563777, 159522817] as const
export const MODULUS = PRIMES.reduce((product, p) => product * BigInt(p), 1n)
export const MODULUS_BITS = 109

/** Bits of a residue on the wire. */
export const RESIDUE_BITS = 28

/** Bytes of one residue polynomial, and of a polynomial modulo Q. */
export const PLANE_BYTES = DEGREE * 4
export const POLYNOMIAL_BYTES = PRIMES.length * PLANE_BYTES

export const mod = (a: bigint, p: bigint) => ((a % p) + p) % p

export function power(base: bigint, exponent: bigint, p: bigint): bigint {
  let result = 1n
  for (let b = mod(base, p), e = exponent; e > 0n; e >>= 1n, b = (b * b) % p) if (e & 1n) result = (result * b) % p
  return result
}

/** 1/a modulo the prime p. */
export const inverse = (a: bigint, p: bigint) => power(a, p - 2n, p)

/** Shoup's quotient of a constant factor: floor(w 2^32 / p). */
export const shoup = (w: bigint, p: bigint) => (w << 32n) / p

/** Powers of a primitive 8192nd root of unity and of its inverse in bit-reversed order, with their Shoup quotients. */
interface RootTables {
  readonly roots: Uint32Array
  readonly rootsShoup: Uint32Array
  readonly inverses: Uint32Array
  readonly inversesShoup: Uint32Array
}

/** A primitive 2N-th root of unity modulo p. */
export function primitiveRoot(p: bigint): bigint {
  const order = 2n * BigInt(DEGREE)
  for (let g = 2n; ; g++) {
    const root = power(g, (p - 1n) / order, p)
    if (power(root, order / 2n, p) === p - 1n) return root
  }
}

function bitReversed(i: number): number {
  let out = 0
  for (let bit = 1; bit < DEGREE; bit <<= 1, i >>>= 1) out = (out << 1) | (i & 1)
  return out
}

function makeTables(p: bigint): RootTables {
  const powersOf = (root: bigint) => {
    const table = new Uint32Array(DEGREE)
    const quotients = new Uint32Array(DEGREE)
    for (let i = 0, value = 1n; i < DEGREE; i++, value = (value * root) % p) {
      const at = bitReversed(i)
      table[at] = Number(value)
      quotients[at] = Number(shoup(value, p))
    }
    return [table, quotients]
  }
  const root = primitiveRoot(p)
  const [roots, rootsShoup] = powersOf(root)
  const [inverses, inversesShoup] = powersOf(inverse(root, p))
  return { roots, rootsShoup, inverses, inversesShoup }
}

let tables: RootTables[] | undefined

/** Transforms within one arena, whose memory holds the tables. */
export class Transforms {
  readonly #arena: Arena
  readonly #at: readonly { roots: number; rootsShoup: number; inverses: number; inversesShoup: number }[]

  constructor(arena: Arena) {
    tables ??= PRIMES.map((p) => makeTables(BigInt(p)))
    this.#arena = arena
    this.#at = tables.map((t) => {
      const copy = (values: Uint32Array) => {
        const at = arena.alloc(values.byteLength)
        arena.u32(at, values.length).set(values)
        return at
      }
      return {
        roots: copy(t.roots),
        rootsShoup: copy(t.rootsShoup),
        inverses: copy(t.inverses),
        inversesShoup: copy(t.inversesShoup),
      }
    })
  }

  /** In place, from below 4p to below p, modulo the prime of index `i`. */
  forward(plane: number, i: number): void {
    const { roots, rootsShoup } = this.#at[i]
    this.#arena.run.nttForward(plane, roots, rootsShoup, PRIMES[i])
  }

  /** In place, from below 2p to below p, times 4096. */
  inverse(plane: number, i: number): void {
    const { inverses, inversesShoup } = this.#at[i]
    this.#arena.run.nttInverse(plane, inverses, inversesShoup, PRIMES[i])
  }

  /** A polynomial modulo Q from DEGREE small signed coefficients at `signed`. */
  forwardSigned(signed: number, polynomial: number): void {
    PRIMES.forEach((p, i) => {
      const plane = polynomial + i * PLANE_BYTES
      this.#arena.run.residues(signed, plane, DEGREE, p, Math.floor(2 ** 32 / p))
      this.forward(plane, i)
    })
  }
}
