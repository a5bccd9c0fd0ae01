/**
 * Fits a piecewise-linear function to an activation: the paper's recipe (MiniONN section 5.3.2) on integers. Functions that are
 * linear in pieces keep their own knots; of others each piece is the longest chord that stays within the error.
 */
import { evaluatePieces, type Pieces } from '../circuits/pieces.js'
import type { ScalarFunction } from './functions.js'

/** Knots of one function at most. */
export const MAX_KNOTS = 30

export interface Fit {
  readonly pieces: Pieces
  /** Largest |pieces(v) / scaleOut - f(v / scaleIn)| over the range. */
  readonly error: number
}

/**
 * Pieces for f on the integers [low, high], v = x * scaleIn, f = pieces(v) / scaleOut, within `tolerance` where `maxKnots` knots
 * allow it, and otherwise as close as they come.
 */
export function fitPieces(
  f: ScalarFunction,
  low: number,
  high: number,
  scaleIn: number,
  scaleOut: number,
  tolerance: number,
  maxKnots = MAX_KNOTS,
): Fit {
  const targets = Float64Array.from({ length: high - low + 1 }, (_, i) => f.apply((low + i) / scaleIn) * scaleOut)
  let knots = f.bends?.map((x) => Math.round(x * scaleIn)).filter((knot) => knot > low && knot < high)
  for (let allowed = tolerance * scaleOut; knots === undefined; allowed *= 1.5) {
    const chords = longestChords(targets, allowed, maxKnots)
    knots = chords?.map((i) => low + i)
  }
  const pieces = chordsThrough(targets, low, high, knots)
  let error = 0
  targets.forEach((target, i) => {
    error = Math.max(error, Math.abs(evaluatePieces(pieces, low + i) - target))
  })
  return { pieces, error: error / scaleOut }
}

/** The integer slope from a value that was reached at `from` towards the function at `to`. */
const slopeTo = (targets: Float64Array, reached: number, from: number, to: number) =>
  Math.round((targets[to] - reached) / (to - from))

/** Knots, as indices, of the longest chords within `allowed`, from left to right; undefined where more than `maxKnots` are needed. */
function longestChords(targets: Float64Array, allowed: number, maxKnots: number): number[] | undefined {
  const last = targets.length - 1
  const knots: number[] = []
  let reached = Math.round(targets[0])
  for (let from = 0; ; ) {
    const fits = (to: number) => {
      const slope = slopeTo(targets, reached, from, to)
      for (let i = from + 1; i <= to; i++) {
        if (Math.abs(reached + slope * (i - from) - targets[i]) > allowed) return false
      }
      return true
    }
    let good = from + 1
    let step = 1
    while (good < last && fits(Math.min(good + step, last))) {
      good = Math.min(good + step, last)
      step *= 2
    }
    for (; step >= 1; step = Math.floor(step / 2)) if (good + step <= last && fits(good + step)) good += step
    reached += slopeTo(targets, reached, from, good) * (good - from)
    if (good === last) return knots
    if (knots.length === maxKnots) return undefined
    knots.push(good)
    from = good
  }
}

/** Chords through the function at the ends and knots; what rounding a slope misses the next one makes up for. */
function chordsThrough(targets: Float64Array, low: number, high: number, knots: readonly number[]): Pieces {
  const ends = [low, ...knots, high]
  const start = Math.round(targets[0])
  let reached = start
  const slopes = ends.slice(1).map((end, j) => {
    const slope = slopeTo(targets, reached, ends[j] - low, end - low)
    reached += slope * (end - ends[j])
    return slope
  })
  return { offset: start - slopes[0] * low, knots, slopes }
}
