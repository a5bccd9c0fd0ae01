/**
 * The reference executor: the semantics of a compiled model on plain integers. The two-party protocol equals it bit
 * for bit. It checks on the way that nothing leaves the ring the plan proved for it.
 */
import { activate } from '../circuits/activation.js'
import { MinionnError } from '../errors.js'
import { addInto, applyLinear, sumPool, transpose } from '../ring/linear.js'
import { activationInputs, activationShape, type Plan, type Stage } from './plan.js'
import type { ModelWeights, StageWeights } from './weights.js'

/** What a stage adds to y so that the shift behind it rounds to nearest instead of down. */
export function roundingOffset(s: Stage): number {
  return s.activation !== undefined && s.activation.shift > 0 ? 2 ** (s.activation.shift - 1) : 0
}

/** Adds the stage's skipped values, or shares of them, to y mod 2^32. */
export function addSkips(s: Stage, values: readonly Uint32Array[], y: Uint32Array): Uint32Array {
  for (const { from, factor } of s.skips) {
    const value = values[from]
    for (let i = 0; i < y.length; i++) y[i] += Math.imul(factor, value[i])
  }
  return y
}

/** What a stage's W is applied to: pre of the transposed value, mod 2^32. */
export function mapInput(s: Stage, x: Uint32Array): Uint32Array {
  const ordered = s.transpose === undefined ? x : transpose(s.transpose, x)
  return s.pre === undefined ? ordered : sumPool(s.pre, ordered)
}

/** The identity's factor times x mod 2^32. */
export function multiplyFactor(s: Stage, x: Uint32Array): Uint32Array {
  return s.factor === 1 ? x : x.map((v) => Math.imul(s.factor, v))
}

/** post(W pre(transposed x) + b) plus skips plus the rounding offset, mod 2^32; `values` are those so far, or shares of them. */
export function stageLinear(s: Stage, secret: StageWeights, values: readonly Uint32Array[]): Uint32Array {
  const x = mapInput(s, values[s.from])
  const mapped = addInto(multiplyFactor(s, applyLinear(s.linear, secret.weights, x)), secret.bias)
  const y = addSkips(s, values, s.post === undefined ? mapped : sumPool(s.post, mapped))
  const offset = roundingOffset(s)
  return offset === 0 ? y : y.map((v) => v + offset)
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
  return out
}

/** Outputs before any final softmax, as signed integers of scale plan.output.scale. */
export function runReference(plan: Plan, secret: ModelWeights, input: Int32Array): Int32Array {
  const values = [Uint32Array.from(input)]
  for (let i = 0; ; i++) {
    const s = plan.stages[i]
    const y = Int32Array.from(stageLinear(s, secret.stages[i], values))
    const limit = 2 ** (s.ring - 1)
    for (const v of y) {
      if (v < -limit || v >= limit) throw new Error(`stage ${i} ("${s.name}") left its ring of ${s.ring} bits`)
    }
    if (s.activation === undefined) return y
    const shape = activationShape(plan, i)
    const inputs = activationInputs(s)
    const next = new Uint32Array(inputs.length / shape.window)
    for (let n = 0; n < next.length; n++) {
      let largest = Number.NEGATIVE_INFINITY
      for (let w = 0; w < shape.window; w++) largest = Math.max(largest, y[inputs[n * shape.window + w]])
      next[n] = activate(largest, shape)
    }
    values.push(next)
  }
}

/** Index of the largest output, the lowest on ties: what `reveal: label` reveals. */
export function argmax(outputs: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < outputs.length; i++) if (outputs[i] > outputs[best]) best = i
  return best
}
