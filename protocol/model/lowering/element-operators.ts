/** Operators on elements of one tensor or of several, and reductions. */
import { MAX_WINDOW } from '../../limits.js'
import { type ScalarFunction, scalarFunction } from '../functions.js'
import { elements } from '../layers.js'
import type { NodeReader } from './node-reader.js'
import type { Hidden, Image, Translation } from './translation.js'

export const ELEMENTWISE = {
  Add: (x: number, y: number) => x + y,
  Sub: (x: number, y: number) => x - y,
  Mul: (x: number, y: number) => x * y,
  Div: (x: number, y: number) => x / y,
} as const

export function affine(t: Translation, r: NodeReader): void {
  const { op, inputs, name } = r.node
  const at = inputs[0] === t.current ? 1 : 0
  if (at === 0 && op === 'Div' && !t.hidden.has(inputs[0]))
    r.fail('it divides by a hidden value; only division by constants is supported')
  const size = elements(t.x.shape)
  const affine = (scale: Float64Array, shift: Float64Array) => {
    const [a, b] = [scale[0], shift[0]]
    if (scale.every((v) => v === a) && shift.every((v) => v === b)) t.note({ op, apply: (x) => a * x + b }, false)
    t.x = t.builder.affine(t.x, name, scale, shift)
  }
  const one = new Float64Array(size).fill(1)
  const zero = new Float64Array(size)
  if (inputs[at] === t.current) {
    if (op === 'Mul' && t.functions.has(t.current)) t.apply(name, { op, apply: (x) => x * x })
    else if (op === 'Mul') {
      t.note({ op, apply: (x) => x * x })
      t.x = t.builder.scalar(t.x, name, 'square', t.alone)
    } else if (op === 'Add') affine(one.fill(2), zero)
    else r.fail('it combines a hidden value with itself, which leaves a constant; remove it from the model')
    return
  }
  if (t.hidden.has(inputs[at])) return twoHidden(t, r, t.hidden.get(inputs[0])!, t.hidden.get(inputs[1])!)
  const constant = t.broadcast(r, t.constant(r, at))
  if (op === 'Add') return affine(one, constant)
  if (op === 'Mul') return affine(constant, zero)
  if (op === 'Sub' && at === 0) return affine(one.fill(-1), constant)
  if (op === 'Sub') {
    return affine(
      one,
      constant.map((v) => -v),
    )
  }
  if (constant.some((v) => v === 0)) r.fail('it divides by zero')
  affine(
    constant.map((v) => 1 / v),
    zero,
  )
}

/** Two functions of the same tensor's elements are one: so exporters write SiLU, GELU, Mish, HardSwish. */
export function combine(t: Translation, r: NodeReader): boolean {
  const { op, name, inputs } = r.node
  const [a, b] = inputs.map((input) => {
    return t.functions.get(input) ?? { base: input, fn: { op: '', apply: (x: number) => x }, bent: false }
  })
  // A sum of multiples stays linear: it is exact, and needs no pieces.
  const linear = (op === 'Add' || op === 'Sub') && !a.bent && !b.bent
  if (a.base !== b.base || linear) return false
  const ops = [...new Set([a.fn.op, b.fn.op, op].filter((part) => part !== ''))].join(', ')
  const fn: ScalarFunction = {
    op: ops,
    apply: (x) => ELEMENTWISE[op as keyof typeof ELEMENTWISE](a.fn.apply(x), b.fn.apply(x)),
  }
  t.functions.set(t.output, { base: a.base, fn, bent: true })
  t.x = t.builder.scalar(t.hidden.get(a.base)!, name, fn, false)
  return true
}

