/** Operators that choose and put together elements: all of them public maps on shares. */
import { elements } from '../layers.js'
import type { NodeReader } from './node-reader.js'
import type { Hidden, Translation } from './translation.js'

/** Starts, steps and sizes of a Slice on a tensor of this shape, batch included. */
export function sliceOf(
  t: Translation,
  r: NodeReader,
  shape: readonly number[],
): { starts: number[]; steps: number[]; sizes: number[] } {
  const list = (at: number, name: string) =>
    r.has(name) ? r.ints(name, []) : r.node.inputs[at] ? [...t.constant(r, at).data] : undefined
  const [from, to] = [list(1, 'starts') ?? [], list(2, 'ends') ?? []]
  const axes = list(3, 'axes') ?? from.map((_, i) => i)
  const by = list(4, 'steps') ?? from.map(() => 1)
  const starts = shape.map(() => 0)
  const steps = shape.map(() => 1)
  const sizes = [...shape]
  axes.forEach((given, i) => {
    const axis = given < 0 ? given + shape.length : given
    const size = shape[axis]
    const step = by[i]
    if (size === undefined || step === 0 || step === undefined)
      r.fail(`it slices axis ${given} by steps of ${step} of a value of shape [${shape}]`)
    const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + size : v, low), high)
    const start = step > 0 ? clamp(from[i], 0, size) : clamp(from[i], 0, size - 1)
    const end = step > 0 ? clamp(to[i], 0, size) : clamp(to[i], -1, size - 1)
    starts[axis] = start
    steps[axis] = step
    sizes[axis] = Math.max(0, Math.ceil((end - start) / step))
  })
  if (elements(sizes) === 0) r.fail(`it leaves nothing of a value of shape [${shape}]`)
  return { starts, steps, sizes }
}

export function split(t: Translation, r: NodeReader): void {
  const { node } = r
  const axis = t.axis(r, r.number('axis', 0))
  r.ignore('num_outputs')
  const size = t.x.shape[axis]
  const count = node.outputs.length
  const each = Math.ceil(size / count)
  const even = Array.from({ length: count }, (_, i) => Math.min(each, size - i * each))
  const sizes = r.has('split') ? r.ints('split', []) : [...(t.optional(r, 1)?.data ?? even)]
  if (sizes.length !== count || sizes.reduce((sum, v) => sum + v, 0) !== size || sizes.some((v) => v < 1)) {
    r.fail(`it splits ${size} elements into [${sizes}] for ${count} outputs`)
  }
  let start = 0
  const whole = t.x
  sizes.forEach((length, i) => {
    const at = (v: number, other: number) => whole.shape.map((_, d) => (d === axis ? v : other))
    const shape = whole.shape.map((dim, d) => (d === axis ? length : dim))
    const part = t.builder.slice(whole, node.name, at(start, 0), at(1, 1), shape)
    t.hidden.set(node.outputs[i], part)
    start += length
  })
  t.x = t.hidden.get(node.outputs[0])!
}

/** One tensor behind the other; constants are zeros there, and are added behind. */
export function concat(t: Translation, r: NodeReader): Hidden {
  const { shape } = t.x
  const axis = t.axis(r, r.number('axis', 1))
  const outer = elements(shape.slice(0, axis))
  const rows: Float64Array[][] = []
  const parts = r.node.inputs.map((name, at) => {
    const hidden = t.hidden.get(name)
    const constant = hidden === undefined ? t.constant(r, at) : undefined
    const dims = hidden?.shape ?? constant!.shape.slice(t.lead)
    if (dims.length !== shape.length || dims.some((dim, d) => d !== axis && dim !== shape[d])) {
      r.fail(`its inputs have shapes [N,${shape}] and [N,${dims}], which do not fit together`)
    }
    const values = constant?.data ?? new Float64Array(elements(dims))
    const size = elements(dims) / outer
    rows.push(Array.from({ length: outer }, (_, o) => values.subarray(o * size, (o + 1) * size)))
    return hidden ?? t.builder.zeros(dims)
  })
  const joined = t.builder.concat(parts, r.node.name, axis)
  const shift = Float64Array.from(Array.from({ length: outer }, (_, o) => rows.flatMap((row) => [...row[o]])).flat())
  if (shift.every((v) => v === 0)) return joined
  return t.builder.affine(joined, r.node.name, new Float64Array(shift.length).fill(1), shift)
}

