/**
 * BFV on node-seal, as the triple engine needs it: N = 4096, t = 2^k, data modulus q = q0 q1 of 60 + 49 bits.
 *
 * 109 bits at N = 4096 is what the Homomorphic Encryption Standard (2018, table 1, ternary secret) allows for 128-bit
 * security. SEAL's chain carries a third prime of 20 bits for key switching, which we never do: nothing at that level
 * may be published, SEAL's PublicKey included. That is why its own check is off and ours is here.
 *
 * Coefficients move in bulk only through SEAL's uncompressed serialisation, whose layout is checked at start.
 */
import SEAL, {
  type Ciphertext,
  type Evaluator,
  type MainModule,
  type Plaintext,
  type SEALContext,
  type SecretKey,
} from 'node-seal'
import { MinionnError } from '../errors.js'
import { MAX_RING_BITS } from '../limits.js'
import { packedBytes, packWide, unpackWide } from '../ring/bits.js'
import { DEGREE } from './packing.js'

export const PRIME_BITS = [60, 49] as const
export const MODULUS_BITS = PRIME_BITS[0] + PRIME_BITS[1]
/** Homomorphic Encryption Standard, table 1: n = 4096, 128-bit classical security. */
const MAX_MODULUS_BITS = 109

const PLAIN_HEADER = 88
const CIPHER_HEADER = 113
/** SEAL's seed of an encryption's uniform half. */
const CIPHER_SEED_BYTES = 64

/** Bytes of a packed symmetric encryption: one polynomial and the seed of the other. */
export const ENCRYPTION_BYTES =
  packedBytes(DEGREE, PRIME_BITS[0]) + packedBytes(DEGREE, PRIME_BITS[1]) + CIPHER_SEED_BYTES

/** Bits kept of a response's coefficients (c0, c1); SECURITY.md has the decryption bound. */
const C0_EXTRA_BITS = 3
const C1_EXTRA_BITS = 10

/** Bytes of a packed response with `results` used coefficients. */
export function responseBytes(ringBits: number, results: number): number {
  return packedBytes(results, ringBits + C0_EXTRA_BITS) + packedBytes(DEGREE, ringBits + C1_EXTRA_BITS)
}

let loading: Promise<MainModule> | undefined

/** A context for plaintext modulus 2^ringBits, with the blob templates made from one throw-away key. */
export class Bfv {
  static readonly #cache = new Map<number, Promise<Bfv>>()

  readonly seal: MainModule
  readonly ringBits: number
  readonly primes: readonly [bigint, bigint]
  readonly context: SEALContext
  readonly evaluator: Evaluator
  readonly #plainTemplate: Uint8Array
  readonly #seededTemplate: Uint8Array
  readonly #switchedTemplate: Uint8Array

  /** The shared context of a ring; contexts cost 90 ms and are kept. */
  static forRing(ringBits: number): Promise<Bfv> {
    if (!Number.isInteger(ringBits) || ringBits < 2 || ringBits > MAX_RING_BITS) {
      throw new RangeError(`expected a ring of 2 to ${MAX_RING_BITS} bits, got ${ringBits}`)
    }
    let bfv = Bfv.#cache.get(ringBits)
    if (bfv === undefined) {
      loading ??= SEAL()
      bfv = loading.then((seal) => new Bfv(seal, ringBits))
      Bfv.#cache.set(ringBits, bfv)
    }
    return bfv
  }