/** The sum, difference or product of two hidden tensors. */
export function twoHidden(t: Translation, r: NodeReader, a: Hidden, b: Hidden): void {
  const { op, name, inputs } = r.node
  r.ignore('broadcast', 'axis')
  if (combine(t, r)) return
  if (op === 'Div') r.fail('it divides by a hidden value; only division by constants is supported')
  if (inputs.some((input) => t.softmaxed.has(input))) {
    r.fail('it follows a softmax; only the last softmax of a network is supported, because it is dropped')
  }
  const shape = t.broadcastShape(r, [a, b])
  const [x, y] = [a, b].map((tensor) => t.builder.expand(tensor, name, shape))
  t.x = op === 'Mul' ? t.builder.multiply(x, y, name) : t.builder.add(x, y, name, op === 'Add' ? 1 : -1)
}

/** Max, Min, Sum and Mean of several tensors. */
export function several(t: Translation, r: NodeReader): void {
  const { op, name, inputs } = r.node
  const b = t.builder
  const constants = inputs.filter((input) => !t.hidden.has(input))
  if (inputs.length === 1) return
  if (constants.length > 0) {
    const bound = t.constants.get(constants[0])?.data
    const uniform = bound?.every((v) => v === bound[0])
    if (inputs.length === 2 && uniform && (op === 'Max' || op === 'Min')) {
      const [low, high] = op === 'Max' ? [bound![0], Number.POSITIVE_INFINITY] : [Number.NEGATIVE_INFINITY, bound![0]]
      return t.apply(name, scalarFunction('Clip', [low, high]))
    }
  }
  const hidden = inputs.map((input, at) => t.hidden.get(input) ?? t.constantTensor(r, at))
  const shape = t.broadcastShape(r, hidden)
  const all = hidden.map((x) => b.expand(x, name, shape))
  if (op === 'Max') t.x = b.maximum(all, name)
  else if (op === 'Min')
    t.x = t.negated(
      b.maximum(
        all.map((x) => t.negated(x, name)),
        name,
      ),
      name,
    )
  else {
    t.x = all.reduce((sum, x) => b.add(sum, x, name, 1))
    const size = elements(shape)
    // No function of the first tensor alone, so that nothing is noted of it.
    if (op === 'Mean') t.x = b.affine(t.x, name, new Float64Array(size).fill(1 / all.length), new Float64Array(size))
  }
}

/** The largest, least, mean or sum over dimensions. */
export function reduce(t: Translation, r: NodeReader): void {
  const { op, name } = r.node
  const b = t.builder
  const { shape } = t.x
  const given = r.has('axes') ? r.ints('axes', []) : [...(t.optional(r, 1)?.data ?? [])]
  const keep = r.number('keepdims', 1) === 1
  const noop = r.number('noop_with_empty_axes', 0) === 1
  if (given.length === 0 && noop) return
  if (given.length === 0 && t.lead === 1) {
    r.fail('it goes over all axes, the batch included; axes behind the batch are expected')
  }
  const all = given.length === 0 ? [...shape.keys()] : given.map((axis) => t.axis(r, axis))
  const axes = all.sort((a, c) => a - c)
  const window = elements(axes.map((d) => shape[d]))
  if (window > MAX_WINDOW) r.fail(`it goes over ${window} elements; at most ${MAX_WINDOW} are supported`)
  const flipped = op === 'ReduceMin'
  const image = t.lead === 1 && shape.length === 3 && axes.join() === '1,2' && op !== 'ReduceMax' && !flipped
  if (image) {
    const input = t.image(r)
    const size = [input[1], input[2]] as const
    const output: Image = [input[0], 1, 1]
    t.x = b.meanPool(t.x, name, { input, output, kernel: size, strides: size, pads: [0, 0, 0, 0] })
  } else {
    const x = flipped ? t.negated(t.x, name) : t.x
    t.x = b.reduce(x, name, op === 'ReduceMax' || flipped ? 'max' : 'mean', axes)
    if (flipped) t.x = t.negated(t.x, name)
  }
  t.x = b.reshape(
    t.x,
    shape.flatMap((dim, d) => (axes.includes(d) ? (keep ? [1] : []) : [dim])),
  )
  if (op === 'ReduceSum') {
    const size = elements(t.x.shape)
    t.x = b.affine(t.x, name, new Float64Array(size).fill(window), new Float64Array(size))
  }
}
