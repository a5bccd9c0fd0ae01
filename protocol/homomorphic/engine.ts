/**
 * What the prepare protocol needs of homomorphic encryption. Two engines stand behind it: `lattice`, kernels of our own, and
 * `seal`, Microsoft SEAL through node-seal. Both are BFV at the same degree, modulus size and noise; their wire forms differ, and
 * the client says which one a session uses.
 *
 * All work is synchronous: it runs in a worker thread, or inline in tests.
 */
import { latticeEngine } from './lattice-engine.js'
import type { Packing } from './packing.js'
import { sealEngine } from './seal-engine.js'

export const ENGINES = ['lattice', 'seal'] as const
export type EngineName = (typeof ENGINES)[number]

/** Where output ciphertext o holds results, as Packing.results. */
export interface Results {
  readonly at: Int32Array
  readonly index: Int32Array
  readonly bundle: Int32Array
}

/** A client's key for one prepare session. Secret. */
export interface TripleClient {
  /** An encryption of DEGREE coefficients mod 2^ring, as it travels. */
  encrypt(coefficients: Uint32Array, ring: number): Uint8Array
  /** The values of a response at the given coefficients, mod 2^ring. */
  decrypt(response: Uint8Array, at: Int32Array, ring: number): Uint32Array
  dispose(): void
}

/** The weights of one linear map, ready for products; kept across sessions. */
export interface WeightPolynomials {
  /** Bytes of memory held. */
  readonly bytes: number
  dispose(): void
}

/** The host's side of one prepare session: holds the client's encryption of zero. */
export interface TripleHost<W extends WeightPolynomials = WeightPolynomials> {
  /**
   * The responses of one set: for each output ciphertext, weights times inputs plus the masks u' (one a result, uniform mod
   * 2^32), with circuit privacy. Throws BAD_PEER where an input is not a ciphertext.
   */
  respond(
    packing: Packing,
    weights: W,
    inputs: readonly Uint8Array[],
    ring: number,
    outputs: readonly { readonly at: Int32Array; readonly masks: Uint32Array }[],
  ): Generator<Uint8Array>
  dispose(): void
}

/** The engine of a name, for plans whose widest ring is `ring`. */
export async function engineOf(name: EngineName, ring: number): Promise<Engine> {
  return name === 'lattice' ? latticeEngine : await sealEngine(ring)
}

export interface Engine<W extends WeightPolynomials = WeightPolynomials> {
  readonly name: EngineName
  /** Bytes of an encryption. */
  readonly encryptionBytes: number
  /** Bytes of a response with `results` used coefficients. */
  responseBytes(ring: number, results: number): number
  newClient(): TripleClient
  newHost(encryptionOfZero: Uint8Array): TripleHost<W>
  weights(packing: Packing, weights: Int32Array): W
}
