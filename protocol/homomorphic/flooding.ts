/**
 * The flooding bound of circuit privacy (SECURITY.md): the noise E of a response depends on the weights and is hidden by
 * f, uniform in +-B. A shift by e moves that distribution by at most |e| / 2B, and E is a sum of independent errors of the client,
 * so the expected distance is at most sqrt(E[E^2]) / 2B. Summed over all results of a bundle it must stay below 2^-40.
 */
import { DEGREE } from './packing.js'

/** Bits of the ciphertext modulus Q. */
const MODULUS_BITS = 109

/** The kernels draw f from 96 random bits: no narrow ring needs more. */
const MAX_FLOOD_BITS = 95

/** log2 of B: an eighth of the decryption bound Q / 2^(k+1), at most. */
export function floodBits(ring: number): number {
  return Math.min(MODULUS_BITS - 4 - ring, MAX_FLOOD_BITS)
}

/** Statistical security of circuit privacy, bits. */
export const STATISTICAL_BITS = 40

/** Standard deviation of an encryption's error: the centred binomial's (3.24) and the rounding of Q r / 2^k. */
const ERROR_DEVIATION = 3.3

/**
 * Bits of statistical security that remain for `results` response coefficients whose weights have squared L2 norms of
 * at most `squaredNorm`, in a ring of `ringBits`. The re-randomisation adds u * e and e1 * s, ternary both: 4N/3.
 */
export function floodingSecurity(ringBits: number, squaredNorm: number, results: number): number {
  const noise = ERROR_DEVIATION * Math.sqrt(squaredNorm + (4 * DEGREE) / 3)
  return floodBits(ringBits) + 1 - Math.log2(noise) - Math.log2(results)
}
