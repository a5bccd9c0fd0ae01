/**
 * The reference executor: the semantics of a compiled model on plain integers. The two-party protocol equals it bit
 * for bit. It checks on the way that nothing leaves the ring the plan proved for it.
 */
import { activate } from '../circuits/activation.js'
import { MinionnError } from '../errors.js'
import { addInto, applyLinear, sumPool } from '../ring/linear.js'
import { assemble } from '../ring/parts.js'
import { activationInputs, activationShape, type Plan, type Stage } from './plan.js'
import type { ModelWeights, StageWeights } from './weights.js'

const halfStep = (shift: number) => (shift > 0 ? 2 ** (shift - 1) : 0)

/** Adds to y mod 2^32 what makes the shifts behind it round to nearest instead of down. */
export function addRounding(s: Stage, y: Uint32Array): Uint32Array {
  const { activation } = s
  if (activation?.terms === undefined) {
    // Symmetric pieces are of the middle of what a shifted value stands for.
    const half = activation?.pieces?.symmetric ? 0 : halfStep(activation?.shift ?? 0)
    if (half > 0) for (let i = 0; i < y.length; i++) y[i] += half
    return y
  }
  const shifts = activation.terms.flatMap(({ left, right }) => [left.shift, right.shift])
  const size = y.length / shifts.length
  shifts.forEach((shift, p) => {
    for (let i = p * size; i < (p + 1) * size; i++) y[i] += halfStep(shift)
  })
  return y
}

/** Adds the stage's skipped values, or shares of them, to y mod 2^32. */
export function addSkips(s: Stage, values: readonly Uint32Array[], y: Uint32Array): Uint32Array {
  for (const skip of s.skips) {
    const value = assemble([skip], undefined, values)
    for (let i = 0; i < y.length; i++) y[i] += Math.imul(skip.factor, value[i])
  }
  return y
}

/** What a stage's W is applied to: pre of the values put together, mod 2^32. May be one of the values themselves. */
export function mapInput(s: Stage, values: readonly Uint32Array[]): Uint32Array {
  const factors = s.parts.map((part) => ('zeros' in part ? 0 : part.factor))
  const times = factors.every((f) => f === 1) ? undefined : (v: number, p: number) => Math.imul(v, factors[p])
  const x = assemble(s.parts, s.transpose, values, times)
  return s.pre === undefined ? x : sumPool(s.pre, x)
}

/** post(W pre(x) + b) plus skips plus the rounding offset, mod 2^32; `values` are those so far, or shares of them. */
export function stageLinear(s: Stage, secret: StageWeights, values: readonly Uint32Array[]): Uint32Array {
  const mapped = addInto(applyLinear(s.linear, secret.weights, mapInput(s, values)), secret.bias)
  return addRounding(s, addSkips(s, values, s.post === undefined ? mapped : sumPool(s.post, mapped)))
}

/** Integers of an input: round(value * scale). Throws BAD_INPUT outside the declared range. */
export function quantiseInput(plan: Plan, values: ArrayLike<number>): Int32Array {
  const { scale, low, high } = plan.input
  const out = new Int32Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const v = Math.round(values[i] * scale)
    // Negated, so that NaN is caught as well.
    if (!(v >= low && v <= high)) {
      throw new MinionnError(
        'BAD_INPUT',
        `value ${values[i]} at position ${i} is outside of the model's input range [${(low / scale).toPrecision(4)}, ${(high / scale).toPrecision(4)}]; check the normalisation the model's card asks for`,
      )
    }
    out[i] = v
  }
  if (plan.input.oneHot && out.reduce((sum, v) => sum + v, 0) !== 1) {
    throw new MinionnError('BAD_INPUT', 'the model takes one-hot inputs: one element must be 1 and all others 0')
  }
  return out
}

/** Outputs before any final softmax, as signed integers of scale plan.output.scale. States are zeros. */
export function runReference(plan: Plan, secret: ModelWeights, input: Int32Array): Int32Array {
  return runReferenceStep(plan, secret, input, undefined).outputs
}

/** One inference of a session: `states` are those that the one before left, undefined for the first. */
export function runReferenceStep(
  plan: Plan,
  secret: ModelWeights,
  input: Int32Array,
  states: readonly Uint32Array[] | undefined,
): { outputs: Int32Array; states: Uint32Array[] } {
  const values = [Uint32Array.from(input), ...(states ?? plan.states.map(({ size }) => new Uint32Array(size)))]
  for (let i = 0; ; i++) {
    const s = plan.stages[i]
    const y = Int32Array.from(stageLinear(s, secret.stages[i], values))
    const limit = 2 ** (s.ring - 1)
    for (const v of y) {
      if (v < -limit || v >= limit) throw new Error(`stage ${i} ("${s.name}") left its ring of ${s.ring} bits`)
    }
    if (s.activation === undefined) return { outputs: y, states: plan.states.map(({ next }) => values[next]) }
    const shape = activationShape(plan, i)
    const inputs = activationInputs(s)
    const next = new Uint32Array(inputs.length / shape.window)
    const window = new Int32Array(shape.window)
    for (let n = 0; n < next.length; n++) {
      for (let w = 0; w < shape.window; w++) window[w] = y[inputs[n * shape.window + w]]
      next[n] = activate(window, shape)
    }
    values.push(next)
  }
}

/** Indices of the `count` largest outputs, in order, the lowest first on ties: what `reveal: top-k` reveals. */
export function largestIndices(outputs: ArrayLike<number>, count: number): number[] {
  const all = Array.from({ length: outputs.length }, (_, i) => i)
  return all.sort((a, b) => outputs[b] - outputs[a] || a - b).slice(0, count)
}

/** Index of the largest output, the lowest on ties: what `reveal: label` reveals. */
export function argmax(outputs: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < outputs.length; i++) if (outputs[i] > outputs[best]) best = i
  return best
}