/** Zeros and other numbers around, or what lies at the edges again. */
export function pad(t: Translation, r: NodeReader): void {
  const mode = r.string('mode', 'constant')
  const { shape } = t.x
  const lead = t.lead
  const rank = shape.length + lead
  const given = r.has('pads')
    ? r.ints('pads', [])
    : r.has('paddings')
      ? r.ints('paddings', [])
      : [...t.constant(r, 1).data]
  const value = r.has('value') ? r.number('value', 0) : (t.optional(r, 2)?.data[0] ?? 0)
  const axes = t.optional(r, 3)?.data ?? Float64Array.from({ length: rank }, (_, d) => d)
  if (given.length !== 2 * axes.length) r.fail(`its pads [${given}] are not two for each of ${axes.length} axes`)
  for (const [n, raw] of axes.entries()) {
    const axis = raw < 0 ? raw + rank : raw
    const [before, after] = [given[n], given[n + axes.length]]
    if (before === 0 && after === 0) continue
    if (axis < lead) r.fail('it pads the batch, which stays as it is')
    t.x = padAxis(t, r, mode, axis - lead, before, after, value)
  }
}

export function padAxis(
  t: Translation,
  r: NodeReader,
  mode: string,
  axis: number,
  before: number,
  after: number,
  value: number,
): Hidden {
  const b = t.builder
  const x = t.x
  const size = x.shape[axis]
  const indices = Array.from({ length: size + before + after }, (_, i) => i - before)
  if (indices.length < 1) r.fail(`its pads [${before}, ${after}] leave nothing of ${size} elements`)
  const inside = indices.filter((i) => i >= 0 && i < size)
  if (mode !== 'constant' || inside.length === indices.length) {
    const period = 2 * (size - 1)
    const fold: Record<string, (i: number) => number> = {
      constant: (i) => i,
      edge: (i) => Math.min(Math.max(i, 0), size - 1),
      wrap: (i) => ((i % size) + size) % size,
      reflect: (i) => (period === 0 ? 0 : size - 1 - Math.abs(size - 1 - (((i % period) + period) % period))),
    }
    if (fold[mode] === undefined) r.fail(`attribute mode is ${mode}; constant, edge, reflect or wrap is expected`)
    return b.gather(x, r.node.name, axis, indices.map(fold[mode]))
  }
  const zeros = (length: number) => b.zeros(x.shape.map((dim, d) => (d === axis ? length : dim)))
  const middle = inside.length === size ? x : b.gather(x, r.node.name, axis, inside)
  const parts = [...(before > 0 ? [zeros(before)] : []), middle, ...(after > 0 ? [zeros(after)] : [])]
  const padded = b.concat(parts, r.node.name, axis)
  if (value === 0) return padded
  const inner = elements(x.shape.slice(axis + 1))
  const shift = Float64Array.from({ length: elements(padded.shape) }, (_, n) => {
    const i = (Math.floor(n / inner) % padded.shape[axis]) - Math.max(before, 0)
    return i >= 0 && i < inside.length ? 0 : value
  })
  return b.affine(padded, r.node.name, new Float64Array(shift.length).fill(1), shift)
}

/** To the nearest element: a choice of rows and columns. */
export function resize(t: Translation, r: NodeReader): void {
  const { op } = r.node
  const mode = r.string('mode', 'nearest')
  if (mode !== 'nearest') r.fail(`attribute mode is ${mode}; only nearest is supported`)
  const how = r.string('coordinate_transformation_mode', op === 'Upsample' ? 'asymmetric' : 'half_pixel')
  const rounding = r.string('nearest_mode', op === 'Upsample' ? 'floor' : 'round_prefer_floor')
  r.ignore('cubic_coeff_a', 'exclude_outside', 'extrapolation_value', 'antialias')
  const policy = r.string('keep_aspect_ratio_policy', 'stretch')
  if (policy !== 'stretch') r.fail(`attribute keep_aspect_ratio_policy is ${policy}; only stretch is supported`)
  const full = t.full(t.x.shape)
  const at = op === 'Upsample' || t.graph.opset < 11 ? 1 : 2
  const given = (n: number) => (r.node.inputs[n] ? [...t.constant(r, n).data] : [])
  const listed = r.node.attributes.get('scales')
  r.ignore('scales')
  const scales = Array.isArray(listed) ? (listed as number[]) : given(at)
  const sizes = given(3)
  const axes = r.ints('axes', [...full.keys()]).map((axis) => (axis < 0 ? axis + full.length : axis))
  if (Math.max(scales.length, sizes.length) !== axes.length)
    r.fail(`it has ${scales.length} scales and ${sizes.length} sizes for ${axes.length} axes`)
  axes.forEach((axis, n) => {
    const from = full[axis]
    const to = sizes[n] ?? Math.floor(from * scales[n])
    const scale = sizes.length > 0 ? to / from : scales[n]
    if (to === from) return
    if (axis < t.lead) r.fail('it resizes the batch, which stays as it is')
    const places: Record<string, (i: number) => number> = {
      half_pixel: (i) => (i + 0.5) / scale - 0.5,
      pytorch_half_pixel: (i) => (to > 1 ? (i + 0.5) / scale - 0.5 : 0),
      asymmetric: (i) => i / scale,
      align_corners: (i) => (to > 1 ? (i * (from - 1)) / (to - 1) : 0),
    }
    const rounds: Record<string, (v: number) => number> = {
      round_prefer_floor: (v) => Math.ceil(v - 0.5),
      round_prefer_ceil: (v) => Math.floor(v + 0.5),
      floor: Math.floor,
      ceil: Math.ceil,
    }
    const [place, round] = [places[how], rounds[rounding]]
    if (place === undefined || round === undefined)
      r.fail(`attributes coordinate_transformation_mode ${how} and nearest_mode ${rounding} are not supported`)
    const indices = Array.from({ length: to }, (_, i) => Math.min(Math.max(round(place(i)), 0), from - 1))
    t.x = t.builder.gather(t.x, r.node.name, axis - t.lead, indices)
  })
}

