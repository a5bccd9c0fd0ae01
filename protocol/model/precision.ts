/** How many bits weights and activations keep: the user's choice between accuracy and bytes. */
import { MinionnError } from '../errors.js'

/** Weights are made coarser down to this before a model is refused. */
export const MIN_WEIGHT_BITS = 5
/** More would not fit rings of 32 bits beside any layer. */
const MAX_PRECISION_BITS = 16

export interface Precision {
  /** Bits of a typical weight: the root mean square of a layer is 2^(weightBits - 4). */
  readonly weightBits: number
  /** Bits that the largest calibrated activation keeps. */
  readonly activationBits: number
  /** Largest error of an activation that linear pieces approximate, times the root of its largest value where that exceeds 1. */
  readonly tolerance: number
}

/** Measured by `npm run bench:accuracy`: within 0.1 point of the float model on every network of docs/ACCURACY.md. */
export const DEFAULT_PRECISION: Precision = { weightBits: 9, activationBits: 9, tolerance: 0.005 }

/** Precisions by name: less for fewer bytes, more where the default is not enough. */
export const PRECISIONS: Readonly<Record<string, Precision>> = {
  low: { weightBits: 7, activationBits: 7, tolerance: 0.01 },
  default: DEFAULT_PRECISION,
  high: { weightBits: 11, activationBits: 11, tolerance: 0.002 },
}

/** A precision by name, or as weight bits / activation bits. Throws BAD_INPUT. */
export function parsePrecision(text: string): Precision {
  const named = Object.hasOwn(PRECISIONS, text) ? PRECISIONS[text] : undefined
  if (named !== undefined) return named
  const bits = /^(\d{1,2})\/(\d{1,2})$/.exec(text)?.slice(1).map(Number) ?? []
  if (bits.length === 2 && bits.every((b) => b >= MIN_WEIGHT_BITS && b <= MAX_PRECISION_BITS)) {
    return { ...DEFAULT_PRECISION, weightBits: bits[0], activationBits: bits[1] }
  }
  throw new MinionnError(
    'BAD_INPUT',
    `"${text}" is no precision: ${Object.keys(PRECISIONS).join(', ')} or weight bits / activation bits from ${MIN_WEIGHT_BITS} to ${MAX_PRECISION_BITS}, such as 9/9, is expected`,
  )
}
