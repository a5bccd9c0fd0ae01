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
import { Arena } from '../kernels/arena.js'
import { MAX_RING_BITS } from '../limits.js'
import { packedBytes } from '../ring/bits.js'
import { DEGREE } from './packing.js'

export const PRIME_BITS = [60, 49] as const
/** Homomorphic Encryption Standard, table 1: n = 4096, 128-bit classical security. */
const MAX_MODULUS_BITS = 109

const PLAIN_HEADER = 88
const CIPHER_HEADER = 113
const POLYNOMIAL_BYTES = DEGREE * 8
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
  /** The coefficients within the template, low and high words. */
  readonly #plainWords: Uint32Array
  readonly #seededTemplate: Uint8Array
  readonly #switchedTemplate: Uint8Array

  /** The shared context of a ring; contexts are slow to make and are kept. */
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
    this.#plainWords = new Uint32Array(this.#plainTemplate.buffer, PLAIN_HEADER)
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

  /** A plaintext from DEGREE coefficients, taken mod 2^k; the caller deletes it. */
  plaintext(coefficients: Uint32Array | Int32Array): Plaintext {
    const mask = this.ringBits === 32 ? -1 : 2 ** this.ringBits - 1
    const words = this.#plainWords
    for (let i = 0; i < DEGREE; i++) words[2 * i] = coefficients[i] & mask
    const plain = new this.seal.Plaintext()
    plain.loadFromArray(this.context, this.#plainTemplate)
    // What was encrypted must not wait here.
    words.fill(0)
    return plain
  }

  /** Coefficients mod 2^k of a plaintext, DEGREE of them. */
  coefficients(plain: Plaintext): Uint32Array {
    const blob = saved(plain)
    const out = new Uint32Array(DEGREE)
    const words = new Uint32Array(blob.buffer, PLAIN_HEADER)
    for (let i = 0; i < words.length / 2; i++) out[i] = words[2 * i]
    return out
  }

  /** The wire form of a seeded encryption, ENCRYPTION_BYTES long. */
  packEncryption(blob: Uint8Array): Uint8Array {
    return Arena.with((arena) => {
      const words = arena.alloc(2 * POLYNOMIAL_BYTES)
      const packed = arena.alloc(ENCRYPTION_BYTES + 16)
      arena.u8(words, 2 * POLYNOMIAL_BYTES).set(blob.subarray(CIPHER_HEADER, CIPHER_HEADER + 2 * POLYNOMIAL_BYTES))
      const out = new Uint8Array(ENCRYPTION_BYTES)
      let at = 0
      PRIME_BITS.forEach((bits, plane) => {
        const size = packedBytes(DEGREE, bits)
        arena.u8(packed, size + 16).fill(0)
        arena.run.packWide(words + plane * POLYNOMIAL_BYTES, packed, DEGREE, bits, 0)
        out.set(arena.u8(packed, size), at)
        at += size
      })
      out.set(blob.subarray(blob.length - CIPHER_SEED_BYTES), at)
      return out
    })
  }

  /** A ciphertext from its wire form; SEAL checks every residue. The caller deletes it. */
  unpackEncryption(bytes: Uint8Array): Ciphertext {
    const blob = this.#seededTemplate.slice()
    Arena.with((arena) => {
      const packed = arena.alloc(ENCRYPTION_BYTES + 16)
      const words = arena.alloc(POLYNOMIAL_BYTES)
      let at = 0
      PRIME_BITS.forEach((bits, plane) => {
        const size = packedBytes(DEGREE, bits)
        arena.u8(packed, size).set(bytes.subarray(at, at + size))
        arena.run.unpackWide(packed, words, DEGREE, bits)
        blob.set(arena.u8(words, POLYNOMIAL_BYTES), CIPHER_HEADER + plane * POLYNOMIAL_BYTES)
        at += size
      })
    })
    blob.set(bytes.subarray(bytes.length - CIPHER_SEED_BYTES), blob.length - CIPHER_SEED_BYTES)
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
   * Edits a ciphertext through its blob: `edit` gets an arena and the place of its residues, 64-bit words, four planes of
   * DEGREE: c0 mod q0, c0 mod q1, c1 mod q0, c1 mod q1.
   */
  editCiphertext(cipher: Ciphertext, edit: (arena: Arena, planes: number) => void): void {
    const blob = saved(cipher)
    const data = blob.subarray(CIPHER_HEADER)
    Arena.with((arena) => {
      const planes = arena.alloc(data.length)
      arena.u8(planes, data.length).set(data)
      edit(arena, planes)
      data.set(arena.u8(planes, data.length))
    })
    cipher.loadFromArray(this.context, blob)
  }

  /** Switches to q0 and keeps the top bits of c0 at the used coefficients and of all of c1. */
  packResponse(cipher: Ciphertext, at: Int32Array): Uint8Array {
    this.evaluator.cipherModSwitchToNextInplace(cipher)
    const data = saved(cipher).subarray(CIPHER_HEADER)
    const [c0Bits, c1Bits] = this.#responseBits()
    const split = packedBytes(at.length, c0Bits)
    const total = responseBytes(this.ringBits, at.length)
    return Arena.with((arena) => {
      const words = arena.alloc(2 * POLYNOMIAL_BYTES)
      const used = arena.alloc(at.length * 8)
      const packed = arena.alloc(POLYNOMIAL_BYTES + 16)
      const out = new Uint8Array(total)
      arena.u8(words, data.length).set(data)
      const [source, target] = [arena.u32(words, 2 * DEGREE), arena.u32(used, 2 * at.length)]
      for (let i = 0; i < at.length; i++) {
        target[2 * i] = source[2 * at[i]]
        target[2 * i + 1] = source[2 * at[i] + 1]
      }
      arena.u8(packed, POLYNOMIAL_BYTES).fill(0)
      arena.run.packWide(used, packed, at.length, c0Bits, PRIME_BITS[0] - c0Bits)
      out.set(arena.u8(packed, split), 0)
      arena.u8(packed, POLYNOMIAL_BYTES).fill(0)
      arena.run.packWide(words + POLYNOMIAL_BYTES, packed, DEGREE, c1Bits, PRIME_BITS[0] - c1Bits)
      out.set(arena.u8(packed, total - split), split)
      return out
    })
  }

  /** The ciphertext of a packed response, dropped bits replaced by the middle of their range. */
  unpackResponse(bytes: Uint8Array, at: Int32Array): Ciphertext {
    const blob = this.#switchedTemplate.slice()
    const [c0Bits, c1Bits] = this.#responseBits()
    const split = packedBytes(at.length, c0Bits)
    Arena.with((arena) => {
      const packed = arena.alloc(POLYNOMIAL_BYTES + 16)
      const words = arena.alloc(2 * POLYNOMIAL_BYTES)
      const used = arena.alloc(at.length * 8)
      arena.u8(packed, split).set(bytes.subarray(0, split))
      arena.run.unpackWide(packed, used, at.length, c0Bits)
      arena.run.widen(used, at.length, PRIME_BITS[0] - c0Bits, this.primes[0])
      arena.u8(words, POLYNOMIAL_BYTES).fill(0)
      const [source, target] = [arena.u32(used, 2 * at.length), arena.u32(words, 2 * DEGREE)]
      for (let i = 0; i < at.length; i++) {
        target[2 * at[i]] = source[2 * i]
        target[2 * at[i] + 1] = source[2 * i + 1]
      }
      arena.u8(packed, bytes.length - split).set(bytes.subarray(split))
      arena.run.unpackWide(packed, words + POLYNOMIAL_BYTES, DEGREE, c1Bits)
      arena.run.widen(words + POLYNOMIAL_BYTES, DEGREE, PRIME_BITS[0] - c1Bits, this.primes[0])
      blob.set(arena.u8(words, 2 * POLYNOMIAL_BYTES), CIPHER_HEADER)
    })
    return this.#load(blob)
  }

  #responseBits(): [c0: number, c1: number] {
    return [this.ringBits + C0_EXTRA_BITS, this.ringBits + C1_EXTRA_BITS]
  }
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
