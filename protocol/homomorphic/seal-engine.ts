/**
 * The triple engine on Microsoft SEAL (node-seal), with the circuit privacy of lattice-engine.ts: c1 is re-randomised with
 * PK * u + e1, c0 masked with round(q u'/t) + f, the host's share is u = -u' mod t. All rings of a plan share one context, t = 2^K with
 * K the widest: 2^k divides 2^K.
 */
import { randomBytes, randomFillSync } from 'node:crypto'
import type { Ciphertext, Plaintext } from 'node-seal'
import type { Arena } from '../kernels/arena.js'
import { Bfv, ENCRYPTION_BYTES, responseBytes, SecretEncryptor } from './bfv.js'
import type { Engine, TripleClient, TripleHost, WeightPolynomials } from './engine.js'
import { floodBits } from './flooding.js'
import { DEGREE, type Packing } from './packing.js'

/** Bytes of one residue plane. */
const PLANE_BYTES = DEGREE * 8

/** Polynomials kept for one linear map, 64 KiB each in SEAL's heap; the rest are made again for every response. */
const MAX_KEPT_POLYNOMIALS = 4096

/** Weight polynomials of one linear map in NTT form, made as they are needed. */
class SealWeights implements WeightPolynomials {
  readonly #bfv: Bfv
  readonly #packing: Packing
  readonly #weights: Int32Array
  readonly #cache = new Map<string, Plaintext | undefined>()

  constructor(bfv: Bfv, packing: Packing, weights: Int32Array) {
    this.#bfv = bfv
    this.#packing = packing
    this.#weights = weights
  }

  get bytes(): number {
    return this.#cache.size * 2 * PLANE_BYTES
  }

  /** Calls `use` with the polynomial between input i and output o; not at all where it is zero. */
  with(i: number, o: number, use: (polynomial: Plaintext) => void): void {
    const key = this.#packing.weightKey(i, o)
    if (!this.#cache.has(key)) {
      const made = this.#make(i, o)
      if (this.#cache.size < MAX_KEPT_POLYNOMIALS) {
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

class Client implements TripleClient {
  readonly #bfv: Bfv
  readonly #key: SecretEncryptor

  constructor(bfv: Bfv) {
    this.#bfv = bfv
    this.#key = new SecretEncryptor(bfv)
  }

  encrypt(coefficients: Uint32Array): Uint8Array {
    return this.#key.encrypt(coefficients)
  }

  decrypt(response: Uint8Array, at: Int32Array, ring: number): Uint32Array {
    const values = this.#key.decryptResponse(response, at)
    return ring === this.#bfv.ringBits ? values : values.map((v) => v & (2 ** ring - 1))
  }

  dispose(): void {
    this.#key.dispose()
  }
}

class Host implements TripleHost<SealWeights> {
  readonly #bfv: Bfv
  readonly #zero: Ciphertext

  constructor(bfv: Bfv, encryptionOfZero: Uint8Array) {
    this.#bfv = bfv
    this.#zero = this.#receive(encryptionOfZero)
  }

  #receive(packed: Uint8Array): Ciphertext {
    const cipher = this.#bfv.unpackEncryption(packed)
    this.#bfv.evaluator.cipherTransformToNttInplace(cipher)
    return cipher
  }

  *respond(
    packing: Packing,
    weights: SealWeights,
    inputs: readonly Uint8Array[],
    _ring: number,
    outputs: readonly { readonly at: Int32Array; readonly masks: Uint32Array }[],
  ): Generator<Uint8Array> {
    const ciphertexts: Ciphertext[] = []
    try {
      for (const input of inputs) ciphertexts.push(this.#receive(input))
      let o = 0
      for (const { at, masks } of outputs) yield this.#respond(packing, weights, ciphertexts, o++, at, masks)
    } finally {
      for (const cipher of ciphertexts) cipher.delete()
    }
  }

  /** Sum of weights times inputs, re-randomised, masked with `masks[n]` mod 2^K at coefficient `at[n]`. */
  #respond(
    packing: Packing,
    weights: SealWeights,
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
  const mask = bfv.ringBits === 32 ? -1 : 2 ** bfv.ringBits - 1
  arena.u32(values, at.length).set(masks.map((v) => v & mask))
  bfv.primes.forEach((q, plane) => {
    const packed = new Uint8Array(maskConstants(bfv.primes, q, bfv.ringBits).buffer)
    arena.u8(constants, 64).set(packed)
    const bits = floodBits(bfv.ringBits) + 1
    arena.run.maskResidues(planes + plane * PLANE_BYTES, positions, values, random, at.length, bits, constants)
  })
}

/** Constants of the kernel maskResidues for the prime q of the modulus. */
export function maskConstants(primes: readonly [bigint, bigint], q: bigint, ringBits: number): BigUint64Array {
  const whole = primes[0] * primes[1]
  const k = BigInt(ringBits)
  const shoup = (w: bigint) => (w << 64n) / q
  const w = (whole >> k) % q
  const z = (1n << 64n) % q
  const bound = 1n << BigInt(floodBits(ringBits))
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

/** The engine for plans whose widest ring is `ringBits`. */
export async function sealEngine(ringBits: number): Promise<Engine<SealWeights>> {
  const bfv = await Bfv.forRing(ringBits)
  return {
    name: 'seal',
    encryptionBytes: ENCRYPTION_BYTES,
    responseBytes: (_ring, results) => responseBytes(ringBits, results),
    newClient: () => new Client(bfv),
    newHost: (encryptionOfZero) => new Host(bfv, encryptionOfZero),
    weights: (packing, weights) => new SealWeights(bfv, packing, weights),
  }
}
