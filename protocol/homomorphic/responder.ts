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
import { randomBytes } from 'node:crypto'
import type { Ciphertext, Plaintext } from 'node-seal'
import { type Bfv, MODULUS_BITS } from './bfv.js'
import { DEGREE, type Packing } from './packing.js'

/** |f| <= 2^(FLOOD_BITS - k): an eighth of the decryption bound q/2t. */
export const FLOOD_BITS = MODULUS_BITS - 4

/** Standard deviation of e1: a centred binomial of 2 x 21 coins, as in SEAL. */
const BINOMIAL_COINS = 21

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
  const mask = 2 ** bfv.ringBits - 1
  const plain = bfv.plaintext(Uint32Array.from(signed, (v) => (bfv.ringBits === 32 ? v >>> 0 : v & mask)))
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
      this.#bfv.editCiphertext(sum, (planes) => {
        maskC0(planes, this.#bfv, at, masks)
        addNoise(planes.subarray(4 * DEGREE), this.#bfv.primes)
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
    for (const byte of randomBytes(DEGREE)) {
      if (byte >= 255 || filled === DEGREE) continue
      out[filled++] = (byte % 3) - 1
    }
  }
  return out
}

/** Adds round(q u' / t) + f to the used coefficients of c0, residue by residue. */
export function maskC0(planes: Uint32Array, bfv: Bfv, at: Int32Array, masks: Uint32Array): void {
  const [q0, q1] = bfv.primes
  const q = q0 * q1
  const k = BigInt(bfv.ringBits)
  const half = 1n << (k - 1n)
  const residues = new BigUint64Array(planes.buffer, planes.byteOffset, 2 * DEGREE)
  // f = (random of 106 - k bits) - 2^(105-k)
  const floodBound = 1n << BigInt(FLOOD_BITS - bfv.ringBits)
  const floodMask = 2n * floodBound - 1n
  const random = new BigUint64Array(new Uint8Array(randomBytes(at.length * 16)).buffer)
  for (let n = 0; n < at.length; n++) {
    const flood = (((random[2 * n] << 64n) | random[2 * n + 1]) & floodMask) - floodBound
    const mask = ((q * BigInt(masks[n]) + half) >> k) + flood + q
    const i = at[n]
    residues[i] = (residues[i] + (mask % q0)) % q0
    residues[DEGREE + i] = (residues[DEGREE + i] + (mask % q1)) % q1
  }
}

/** Adds centred binomial noise to every coefficient of a polynomial given by its two residue planes. */
function addNoise(planes: Uint32Array, primes: readonly [bigint, bigint]): void {
  const random = new Uint32Array(new Uint8Array(randomBytes(DEGREE * 8)).buffer)
  const mask = 2 ** BINOMIAL_COINS - 1
  for (let plane = 0; plane < 2; plane++) {
    const low = Number(primes[plane] & 0xffffffffn)
    const high = Number(primes[plane] >> 32n)
    for (let i = 0; i < DEGREE; i++) {
      const noise = popcount(random[2 * i] & mask) - popcount(random[2 * i + 1] & mask)
      addSmall(planes, 2 * (plane * DEGREE + i), noise, low, high)
    }
  }
}

/** Adds a small signed number to the residue in the word pair at `at`, modulo the prime in (low, high). */
function addSmall(words: Uint32Array, at: number, value: number, low: number, high: number): void {
  let l = words[at] + value
  let h = words[at + 1]
  if (l < 0) {
    l += 2 ** 32
    h--
  } else if (l >= 2 ** 32) {
    l -= 2 ** 32
    h++
  }
  if (h < 0) {
    l += low
    h += high
  } else if (h > high || (h === high && l >= low)) {
    l -= low
    h -= high
  } else {
    words[at] = l
    words[at + 1] = h
    return
  }
  if (l >= 2 ** 32) {
    l -= 2 ** 32
    h++
  } else if (l < 0) {
    l += 2 ** 32
    h--
  }
  words[at] = l
  words[at + 1] = h
}

function popcount(v: number): number {
  v -= (v >>> 1) & 0x55555555
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333)
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