  private constructor(seal: MainModule, ringBits: number) {
    this.seal = seal
    this.ringBits = ringBits
    const parameters = new seal.EncryptionParameters(seal.SchemeType.bfv)
    parameters.setPolyModulusDegree(DEGREE)
    parameters.setCoeffModulus(seal.CoeffModulus.Create(DEGREE, Int32Array.of(...PRIME_BITS, 20)))
    parameters.setPlainModulus(new seal.Modulus(2n ** BigInt(ringBits)))
    this.context = new seal.SEALContext(parameters, true, seal.SecLevelType.none)
    const first = this.context.firstContextData()
    const moduli = first.parms().coeffModulus()
    this.primes = [moduli.get(0)!.value(), moduli.get(1)!.value()]
    if (!this.context.parametersSet() || first.totalCoeffModulusBitCount() > MAX_MODULUS_BITS || moduli.size() !== 2) {
      throw new Error(
        `BFV parameters are not the 128-bit secure ones: ${first.totalCoeffModulusBitCount()} bits of modulus`,
      )
    }
    this.evaluator = new seal.Evaluator(this.context)

    const key = new SecretEncryptor(this)
    const plain = new seal.Plaintext(DEGREE, DEGREE)
    this.#plainTemplate = saved(plain)
    this.#seededTemplate = key.templateOfSeeded(plain)
    const cipher = new seal.Ciphertext()
    cipher.loadFromArray(this.context, this.#seededTemplate)
    const full = saved(cipher)
    this.evaluator.cipherModSwitchToNextInplace(cipher)
    this.#switchedTemplate = saved(cipher)
    const expected = [
      [this.#plainTemplate.length, PLAIN_HEADER + DEGREE * 8],
      [full.length, CIPHER_HEADER + 4 * DEGREE * 8],
      [this.#switchedTemplate.length, CIPHER_HEADER + 2 * DEGREE * 8],
    ]
    for (const [length, want] of expected) {
      if (length !== want) throw new Error(`node-seal's serialisation changed: expected ${want} bytes, got ${length}`)
    }
    cipher.delete()
    plain.delete()
    key.dispose()
  }

  /** A plaintext from DEGREE coefficients mod 2^k; the caller deletes it. */
  plaintext(coefficients: Uint32Array): Plaintext {
    const blob = this.#plainTemplate.slice()
    const words = new Uint32Array(2 * DEGREE)
    for (let i = 0; i < DEGREE; i++) words[2 * i] = coefficients[i]
    blob.set(new Uint8Array(words.buffer), PLAIN_HEADER)
    const plain = new this.seal.Plaintext()
    plain.loadFromArray(this.context, blob)
    return plain
  }

  /** Coefficients mod 2^k of a plaintext, DEGREE of them. */
  coefficients(plain: Plaintext): Uint32Array {
    const blob = saved(plain)
    const out = new Uint32Array(DEGREE)
    const words = new Uint32Array(blob.slice(PLAIN_HEADER).buffer)
    for (let i = 0; i < words.length / 2; i++) out[i] = words[2 * i]
    return out
  }

  /** The wire form of a seeded encryption, ENCRYPTION_BYTES long. */
  packEncryption(blob: Uint8Array): Uint8Array {
    const words = cipherWords(blob, 2 * DEGREE)
    const out = new Uint8Array(ENCRYPTION_BYTES)
    const low = packWide(words.subarray(0, 2 * DEGREE), PRIME_BITS[0])
    const high = packWide(words.subarray(2 * DEGREE), PRIME_BITS[1])
    out.set(low, 0)
    out.set(high, low.length)
    out.set(blob.subarray(blob.length - CIPHER_SEED_BYTES), low.length + high.length)
    return out
  }

  /** A ciphertext from its wire form; SEAL checks every residue. The caller deletes it. */
  unpackEncryption(packed: Uint8Array): Ciphertext {
    const blob = this.#seededTemplate.slice()
    const split = packedBytes(DEGREE, PRIME_BITS[0])
    const seedAt = packed.length - CIPHER_SEED_BYTES
    const low = unpackWide(packed.subarray(0, split), DEGREE, PRIME_BITS[0])
    const high = unpackWide(packed.subarray(split, seedAt), DEGREE, PRIME_BITS[1])
    blob.set(new Uint8Array(low.buffer), CIPHER_HEADER)
    blob.set(new Uint8Array(high.buffer), CIPHER_HEADER + DEGREE * 8)
    blob.set(packed.subarray(seedAt), blob.length - CIPHER_SEED_BYTES)
    return this.#load(blob)
  }

  #load(blob: Uint8Array): Ciphertext {
    const cipher = new this.seal.Ciphertext()
    try {
      cipher.loadFromArray(this.context, blob)
    } catch (cause) {
      cipher.delete()
      throw new MinionnError('BAD_PEER', 'a ciphertext from the peer is not valid for the agreed parameters', { cause })
    }
    return cipher
  }

  /**
   * Adds to a ciphertext through its blob: `edit` sees the residues as [low, high] word pairs, four planes of DEGREE:
   * c0 mod q0, c0 mod q1, c1 mod q0, c1 mod q1.
   */
  editCiphertext(cipher: Ciphertext, edit: (planes: Uint32Array) => void): void {
    const blob = saved(cipher)
    const planes = cipherWords(blob, 4 * DEGREE)
    edit(planes)
    blob.set(new Uint8Array(planes.buffer), CIPHER_HEADER)
    cipher.loadFromArray(this.context, blob)
  }

  /** Switches to q0 and keeps the top bits of c0 at the used coefficients and of all of c1. */
  packResponse(cipher: Ciphertext, at: Int32Array): Uint8Array {
    this.evaluator.cipherModSwitchToNextInplace(cipher)
    const words = cipherWords(saved(cipher), 2 * DEGREE)
    const c0 = words.subarray(0, 2 * DEGREE)
    const c1 = words.subarray(2 * DEGREE)
    const used = new Uint32Array(2 * at.length)
    for (let i = 0; i < at.length; i++) {
      used[2 * i] = c0[2 * at[i]]
      used[2 * i + 1] = c0[2 * at[i] + 1]
    }
    const low = this.#packTop(used, this.ringBits + C0_EXTRA_BITS)
    const high = this.#packTop(c1, this.ringBits + C1_EXTRA_BITS)
    const out = new Uint8Array(low.length + high.length)
    out.set(low, 0)
    out.set(high, low.length)
    return out
  }

  /** The ciphertext of a packed response, dropped bits replaced by the middle of their range. */
  unpackResponse(packed: Uint8Array, at: Int32Array): Ciphertext {
    const split = packedBytes(at.length, this.ringBits + C0_EXTRA_BITS)
    const used = this.#unpackTop(packed.subarray(0, split), at.length, this.ringBits + C0_EXTRA_BITS)
    const c1 = this.#unpackTop(packed.subarray(split), DEGREE, this.ringBits + C1_EXTRA_BITS)
    const words = new Uint32Array(4 * DEGREE)
    for (let i = 0; i < at.length; i++) {
      words[2 * at[i]] = used[2 * i]
      words[2 * at[i] + 1] = used[2 * i + 1]
    }
    words.set(c1, 2 * DEGREE)
    const blob = this.#switchedTemplate.slice()
    blob.set(new Uint8Array(words.buffer), CIPHER_HEADER)
    return this.#load(blob)
  }

  #packTop(words: Uint32Array, bits: number): Uint8Array {
    const drop = PRIME_BITS[0] - bits
    const out = new Uint32Array(words.length)
    for (let i = 0; i < words.length; i += 2) {
      out[i] = shiftRight(words[i], words[i + 1], drop)
      out[i + 1] = drop >= 32 ? 0 : words[i + 1] >>> drop
    }
    return packWide(out, bits)
  }

  #unpackTop(packed: Uint8Array, count: number, bits: number): Uint32Array {
    const drop = BigInt(PRIME_BITS[0] - bits)
    const half = 1n << (drop - 1n)
    const top = new BigUint64Array(unpackWide(packed, count, bits).buffer)
    const q0 = this.primes[0]
    for (let i = 0; i < count; i++) {
      const value = (top[i] << drop) | half
      top[i] = value < q0 ? value : q0 - 1n
    }
    return new Uint32Array(top.buffer)
  }
}