export function expand(t: Translation, r: NodeReader): void {
  const lead = t.lead
  const target = [...t.constant(r, 1).data]
  const full = t.full(t.x.shape)
  if (r.node.op === 'Tile') {
    if (target.length !== full.length || (lead === 1 && target[0] !== 1)) {
      r.fail(`its repeats [${target}] do not fit ${t.shown}; the batch must stay as it is`)
    }
    let x = t.x
    for (let d = lead; d < target.length; d++) {
      const indices = Array.from({ length: full[d] * target[d] }, (_, i) => i % full[d])
      if (target[d] !== 1) x = t.builder.gather(x, r.node.name, d - lead, indices)
    }
    t.x = x
    return
  }
  const rank = Math.max(target.length, full.length)
  const align = (dims: readonly number[]) => [...Array(rank - dims.length).fill(1), ...dims]
  const [from, to] = [align(full), align(target)]
  const dims = from.map((dim, d) => Math.max(dim, to[d]))
  const batchMoved = lead === 1 && (rank !== full.length || dims[0] !== t.batch)
  if (batchMoved || from.some((dim, d) => dim !== dims[d] && dim !== 1)) {
    r.fail(`it expands ${t.shown} to [${target}]; the batch must stay as it is`)
  }
  t.x = t.builder.expand(t.x, r.node.name, dims.slice(lead))
}

export function squeeze(t: Translation, r: NodeReader): void {
  const { shape } = t.x
  const lead = t.lead
  const given = r.has('axes') ? r.ints('axes', []) : [...(t.optional(r, 1)?.data ?? [])]
  const remove = r.node.op === 'Squeeze'
  const rank = shape.length + lead + (remove ? 0 : given.length)
  const axes = given.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, c) => a - c)
  if (axes.length === 0 || axes.some((axis) => axis < lead || axis >= rank)) {
    r.fail(`its axes are [${given}] on a value of shape ${t.shown}; axes behind the batch are expected`)
  }
  const dims = t.full(shape)
  if (remove) {
    if (axes.some((axis) => dims[axis] !== 1)) r.fail(`its axes [${given}] of ${t.shown} are not all of size 1`)
    const left = dims.filter((_, d) => d >= lead && !axes.includes(d))
    t.x = t.builder.reshape(t.x, left)
    return
  }
  for (const axis of axes) dims.splice(axis, 0, 1)
  t.x = t.builder.reshape(t.x, dims.slice(lead))
}

export function reshape(t: Translation, r: NodeReader): void {
  const zeros = r.number('allowzero', 0) === 1
  r.ignore('consumed_inputs')
  const target = r.has('shape') ? [...r.ints('shape', [])] : [...t.constant(r, 1).data]
  const current = t.full(t.x.shape)
  const total = elements(current)
  const dims = target.map((dim, i) => (dim === 0 && !zeros ? current[i] : dim))
  const known = dims.filter((dim) => dim !== -1).reduce((product, dim) => product * dim, 1)
  const free = dims.indexOf(-1)
  if (free >= 0) dims[free] = total / known
  if (elements(dims) !== total) r.fail(`it reshapes [${current}] to [${target}], which has another number of elements`)
  // A batch written out as 1 next to a free batch dimension means the same.
  if (t.lead === 1 && (dims.length < 2 || dims[0] !== t.batch)) {
    r.fail(`reshape of [${current}] to [${target}] does not keep the batch as the first dimension`)
  }
  t.x = t.builder.reshape(t.x, dims.slice(t.lead))
}
