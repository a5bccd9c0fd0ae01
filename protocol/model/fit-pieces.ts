/**
 * Fits a piecewise-linear function to an activation: the paper's recipe (MiniONN section 5.3.2) on integers. Functions that are
 * linear in pieces keep their own knots; of others each piece is the longest chord that stays within the error.
 */
import { evaluatePieces, type Pieces } from '../circuits/pieces.js'
import { isSymmetric, type ScalarFunction } from './functions.js'

/** Knots of one function at most; of a symmetric one on either side. */
export const MAX_KNOTS = 30
/** Pieces of one function at most. */
export const MAX_PIECES = 2 * MAX_KNOTS + 1
/** Steps of the search for the least error that so many knots allow. */
const REFINEMENTS = 10

export interface Fit {
  readonly pieces: Pieces
  /** Largest |pieces(v) / scaleOut - f(v / scaleIn)| over the range. */
  readonly error: number
}

/**
 * Pieces for f on the integers [low, high], v = x * scaleIn, f = pieces(v) / scaleOut, within `tolerance` where `maxPieces` pieces
 * allow it, and otherwise as close as they come. Of a symmetric function v stands for v + 1/2.
 */
export function fitPieces(
  f: ScalarFunction,
  low: number,
  high: number,
  scaleIn: number,
  scaleOut: number,
  tolerance: number,
  maxPieces = MAX_PIECES,
): Fit {
  const symmetric = isSymmetric(f)
  const middle = symmetric ? 0.5 : 0
  const at = (v: number) => f.apply((v + middle) / scaleIn) * scaleOut
  const targets = Float64Array.from({ length: high - low + 1 }, (_, i) => at(low + i))
  const pieces = symmetric
    ? symmetricPieces(f.apply(0) * scaleOut, at, Math.max(high, -1 - low), tolerance * scaleOut, maxPieces)
    : plainPieces(f, targetsOf(targets), low, high, scaleIn, tolerance * scaleOut, maxPieces)
  let error = 0
  targets.forEach((target, i) => {
    error = Math.max(error, Math.abs(evaluatePieces(pieces, low + i) - target))
  })
  return { pieces, error: error / scaleOut }
}

function plainPieces(
  f: ScalarFunction,
  targets: Targets,
  low: number,
  high: number,
  scaleIn: number,
  allowed: number,
  maxPieces: number,
): Pieces {
  const own = f.bends?.map((x) => Math.round(x * scaleIn)).filter((knot) => knot > low && knot < high)
  const start = { reached: Math.round(targets.values[0]), double: false }
  const most = Math.min(maxPieces - 1, MAX_KNOTS)
  const knots = own ?? leastError(allowed, (error) => longestChords(targets, start, error, most)).map((i) => low + i)
  return chordsThrough(targets, low, high, knots)
}

/** The half of f from 0 on; the other is its mirror image. */
function symmetricPieces(
  offset: number,
  at: (v: number) => number,
  last: number,
  allowed: number,
  maxPieces: number,
): Pieces {
  const middle = Math.round(offset)
  const targets = targetsOf(Float64Array.from({ length: last + 1 }, (_, u) => at(u) - middle))
  const most = Math.min(Math.floor((maxPieces - 1) / 2), MAX_KNOTS)
  const knots = leastError(allowed, (error) => longestChords(targets, { reached: 0, double: true }, error, most))
  const ends = [...knots, last]
  // Through the middle, where half a step is half a slope.
  const first = slopeTo(targets, 0, ends[0], 2 * ends[0] + 1)
  let reached = first * (2 * ends[0] + 1)
  const slopes = [first]
  knots.forEach((knot, j) => {
    const slope = slopeTo(targets, reached, ends[j + 1], ends[j + 1] - knot)
    slopes.push(slope)
    reached += slope * (ends[j + 1] - knot)
  })
  return { offset: middle, knots, slopes, symmetric: true }
}

/** The knots within `allowed`, or else within the least error that has any. */
function leastError(allowed: number, knotsWithin: (error: number) => number[] | undefined): number[] {
  let bad = allowed
  let good = allowed
  let knots = knotsWithin(allowed)
  if (knots !== undefined) return knots
  while (knots === undefined) {
    bad = good
    good = Math.max(good * 1.5, 1)
    knots = knotsWithin(good)
  }
  for (let i = 0; i < REFINEMENTS; i++) {
    const between = (bad + good) / 2
    const found = knotsWithin(between)
    if (found === undefined) bad = between
    else [good, knots] = [between, found]
  }
  return knots
}

/**
 * The integer slope from a value that was reached towards the function at `to`, `steps` further on. Where the function only rises, or only
 * falls, so do its pieces, whatever rounding left to make up for.
 */
function slopeTo({ values, least, most }: Targets, reached: number, to: number, steps: number): number {
  return Math.min(Math.max(Math.round((values[to] - reached) / steps), least), most)
}

/** What pieces are to come close to, at every integer, and what their slopes may be. */
interface Targets {
  readonly values: Float64Array
  readonly least: number
  readonly most: number
}

/** What floating-point numbers leave of a function that only rises. */
const ROUNDING = 0.01

function targetsOf(values: Float64Array): Targets {
  const rises = values.every((v, i) => i === 0 || v >= values[i - 1] - ROUNDING)
  const falls = values.every((v, i) => i === 0 || v <= values[i - 1] + ROUNDING)
  return { values, least: rises ? 0 : Number.NEGATIVE_INFINITY, most: falls ? 0 : Number.POSITIVE_INFINITY }
}

/**
 * Knots, as indices, of the longest chords within `allowed`, from left to right; undefined where more than `maxKnots` are needed.
 * `double`: the first chord starts half a step before the first target, at `reached`, and its slope counts half steps.
 */
function longestChords(
  targets: Targets,
  start: { readonly reached: number; readonly double: boolean },
  allowed: number,
  maxKnots: number,
): number[] | undefined {
  const { values } = targets
  const last = values.length - 1
  const knots: number[] = []
  let { reached } = start
  for (let from = 0; ; ) {
    const halves = start.double && from === 0 && knots.length === 0
    const steps = (to: number) => (halves ? 2 * to + 1 : to - from)
    const slopeOf = (to: number) => slopeTo(targets, reached, to, steps(to))
    const fits = (to: number) => {
      const slope = slopeOf(to)
      for (let i = halves ? 0 : from + 1; i <= to; i++) {
        if (Math.abs(reached + slope * steps(i) - values[i]) > allowed) return false
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
    reached += slopeOf(good) * steps(good)
    if (good === last) return knots
    if (knots.length === maxKnots) return undefined
    knots.push(good)
    from = good
  }
}

/** Chords through the function at the ends and knots; what rounding a slope misses the next one makes up for. */
function chordsThrough(targets: Targets, low: number, high: number, knots: readonly number[]): Pieces {
  const ends = [low, ...knots, high]
  const start = Math.round(targets.values[0])
  let reached = start
  const slopes = ends.slice(1).map((end, j) => {
    const slope = slopeTo(targets, reached, end - low, end - ends[j])
    reached += slope * (end - ends[j])
    return slope
  })
  return { offset: start - slopes[0] * low, knots, slopes }
}