function shiftRight(low: number, high: number, bits: number): number {
  if (bits >= 32) return high >>> (bits - 32)
  return ((low >>> bits) | (high << (32 - bits))) >>> 0
}

function cipherWords(blob: Uint8Array, coefficients: number): Uint32Array {
  return new Uint32Array(blob.slice(CIPHER_HEADER, CIPHER_HEADER + coefficients * 8).buffer)
}

function saved(object: Plaintext | Ciphertext): Uint8Array {
  // node-seal hands out a view of its heap that the next call may move.
  const none = { value: 0 } as const
  return Uint8Array.from(object.saveToArray(none) as Uint8Array)
}

/** A BFV secret key and the encryptor and decryptor under it. Lives for one prepare session. */
export class SecretEncryptor {
  readonly #bfv: Bfv
  readonly #key: SecretKey
  readonly #encryptor
  readonly #decryptor
  readonly #disposables: { delete(): void }[]

  constructor(bfv: Bfv) {
    this.#bfv = bfv
    const { seal, context } = bfv
    const generator = new seal.KeyGenerator(context)
    this.#key = generator.secretKey()
    // SEAL's Encryptor wants a public key; it stays here (see the head of this file).
    const unpublished = generator.createPublicKey()
    this.#encryptor = new seal.Encryptor(context, unpublished, this.#key)
    this.#decryptor = new seal.Decryptor(context, this.#key)
    this.#disposables = [this.#decryptor, this.#encryptor, unpublished, this.#key, generator]
  }

  /** SEAL's blob of a seeded symmetric encryption. */
  templateOfSeeded(plain: Plaintext): Uint8Array {
    const cipher = this.#encryptor.encryptSymmetricSerializable(plain)
    const blob = Uint8Array.from(cipher.saveToArray({ value: 0 }) as Uint8Array)
    cipher.delete()
    return blob
  }

  /** Encrypts DEGREE coefficients mod 2^k; the wire form, ENCRYPTION_BYTES long. */
  encrypt(coefficients: Uint32Array): Uint8Array {
    const plain = this.#bfv.plaintext(coefficients)
    const blob = this.templateOfSeeded(plain)
    plain.delete()
    return this.#bfv.packEncryption(blob)
  }

  /** Decrypts a packed response; the values at the given coefficients, mod 2^k. */
  decryptResponse(packed: Uint8Array, at: Int32Array): Uint32Array {
    const cipher = this.#bfv.unpackResponse(packed, at)
    const plain = new this.#bfv.seal.Plaintext()
    try {
      this.#decryptor.decrypt(cipher, plain)
      const all = this.#bfv.coefficients(plain)
      return Uint32Array.from(at, (position) => all[position])
    } finally {
      plain.delete()
      cipher.delete()
    }
  }

  dispose(): void {
    for (const object of this.#disposables) object.delete()
  }
}
