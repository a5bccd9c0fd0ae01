/**
 * Linear maps on vectors mod 2^32 (shares mod 2^k are taken mod 2^32 and masked later: 2^k divides 2^32).
 * Layouts: images [channel][row][column]; convolution weights [output channel][input channel / groups][row][column];
 * dense weights [output][input].
 */

import { Arena } from '../kernels/arena.js'

export interface ConvGeometry {
  readonly kind: 'conv'
  /** [channels, height, width]. */
  readonly input: readonly [number, number, number]
  readonly output: readonly [number, number, number]
  readonly kernel: readonly [number, number]
  readonly strides: readonly [number, number]
  /** [top, left, bottom, right]. */
  readonly pads: readonly [number, number, number, number]
  readonly dilations: readonly [number, number]
  readonly groups: number
}

export interface DenseGeometry {
  readonly kind: 'dense'
  readonly inputs: number
  readonly outputs: number
}

/** No weights: the next stage's input is this stage's, so no triple is needed. */
export interface IdentityGeometry {
  readonly kind: 'identity'
  readonly size: number
}

export type LinearGeometry = ConvGeometry | DenseGeometry | IdentityGeometry

/** Windows over an image; for max-pooling and for sum-pooling, which is public and so applied to shares locally. */
export interface PoolGeometry {
  readonly input: readonly [number, number, number]
  readonly output: readonly [number, number, number]
  readonly kernel: readonly [number, number]
  readonly strides: readonly [number, number]
  readonly pads: readonly [number, number, number, number]
}

/** A tensor of `shape` with its dimensions in the order `perm`, as ONNX's Transpose. */
export interface Transposition {
  readonly shape: readonly number[]
  readonly perm: readonly number[]
}

const orders = new WeakMap<Transposition, Int32Array>()

/** For each element of the transposed tensor, row-major, its place in the tensor. */
export function transposedOrder(t: Transposition): Int32Array {
  const order = orders.get(t) ?? findOrder(t)
  orders.set(t, order)
  return order
}

function findOrder({ shape, perm }: Transposition): Int32Array {
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, dim) => product * dim, 1))
  const size = shape.reduce((product, dim) => product * dim, 1)
  const out = new Int32Array(size)
  const index = shape.map(() => 0)
  for (let n = 0; n < size; n++) {
    out[n] = perm.reduce((at, d, i) => at + index[i] * strides[d], 0)
    for (let i = perm.length - 1; i >= 0 && ++index[i] === shape[perm[i]]; i--) index[i] = 0
  }
  return out
}

/** The transposed tensor. A public map: both parties apply it to their own share. */
export function transpose<T extends Uint32Array | Float64Array>(t: Transposition, x: T): T {
  const order = transposedOrder(t)
  return x.map((_, n) => x[order[n]]) as T
}

export function inputSize(geometry: LinearGeometry): number {
  if (geometry.kind === 'conv') return geometry.input[0] * geometry.input[1] * geometry.input[2]
  return geometry.kind === 'dense' ? geometry.inputs : geometry.size
}

export function outputSize(geometry: LinearGeometry): number {
  if (geometry.kind === 'conv') return geometry.output[0] * geometry.output[1] * geometry.output[2]
  return geometry.kind === 'dense' ? geometry.outputs : geometry.size
}

export function weightCount(geometry: LinearGeometry): number {
  if (geometry.kind === 'conv') {
    return (geometry.output[0] * geometry.input[0] * geometry.kernel[0] * geometry.kernel[1]) / geometry.groups
  }
  return geometry.kind === 'dense' ? geometry.inputs * geometry.outputs : 0
}

/** Calls `visit(input index, weight index)` for each product of output (m, oy, ox); padded positions are left out. */
export function convolutionTaps(
  g: ConvGeometry,
  m: number,
  oy: number,
  ox: number,
  visit: (input: number, weight: number) => void,
): void {
  const [channels, height, width] = g.input
  const [kh, kw] = g.kernel
  const perGroup = channels / g.groups
  const group = Math.floor(m / (g.output[0] / g.groups))
  for (let c = 0; c < perGroup; c++) {
    for (let l = 0; l < kh; l++) {
      const y = oy * g.strides[0] - g.pads[0] + l * g.dilations[0]
      if (y < 0 || y >= height) continue
      for (let k = 0; k < kw; k++) {
        const x = ox * g.strides[1] - g.pads[1] + k * g.dilations[1]
        if (x < 0 || x >= width) continue
        visit(((group * perGroup + c) * height + y) * width + x, ((m * perGroup + c) * kh + l) * kw + k)
      }
    }
  }
}

