/**
 * The triple engine on kernels of our own: BFV (Fan and Vercauteren, 2012) as far as MiniONN's triples need it, which is
 * encryption under a secret key, products with plaintexts and decryption.
 *
 * Wire. An encryption is b = NTT(round(Q m / 2^k) + e) - a s and the seed of a: the host needs no transform to use it. A response
 * is what decryption needs and no more: the top k + 3 bits of c0 / Q at the used coefficients and the top k + 10 of all of c1 / Q,
 * rounded, which is a switch to the moduli 2^(k+3) and 2^(k+10).
 *
 * Circuit privacy, per response (the paper's proof leaves it out): c1 is re-randomised with PK u + e1, PK the client's encryption
 * of zero, u fresh ternary, e1 fresh noise; c0 is masked with round(Q u' / 2^k) + f, f uniform in +-2^floodBits(k). SECURITY.md
 * derives the bounds.
 */
import { MinionnError } from '../errors.js'
import { Arena } from '../kernels/arena.js'
import { Prg, randomSeed, SEED_BYTES } from '../random.js'
import { packedBytes } from '../ring/bits.js'
import type { Engine, TripleClient, TripleHost, WeightPolynomials } from './engine.js'
import { floodBits } from './flooding.js'
import {
  inverse,
  MODULUS,
  mod,
  PLANE_BYTES,
  POLYNOMIAL_BYTES,
  PRIMES,
  RESIDUE_BITS,
  shoup,
  Transforms,
} from './lattice.js'
import { DEGREE, type Packing } from './packing.js'
import { SAMPLING_BYTES, sampleNoise, sampleTernary, sampleUniform } from './sampling.js'

/** Bits kept of a response's coefficients beyond k. */
const C0_EXTRA_BITS = 3
const C1_EXTRA_BITS = 10

/** One polynomial modulo Q on the wire. */
const PACKED_BYTES = packedBytes(PRIMES.length * DEGREE, RESIDUE_BITS)
const CIPHERTEXT_BYTES = 2 * POLYNOMIAL_BYTES

/**
 * Weights and inputs are stored tile by tile: a tile of all polynomials, then the next. The products of a tile then read memory in
 * order, and a tile of a set's inputs stays in the cache for all outputs of a group.
 */
const TILE = 512
const TILE_BYTES = TILE * 4
const TILES = (PRIMES.length * DEGREE) / TILE

/** Products of one call of the kernel. */
const MAX_PRODUCTS = 255

/** Output ciphertexts whose sums are made together. */
const GROUP = 16

/** Weight polynomials kept for one linear map, 64 KiB each; of a larger one each is made again for every response. */
const MAX_KEPT_POLYNOMIALS = 4096

const primes = PRIMES.map(BigInt)
const crt = primes.map((p) => inverse(MODULUS / p, p))
const word = (v: bigint) => Number(BigInt.asUintN(32, v))

/** Constants of sumOfProducts: the factor undoes the inverse transform's 4096 and prepares for `fractions`. */
const PRODUCT_CONSTANTS = Uint32Array.from(
  primes.flatMap((p, i) => {
    const factor = mod((1n << 32n) * inverse(BigInt(DEGREE), p) * crt[i], p)
    return [p, (1n << 32n) - inverseOfPowerOfTwo(p), factor, shoup(factor, p)].map(word)
  }),
)

/** 1/p mod 2^32. */
function inverseOfPowerOfTwo(p: bigint): bigint {
  let x = 1n
  for (let i = 0; i < 5; i++) x = BigInt.asUintN(32, x * (2n - p * x))
  return x
}

/** floor(2^96 / p): upper bits, lower 32. */
const FRACTION_SCALES = BigUint64Array.from(
  primes.flatMap((p) => {
    const scale = (1n << 96n) / p
    return [scale >> 32n, scale & 0xffffffffn]
  }),
)

/** Constants of centredResidues. */
const CENTRE_CONSTANTS = primes.slice(0, 2).map((p) => {
  const w = (1n << 32n) % p
  return Uint32Array.from([p, (1n << 32n) / p, w, shoup(w, p), mod(-(1n << 44n), p)].map(word))
})

