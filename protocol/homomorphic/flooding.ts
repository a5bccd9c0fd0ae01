/**
 * The flooding bound of circuit privacy (SECURITY.md): the noise of a response depends on the weights and is hidden by
 * f, uniform in +-2^(105-K). Their statistical distance, summed over all results of a bundle, must stay below 2^-40.
 */

import { DEGREE } from './packing.js'
import { FLOOD_BITS } from './responder.js'

/** Statistical security of circuit privacy, bits. */
export const STATISTICAL_BITS = 40

/** SEAL's errors: standard deviation 3.2, clipped at 6 of them. */
const ERROR_BOUND = 20

/**
 * Bits of statistical security that remain for `results` response coefficients whose weights have L1 norms of at most
 * `weightNorm`, in a ring of `ringBits`.
 */
export function floodingSecurity(ringBits: number, weightNorm: number, results: number): number {
  const noise = ERROR_BOUND * (weightNorm + 2 * DEGREE)
  return FLOOD_BITS + 1 - ringBits - Math.log2(noise) - Math.log2(results)
}