/** W x mod 2^32. */
export function applyLinear(geometry: LinearGeometry, weights: Int32Array, x: Uint32Array): Uint32Array {
  if (geometry.kind === 'identity') return x.slice()
  return Arena.with((arena) => {
    const outputs = outputSize(geometry)
    const input = arena.alloc(x.length * 4)
    const weight = arena.alloc(weights.length * 4)
    const out = arena.alloc(outputs * 4)
    arena.u32(input, x.length).set(x)
    arena.u32(weight, weights.length).set(weights)
    if (geometry.kind === 'dense') arena.run.matrixVector(weight, input, out, geometry.inputs, outputs)
    else convolve(arena, geometry, input, weight, out)
    return arena.u32(out, outputs).slice()
  })
}

function convolve(arena: Arena, g: ConvGeometry, x: number, weights: number, out: number): void {
  const [channels, height, width] = g.input
  const [filters, outHeight, outWidth] = g.output
  const [kh, kw] = g.kernel
  const perGroup = channels / g.groups
  const filtersPerGroup = filters / g.groups
  const plane = outHeight * outWidth
  arena.u32(out, filters * plane).fill(0)
  for (let m = 0; m < filters; m++) {
    for (let c = 0; c < perGroup; c++) {
      const channel = Math.floor(m / filtersPerGroup) * perGroup + c
      arena.run.convolvePlane(
        x + channel * height * width * 4,
        height,
        width,
        weights + (m * perGroup + c) * kh * kw * 4,
        kh,
        kw,
        out + m * plane * 4,
        outHeight,
        outWidth,
        g.strides[0],
        g.strides[1],
        g.pads[0],
        g.pads[1],
        g.dilations[0],
        g.dilations[1],
      )
    }
  }
}

/** For each output, its window's input indices in order; padded positions hold -1. [output][kh * kw]. */
export function poolWindows(g: PoolGeometry): Int32Array {
  const [channels, height, width] = g.input
  const [, outHeight, outWidth] = g.output
  const [kh, kw] = g.kernel
  const out = new Int32Array(channels * outHeight * outWidth * kh * kw)
  let at = 0
  for (let c = 0; c < channels; c++) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        for (let l = 0; l < kh; l++) {
          const y = oy * g.strides[0] - g.pads[0] + l
          for (let k = 0; k < kw; k++) {
            const x = ox * g.strides[1] - g.pads[1] + k
            out[at++] = y < 0 || y >= height || x < 0 || x >= width ? -1 : (c * height + y) * width + x
          }
        }
      }
    }
  }
  return out
}

/** Sums of windows mod 2^32; padding counts as zero. A public map: both parties apply it to their own share. */
export function sumPool(g: PoolGeometry, x: Uint32Array): Uint32Array {
  const windows = poolWindows(g)
  const size = g.kernel[0] * g.kernel[1]
  const out = new Uint32Array(windows.length / size)
  for (let o = 0; o < out.length; o++) {
    for (let i = 0; i < size; i++) {
      const index = windows[o * size + i]
      if (index >= 0) out[o] += x[index]
    }
  }
  return out
}

/** a + b mod 2^32, in place of a. */
export function addInto(a: Uint32Array, b: ArrayLike<number>): Uint32Array {
  for (let i = 0; i < a.length; i++) a[i] += b[i]
  return a
}

/** a - b mod 2^32, in place of a. */
export function subtractInto(a: Uint32Array, b: ArrayLike<number>): Uint32Array {
  for (let i = 0; i < a.length; i++) a[i] -= b[i]
  return a
}

/** Reduces mod 2^bits, in place. */
export function reduceInto(a: Uint32Array, bits: number): Uint32Array {
  if (bits === 32) return a
  const mask = 2 ** bits - 1
  for (let i = 0; i < a.length; i++) a[i] &= mask
  return a
}

/** The signed value of an element of Z_{2^bits}. */
export function toSigned(value: number, bits: number): number {
  return value >= 2 ** (bits - 1) ? value - 2 ** bits : value
}