/** Constants of decryptAt. */
const DECRYPT_CONSTANTS = BigUint64Array.of(
  primes[0],
  primes[1],
  inverse(BigInt(DEGREE), primes[0]),
  inverse(BigInt(DEGREE), primes[1]),
  inverse(primes[0], primes[1]),
)

/** Constants of maskResponses, per prime. */
function maskConstants(ring: number): BigUint64Array[] {
  const k = BigInt(ring)
  const bound = 1n << BigInt(floodBits(ring))
  return primes.map((p, i) =>
    BigUint64Array.of(
      p,
      (MODULUS >> k) % p,
      MODULUS % (1n << k),
      mod(-bound, p),
      (1n << 32n) % p,
      (1n << 64n) % p,
      crt[i],
      k,
    ),
  )
}

const bytesOf = (values: Uint32Array | BigUint64Array | Int32Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

class Client implements TripleClient {
  readonly #arena = Arena.take()
  readonly #transforms = new Transforms(this.#arena)
  readonly #noise = new Prg(randomSeed())
  /** The key modulo each prime, transformed, and its Shoup quotients. */
  readonly #key: number
  readonly #keyShoup: number
  readonly #scratch: number
  readonly #signed: number
  readonly #messages: number
  readonly #body: number
  readonly #uniform: number
  readonly #constants: number
  readonly #wide: number
  readonly #packed: number

  constructor() {
    const arena = this.#arena
    this.#key = arena.alloc(POLYNOMIAL_BYTES)
    this.#keyShoup = arena.alloc(POLYNOMIAL_BYTES)
    this.#scratch = arena.alloc(SAMPLING_BYTES)
    this.#signed = arena.alloc(PLANE_BYTES)
    this.#messages = arena.alloc(PLANE_BYTES)
    this.#body = arena.alloc(POLYNOMIAL_BYTES)
    this.#uniform = arena.alloc(POLYNOMIAL_BYTES)
    this.#constants = arena.alloc(64)
    this.#wide = arena.alloc(2 * DEGREE * 8)
    this.#packed = arena.alloc(PACKED_BYTES + 16)
    sampleTernary(arena, this.#noise, this.#scratch, this.#signed)
    this.#transforms.forwardSigned(this.#signed, this.#key)
    const key = arena.u32(this.#key, PRIMES.length * DEGREE)
    const quotients = arena.u32(this.#keyShoup, key.length)
    for (let i = 0; i < key.length; i++) {
      // floor(s 2^32 / p) in two steps of 16 bits, exact in doubles.
      const p = PRIMES[Math.floor(i / DEGREE)]
      const high = Math.floor((key[i] * 65536) / p)
      quotients[i] = high * 65536 + Math.floor(((key[i] * 65536 - high * p) * 65536) / p)
    }
  }

  encrypt(coefficients: Uint32Array, ring: number): Uint8Array {
    const { run } = this.#arena
    const arena = this.#arena
    const seed = randomSeed()
    sampleUniform(arena, new Prg(seed), this.#scratch, this.#uniform)
    sampleNoise(arena, this.#noise, this.#scratch, this.#signed)
    const messages = arena.u32(this.#messages, DEGREE)
    messages.set(coefficients)
    const k = BigInt(ring)
    const mask = ring === 32 ? 0xffffffff : 2 ** ring - 1
    for (let i = 0; i < DEGREE; i++) messages[i] &= mask
    primes.forEach((p, i) => {
      const plane = this.#body + i * PLANE_BYTES
      const factor = (MODULUS >> k) % p
      run.scaleMessages(
        this.#messages,
        this.#signed,
        plane,
        DEGREE,
        ring,
        word(MODULUS % (1n << k)),
        PRIMES[i],
        word(factor),
        word(shoup(factor, p)),
        word((1n << 32n) / p),
      )
      this.#transforms.forward(plane, i)
      const offset = i * PLANE_BYTES
      run.subtractProducts(
        plane,
        this.#uniform + offset,
        this.#key + offset,
        this.#keyShoup + offset,
        DEGREE,
        PRIMES[i],
      )
    })
    run.packWords(this.#body, this.#packed, PRIMES.length * DEGREE, RESIDUE_BITS)
    messages.fill(0)
    const out = new Uint8Array(PACKED_BYTES + SEED_BYTES)
    out.set(arena.u8(this.#packed, PACKED_BYTES))
    out.set(seed, PACKED_BYTES)
    return out
  }

  decrypt(response: Uint8Array, at: Int32Array, ring: number): Uint32Array {
    const arena = this.#arena
    const { run } = arena
    const [c0Bits, c1Bits] = [ring + C0_EXTRA_BITS, ring + C1_EXTRA_BITS]
    const split = packedBytes(at.length, c0Bits)
    arena.u8(this.#packed, response.length - split).set(response.subarray(split))
    run.unpackWide(this.#packed, this.#wide, DEGREE, c1Bits)
    CENTRE_CONSTANTS.forEach((constants, i) => {
      arena.u32(this.#constants, constants.length).set(constants)
      const plane = this.#body + i * PLANE_BYTES
      const offset = i * PLANE_BYTES
      run.centredResidues(this.#wide, plane, DEGREE, c1Bits, this.#constants)
      this.#transforms.forward(plane, i)
      run.multiplyBy(plane, this.#key + offset, this.#keyShoup + offset, DEGREE, PRIMES[i])
      this.#transforms.inverse(plane, i)
    })
    const c0 = this.#wide
    const positions = this.#uniform
    const out = this.#messages
    arena.u8(this.#packed, split).set(response.subarray(0, split))
    run.unpackWide(this.#packed, c0, at.length, c0Bits)
    arena.u32(positions, at.length).set(at)
    arena.u8(this.#constants, 40).set(bytesOf(DECRYPT_CONSTANTS))
    run.decryptAt(
      this.#body,
      this.#body + PLANE_BYTES,
      c0,
      positions,
      at.length,
      ring,
      c1Bits,
      C0_EXTRA_BITS,
      out,
      this.#constants,
    )
    return arena.u32(out, at.length).slice()
  }

  dispose(): void {
    this.#arena.u8(this.#key, 2 * POLYNOMIAL_BYTES).fill(0)
    this.#arena.release()
  }
}

/** Weight polynomials of one linear map in an arena of their own, with room behind them for a set at work. */
export class LatticeWeights implements WeightPolynomials {
  readonly arena = Arena.take()
  readonly transforms = new Transforms(this.arena)
  /** Bytes from a tile of a polynomial to its next. */
  readonly tileStride: number
  /** Whether all polynomials are kept. */
  readonly complete: boolean
  readonly #packing: Packing
  readonly #weights: Int32Array
  /** First tile of each polynomial kept; undefined where it is zero. */
  readonly #kept = new Map<string, number | undefined>()
  readonly #tiles: number
  readonly #spare: number
  readonly #signed: number
  readonly #polynomial: number

  /** Keeps all polynomials where they are `limit` at most, and otherwise none. */
  constructor(packing: Packing, weights: Int32Array, limit = MAX_KEPT_POLYNOMIALS) {
    this.#packing = packing
    this.#weights = weights
    this.#signed = this.arena.alloc(PLANE_BYTES)
    this.#polynomial = this.arena.alloc(POLYNOMIAL_BYTES)
    const pairs = new Map<string, readonly [i: number, o: number]>()
    for (let o = 0; o < packing.outputs; o++) {
      for (const i of packing.sources(o)) pairs.set(packing.weightKey(i, o), [i, o])
    }
    this.complete = pairs.size <= limit
    this.#spare = this.complete ? pairs.size : 0
    const slots = this.#spare + (this.complete ? GROUP : MAX_PRODUCTS)
    this.tileStride = slots * TILE_BYTES
    this.#tiles = this.arena.alloc(TILES * this.tileStride)
    if (!this.complete) return
    let slot = 0
    for (const [key, [i, o]] of pairs) this.#kept.set(key, this.#make(i, o, slot) ? this.#address(slot++) : undefined)
  }

  get bytes(): number {
    return this.arena.size
  }

  /** First tile of the polynomial between input i and output o, made in a spare slot where none are kept; undefined where zero. */
  at(i: number, o: number, spare: number): number | undefined {
    if (this.complete) return this.#kept.get(this.#packing.weightKey(i, o))
    return this.#make(i, o, spare) ? this.#address(spare) : undefined
  }

  /** First tile of the polynomial of DEGREE small signed coefficients in the arena, put into a spare slot. */
  put(signed: number, spare: number): number {
    const slot = this.#spare + spare
    this.transforms.forwardSigned(signed, this.#polynomial)
    for (let tile = 0; tile < TILES; tile++) {
      const target = this.arena.u8(this.#address(slot) + tile * this.tileStride, TILE_BYTES)
      target.set(this.arena.u8(this.#polynomial + tile * TILE_BYTES, TILE_BYTES))
    }
    return this.#address(slot)
  }

  #make(i: number, o: number, slot: number): boolean {
    const signed = new Int32Array(DEGREE)
    this.#packing.packWeights(i, o, this.#weights, signed)
    if (signed.every((weight) => weight === 0)) return false
    this.arena.u32(this.#signed, DEGREE).set(signed)
    this.put(this.#signed, slot - this.#spare)
    return true
  }

  #address(slot: number): number {
    return this.#tiles + slot * TILE_BYTES
  }

  dispose(): void {
    this.arena.release()
  }
}

/** The first polynomial of an encryption; `buffer` holds PACKED_BYTES + 16. Throws BAD_PEER. */
function unpackBody(arena: Arena, packed: Uint8Array, buffer: number, polynomial: number): void {
  arena.u8(buffer, PACKED_BYTES).set(packed.subarray(0, PACKED_BYTES))
  arena.run.unpackWords(buffer, polynomial, PRIMES.length * DEGREE, RESIDUE_BITS)
  PRIMES.forEach((p, i) => {
    if (arena.run.allBelow(polynomial + i * PLANE_BYTES, DEGREE, p)) return
    throw new MinionnError('BAD_PEER', 'a ciphertext from the peer is not valid: a residue is not below its prime')
  })
}

class Host implements TripleHost<LatticeWeights> {
  readonly #zero: Uint8Array
  readonly #random = new Prg(randomSeed())

  constructor(encryptionOfZero: Uint8Array) {
    this.#zero = encryptionOfZero
    // Refused now and not with the first set.
    Arena.with((arena) => {
      unpackBody(arena, encryptionOfZero, arena.alloc(PACKED_BYTES + 16), arena.alloc(POLYNOMIAL_BYTES))
    })
  }

  /** Holds the weights' arena until it is through: one set at a time. */
  *respond(
    packing: Packing,
    weights: LatticeWeights,
    inputs: readonly Uint8Array[],
    ring: number,
    outputs: readonly { readonly at: Int32Array; readonly masks: Uint32Array }[],
  ): Generator<Uint8Array> {
    const { arena } = weights
    const mark = arena.mark()
    try {
      const work = new Workspace(weights, ring, inputs.length + 1)
      inputs.forEach((input, i) => {
        work.load(input, i)
      })
      const zero = inputs.length
      work.load(this.#zero, zero)
      const size = weights.complete ? GROUP : 1
      for (let first = 0; first < outputs.length; first += size) {
        const group = outputs.slice(first, first + size)
        group.forEach((_, n) => {
          work.begin(n)
          for (const i of packing.sources(first + n)) {
            if (work.terms(n) === MAX_PRODUCTS) work.multiply([n])
            const weight = weights.at(i, first + n, work.terms(n))
            if (weight !== undefined) work.add(n, weight, i)
          }
          // A spare slot for u must be free.
          if (work.terms(n) === MAX_PRODUCTS) work.multiply([n])
          sampleTernary(arena, this.#random, work.scratch, work.signed)
          work.add(n, weights.put(work.signed, weights.complete ? n : work.terms(n)), zero)
        })
        work.multiply([...group.keys()])
        for (const [n, { at, masks }] of group.entries()) yield work.finish(n, this.#random, at, masks)
      }
    } finally {
      arena.reset(mark)
    }
  }

  dispose(): void {}
}

/** What answering a set needs besides the weights, in their arena. */
class Workspace {
  readonly scratch: number
  readonly signed: number
  readonly #arena: Arena
  readonly #weights: LatticeWeights
  readonly #ring: number
  /** Inputs, tile by tile, and bytes from one tile of an input to its next. */
  readonly #inputs: number
  readonly #inputStride: number
  readonly #polynomial: number
  readonly #packed: number
  /** c0 and c1 of each output of a group, and whether anything was written to them. */
  readonly #sums: number
  readonly #written: boolean[] = []
  /** Terms that wait for multiply(). */
  readonly #waiting: { weights: number[]; inputs: number[] }[] = []
  readonly #more: number
  readonly #lists: number
  readonly #constants: number
  readonly #scales: number
  readonly #masks: readonly number[]
  readonly #tile: number
  readonly #wide: number

  constructor(weights: LatticeWeights, ring: number, inputs: number) {
    const { arena } = weights
    this.#arena = arena
    this.#weights = weights
    this.#ring = ring
    this.#inputStride = inputs * 2 * TILE_BYTES
    this.#inputs = arena.alloc(TILES * this.#inputStride)
    this.scratch = arena.alloc(Math.max(SAMPLING_BYTES, DEGREE * 12))
    this.signed = arena.alloc(PLANE_BYTES)
    this.#polynomial = arena.alloc(POLYNOMIAL_BYTES)
    this.#packed = arena.alloc(PACKED_BYTES + 16)
    this.#sums = arena.alloc(GROUP * CIPHERTEXT_BYTES)
    this.#more = arena.alloc(2 * TILE_BYTES)
    this.#lists = arena.alloc(2 * MAX_PRODUCTS * 4)
    this.#constants = arena.alloc(PRODUCT_CONSTANTS.byteLength)
    this.#scales = arena.alloc(FRACTION_SCALES.byteLength)
    const masks = maskConstants(ring)
    this.#masks = masks.map((constants) => arena.alloc(constants.byteLength))
    this.#tile = arena.alloc(4 * TILE_BYTES)
    this.#wide = arena.alloc(DEGREE * 8)
    arena.u32(this.#constants, PRODUCT_CONSTANTS.length).set(PRODUCT_CONSTANTS)
    arena.u8(this.#scales, FRACTION_SCALES.byteLength).set(bytesOf(FRACTION_SCALES))
    masks.forEach((constants, i) => {
      arena.u8(this.#masks[i], constants.byteLength).set(bytesOf(constants))
    })
  }

  /** Takes in a client's encryption as input `i`. Throws BAD_PEER. */
  load(packed: Uint8Array, i: number): void {
    const arena = this.#arena
    const spread = (half: number) => {
      for (let tile = 0; tile < TILES; tile++) {
        const at = this.#inputs + tile * this.#inputStride + (2 * i + half) * TILE_BYTES
        arena.u8(at, TILE_BYTES).set(arena.u8(this.#polynomial + tile * TILE_BYTES, TILE_BYTES))
      }
    }
    unpackBody(arena, packed, this.#packed, this.#polynomial)
    spread(0)
    sampleUniform(arena, new Prg(packed.slice(PACKED_BYTES)), this.scratch, this.#polynomial)
    spread(1)
  }

  /** Starts the sum of the n-th output of the group. */
  begin(n: number): void {
    this.#written[n] = false
    this.#waiting[n] = { weights: [], inputs: [] }
  }

  /** Terms of output n that wait. */
  terms(n: number): number {
    return this.#waiting[n].weights.length
  }

  /** Adds a product to output n, MAX_PRODUCTS at most: a weight polynomial by its first tile, an input by its number. */
  add(n: number, weight: number, input: number): void {
    this.#waiting[n].weights.push(weight)
    this.#waiting[n].inputs.push(this.#inputs + input * 2 * TILE_BYTES)
  }

  /** Adds up what waits for these outputs, tile by tile. */
  multiply(outputs: readonly number[]): void {
    const arena = this.#arena
    for (let tile = 0; tile < TILES; tile++) {
      const plane = Math.floor((tile * TILE) / DEGREE)
      for (const n of outputs) {
        const { weights, inputs } = this.#waiting[n]
        arena.u32(this.#lists, weights.length).set(weights)
        const second = this.#lists + MAX_PRODUCTS * 4
        arena.u32(second, inputs.length).set(inputs)
        const c0 = this.#sums + n * CIPHERTEXT_BYTES + tile * TILE_BYTES
        const targets = this.#written[n] ? [this.#more, this.#more + TILE_BYTES] : [c0, c0 + POLYNOMIAL_BYTES]
        arena.run.sumOfProducts(
          targets[0],
          targets[1],
          this.#lists,
          tile * this.#weights.tileStride,
          second,
          tile * this.#inputStride,
          weights.length,
          this.#constants + 16 * plane,
          this.#tile,
        )
        if (!this.#written[n]) continue
        arena.run.addResidues(c0, this.#more, TILE, PRIMES[plane])
        arena.run.addResidues(c0 + POLYNOMIAL_BYTES, this.#more + TILE_BYTES, TILE, PRIMES[plane])
      }
    }
    for (const n of outputs) {
      this.#written[n] = true
      this.#waiting[n] = { weights: [], inputs: [] }
    }
  }

  /** Re-randomises and masks output n: the response as it travels. */
  finish(n: number, random: Prg, at: Int32Array, masks: Uint32Array): Uint8Array {
    const arena = this.#arena
    const { run } = arena
    const c0 = this.#sums + n * CIPHERTEXT_BYTES
    const c1 = c0 + POLYNOMIAL_BYTES
    for (let i = 0; i < PRIMES.length; i++) {
      this.#weights.transforms.inverse(c0 + i * PLANE_BYTES, i)
      this.#weights.transforms.inverse(c1 + i * PLANE_BYTES, i)
    }

    const positions = this.#polynomial
    const values = this.#polynomial + PLANE_BYTES
    const mask = this.#ring === 32 ? -1 : 2 ** this.#ring - 1
    random.into(arena.u8(this.scratch, at.length * 12))
    arena.u32(positions, at.length).set(at)
    arena.u32(values, at.length).set(masks.map((v) => v & mask))
    const flood = floodBits(this.#ring) + 1
    this.#masks.forEach((constants, i) => {
      run.maskResponses(c0 + i * PLANE_BYTES, positions, values, this.scratch, at.length, flood, constants)
    })
    sampleNoise(arena, random, this.scratch, this.signed)
    primes.forEach((p, i) => {
      run.addScaledNoise(c1 + i * PLANE_BYTES, this.signed, DEGREE, PRIMES[i], word(crt[i]), word(shoup(crt[i], p)))
    })

    const [c0Bits, c1Bits] = [this.#ring + C0_EXTRA_BITS, this.#ring + C1_EXTRA_BITS]
    const split = packedBytes(at.length, c0Bits)
    const out = new Uint8Array(split + packedBytes(DEGREE, c1Bits))
    const pack = (count: number, bits: number, to: number, length: number) => {
      arena.u8(this.#packed, length + 16).fill(0)
      run.packWide(this.#wide, this.#packed, count, bits, 0)
      out.set(arena.u8(this.#packed, length), to)
    }
    run.fractions(c0, PRIMES.length, this.#scales, positions, at.length, 64 - c0Bits, this.#wide)
    pack(at.length, c0Bits, 0, split)
    run.fractions(c1, PRIMES.length, this.#scales, 0, DEGREE, 64 - c1Bits, this.#wide)
    pack(DEGREE, c1Bits, split, out.length - split)
    return out
  }
}

export const latticeEngine: Engine<LatticeWeights> = {
  name: 'lattice',
  encryptionBytes: PACKED_BYTES + SEED_BYTES,
  responseBytes: (ring, results) =>
    packedBytes(results, ring + C0_EXTRA_BITS) + packedBytes(DEGREE, ring + C1_EXTRA_BITS),
  newClient: () => new Client(),
  newHost: (encryptionOfZero) => new Host(encryptionOfZero),
  weights: (packing, weights) => new LatticeWeights(packing, weights),
}
