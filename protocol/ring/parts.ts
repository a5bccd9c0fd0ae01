/**
 * Vectors put together from values by public index maps: slices, strides, broadcasts, zeros, one behind the other, then transposed.
 * Both parties apply them to their own shares, at no cost.
 */
import { type Transposition, transpose } from './linear.js'

/** Elements of a value in the order of a tensor of `sizes`, `strides` apart, from `offset` on. Strides may be 0 or negative. */
export interface View {
  readonly offset: number
  readonly sizes: readonly number[]
  readonly strides: readonly number[]
}

/** Part of a vector: a value or what a view shows of it, or zeros. */
export type Part = { readonly from: number; readonly view?: View } | { readonly zeros: number }

/** The whole of a row-major tensor. */
export function wholeView(sizes: readonly number[]): View {
  const strides = sizes.map((_, d) => sizes.slice(d + 1).reduce((product, size) => product * size, 1))
  return { offset: 0, sizes, strides }
}

const orders = new WeakMap<View, Int32Array>()

/** For each element that the view shows, row-major, its place in the value. */
export function viewOrder(view: View): Int32Array {
  const order = orders.get(view) ?? findOrder(view)
  orders.set(view, order)
  return order
}

function findOrder({ offset, sizes, strides }: View): Int32Array {
  const out = new Int32Array(sizes.reduce((product, size) => product * size, 1))
  const index = sizes.map(() => 0)
  let at = offset
  for (let n = 0; n < out.length; n++) {
    out[n] = at
    for (let d = sizes.length - 1; d >= 0; d--) {
      at += strides[d]
      if (++index[d] < sizes[d]) break
      at -= sizes[d] * strides[d]
      index[d] = 0
    }
  }
  return out
}

/** Least and largest place that a view shows. */
export function viewSpan({ offset, sizes, strides }: View): [number, number] {
  const ends = strides.map((stride, d) => (sizes[d] - 1) * stride)
  const sum = (values: number[]) => values.reduce((total, value) => total + value, offset)
  return [sum(ends.map((end) => Math.min(end, 0))), sum(ends.map((end) => Math.max(end, 0)))]
}

/** Elements of a part; `size` is that of its value. */
export function partSize(part: Part, size: (value: number) => number): number {
  if ('zeros' in part) return part.zeros
  return part.view === undefined ? size(part.from) : part.view.sizes.reduce((product, s) => product * s, 1)
}

/**
 * The parts one behind the other, then transposed. `times` gives an element of part p what it counts for; where it is left out
 * the values themselves may be returned, not a copy.
 */
export function assemble<T extends Uint32Array | Float64Array>(
  parts: readonly Part[],
  transposition: Transposition | undefined,
  values: readonly T[],
  times?: (value: number, p: number) => number,
): T {
  const pieces = parts.map((part, p) => {
    if ('zeros' in part) return { length: part.zeros, at: undefined }
    const value = values[part.from]
    const order = part.view && viewOrder(part.view)
    const get = order === undefined ? (n: number) => value[n] : (n: number) => value[order[n]]
    return { length: order?.length ?? value.length, at: times === undefined ? get : (n: number) => times(get(n), p) }
  })
  const [first] = parts
  if (parts.length === 1 && 'from' in first && first.view === undefined && times === undefined) {
    return transposition === undefined ? values[first.from] : transpose(transposition, values[first.from])
  }
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
  const known: Uint32Array | Float64Array = values.find((value) => value !== undefined) ?? new Uint32Array(0)
  const Vector = known.constructor as new (length: number) => T
  const out = new Vector(size)
  let offset = 0
  for (const { length, at } of pieces) {
    if (at !== undefined) for (let n = 0; n < length; n++) out[offset + n] = at(n)
    offset += length
  }
  return transposition === undefined ? out : transpose(transposition, out)
}

/** For each element of what assemble() gives, the number of its part. */
export function partNumbers(
  parts: readonly Part[],
  transposition: Transposition | undefined,
  size: (value: number) => number,
): Float64Array {
  const sizes = parts.map((part) => partSize(part, size))
  const out = new Float64Array(sizes.reduce((sum, s) => sum + s, 0))
  let offset = 0
  sizes.forEach((s, p) => {
    out.fill(p, offset, offset + s)
    offset += s
  })
  return transposition === undefined ? out : transpose(transposition, out)
}
