/**
 * The host's half of the triple protocol: from encryptions of r, an encryption of W r + u' that shows nothing of W
 * but the result.
 *
 * Circuit privacy, per response (the paper's proof leaves it out):
 * - c1 is re-randomised with PK * u + e1, PK an encryption of zero by the client, u fresh ternary, e1 fresh noise:
 *   under RLWE with secret u it is uniform to the client.
 * - c0 is masked with round(q u'/t) + f: u' uniform hides the result, f uniform in +-2^(105-k) floods the noise,
 *   which depends on W. The host's share is u = -u' mod t.
 * SECURITY.md derives the bounds.
 */
import { randomBytes, randomFillSync } from 'node:crypto'
import type { Ciphertext, Plaintext } from 'node-seal'
import type { Arena } from '../kernels/arena.js'
import { type Bfv, MODULUS_BITS } from './bfv.js'
import { DEGREE, type Packing } from './packing.js'

/** |f| <= 2^(FLOOD_BITS - k): an eighth of the decryption bound q/2t. */
export const FLOOD_BITS = MODULUS_BITS - 4

/** Bytes of one residue plane. */
const PLANE_BYTES = DEGREE * 8

/** Weight polynomials of one linear map in NTT form, made once per model. */
export class WeightPolynomials {
  readonly #bfv: Bfv
  readonly #packing: Packing
  readonly #weights: Int32Array
  readonly #cache = new Map<string, Plaintext | undefined>()
  readonly #limit: number

  /** Keeps up to `limit` polynomials (64 KiB each); the rest are made again for every response. */
  constructor(bfv: Bfv, packing: Packing, weights: Int32Array, limit: number) {
    this.#bfv = bfv
    this.#packing = packing
    this.#weights = weights
    this.#limit = limit
  }

  /** Polynomials kept now. */
  get size(): number {
    return this.#cache.size
  }

  /** Calls `use` with the polynomial between input i and output o; not at all where it is zero. */
  with(i: number, o: number, use: (polynomial: Plaintext) => void): void {
    const key = this.#packing.weightKey(i, o)
    if (!this.#cache.has(key)) {
      const made = this.#make(i, o)
      if (this.#cache.size < this.#limit) {
        this.#cache.set(key, made)
      } else {
        if (made !== undefined) use(made)
        made?.delete()
        return
      }
    }
    const kept = this.#cache.get(key)
    if (kept !== undefined) use(kept)
  }

  #make(i: number, o: number): Plaintext | undefined {
    const signed = new Int32Array(DEGREE)
    this.#packing.packWeights(i, o, this.#weights, signed)
    // SEAL refuses to multiply by zero, which would give a transparent ciphertext.
    if (signed.every((weight) => weight === 0)) return undefined
    return nttPlaintext(this.#bfv, signed)
  }

  dispose(): void {
    for (const polynomial of this.#cache.values()) polynomial?.delete()
    this.#cache.clear()
  }
}

function nttPlaintext(bfv: Bfv, signed: Int32Array): Plaintext {
  const plain = bfv.plaintext(signed)
  bfv.evaluator.plainTransformToNttInplace(plain, bfv.context.firstParmsId())
  return plain
}

/** Answers for one prepare session: holds the client's encryption of zero. */
export class Responder {
  readonly #bfv: Bfv
  readonly #zero: Ciphertext

  constructor(bfv: Bfv, encryptionOfZero: Uint8Array) {
    this.#bfv = bfv
    this.#zero = this.receive(encryptionOfZero)
  }

  /** A client's encryption, ready for products. The caller deletes it. */
  receive(packed: Uint8Array): Ciphertext {
    const cipher = this.#bfv.unpackEncryption(packed)
    this.#bfv.evaluator.cipherTransformToNttInplace(cipher)
    return cipher
  }

  /**
   * The packed response of output ciphertext o: sum of weights times inputs, re-randomised, masked with
   * `masks[n]` (u', mod 2^k) at coefficient `at[n]`.
   */
  respond(
    packing: Packing,
    weights: WeightPolynomials,
    inputs: readonly Ciphertext[],
    o: number,
    at: Int32Array,
    masks: Uint32Array,
  ): Uint8Array {
    const { evaluator, seal } = this.#bfv
    const sum = new seal.Ciphertext()
    const product = new seal.Ciphertext()
    const u = nttPlaintext(this.#bfv, randomTernary())
    try {
      evaluator.multiplyPlain(this.#zero, u, sum)
      for (const i of packing.sources(o)) {
        weights.with(i, o, (polynomial) => {
          evaluator.multiplyPlain(inputs[i], polynomial, product)
          evaluator.addInplace(sum, product)
        })
      }
      evaluator.cipherTransformFromNttInplace(sum)
      this.#bfv.editCiphertext(sum, (arena, planes) => {
        maskC0(arena, planes, this.#bfv, at, masks)
        addNoise(arena, planes + 2 * PLANE_BYTES, this.#bfv.primes)
      })
      return this.#bfv.packResponse(sum, at)
    } finally {
      u.delete()
      product.delete()
      sum.delete()
    }
  }

  dispose(): void {
    this.#zero.delete()
  }
}

/** DEGREE uniform values of {-1, 0, 1}. */
function randomTernary(): Int32Array {
  const out = new Int32Array(DEGREE)
  let filled = 0
  while (filled < DEGREE) {
    const bytes = randomBytes(DEGREE)
    for (let i = 0; i < DEGREE && filled < DEGREE; i++) if (bytes[i] < 255) out[filled++] = (bytes[i] % 3) - 1
  }
  return out
}

/** Adds round(q u' / t) + f to the used coefficients of c0, residue by residue, f the same in both. */
function maskC0(arena: Arena, planes: number, bfv: Bfv, at: Int32Array, masks: Uint32Array): void {
  const random = arena.alloc(at.length * 16)
  const positions = arena.alloc(at.length * 4)
  const values = arena.alloc(at.length * 4)
  const constants = arena.alloc(64)
  randomFillSync(arena.u8(random, at.length * 16))
  arena.u32(positions, at.length).set(at)
  arena.u32(values, at.length).set(masks)
  bfv.primes.forEach((q, plane) => {
    const packed = new Uint8Array(maskConstants(bfv.primes, q, bfv.ringBits).buffer)
    arena.u8(constants, 64).set(packed)
    const floodBits = FLOOD_BITS + 1 - bfv.ringBits
    arena.run.maskResidues(planes + plane * PLANE_BYTES, positions, values, random, at.length, floodBits, constants)
  })
}

/** Constants of the kernel maskResidues for the prime q of the modulus. */
export function maskConstants(primes: readonly [bigint, bigint], q: bigint, ringBits: number): BigUint64Array {
  const whole = primes[0] * primes[1]
  const k = BigInt(ringBits)
  const shoup = (w: bigint) => (w << 64n) / q
  const w = (whole >> k) % q
  const z = (1n << 64n) % q
  const bound = 1n << BigInt(FLOOD_BITS - ringBits)
  return BigUint64Array.of(q, w, shoup(w), z, shoup(z), q - (bound % q), whole % (1n << k), k)
}

/** Adds one error polynomial to c1, given by its two residue planes. */
function addNoise(arena: Arena, planes: number, primes: readonly [bigint, bigint]): void {
  const random = arena.alloc(PLANE_BYTES)
  randomFillSync(arena.u8(random, PLANE_BYTES))
  primes.forEach((q, plane) => {
    arena.run.addNoise(planes + plane * PLANE_BYTES, random, DEGREE, q)
  })
}
