/**
 * The network on floats: for calibration here, and the twin of ONNX Runtime and of the integer executor in tests.
 */
import { type LinearGeometry, outputSize, type PoolGeometry, poolWindows } from '../ring/linear.js'
import { assemble } from '../ring/parts.js'
import type { ActivationLayer, LinearLayer, Network } from './layers.js'

function meanPool(g: PoolGeometry, x: Float64Array): Float64Array {
  return pool(g, x, (window) => window.reduce((sum, v) => sum + v, 0) / (g.kernel[0] * g.kernel[1]))
}

function pool(g: PoolGeometry, x: Float64Array, combine: (window: number[]) => number): Float64Array {
  const windows = poolWindows(g)
  const size = g.kernel[0] * g.kernel[1]
  return Float64Array.from({ length: windows.length / size }, (_, o) =>
    combine([...windows.subarray(o * size, (o + 1) * size)].filter((i) => i >= 0).map((i) => x[i])),
  )
}

function applyFloat(g: LinearGeometry, weights: Float64Array, x: Float64Array): Float64Array {
  if (g.kind === 'identity') return x.slice()
  const out = new Float64Array(outputSize(g))
  if (g.kind === 'dense') {
    for (let o = 0; o < g.outputs; o++) {
      for (let i = 0; i < g.inputs; i++) out[o] += weights[o * g.inputs + i] * x[i]
    }
    return out
  }
  const [channels, height, width] = g.input
  const [filters, outHeight, outWidth] = g.output
  const [kh, kw] = g.kernel
  const [sy, sx] = g.strides
  const perGroup = channels / g.groups
  for (let m = 0; m < filters; m++) {
    for (let c = 0; c < perGroup; c++) {
      const image = (Math.floor((m * g.groups) / filters) * perGroup + c) * height * width
      for (let t = 0; t < kh * kw; t++) {
        const w = weights[(m * perGroup + c) * kh * kw + t]
        const dy = Math.floor(t / kw) * g.dilations[0] - g.pads[0]
        const dx = (t % kw) * g.dilations[1] - g.pads[1]
        const from = Math.max(0, Math.ceil(-dx / sx))
        const to = Math.min(outWidth, Math.floor((width - 1 - dx) / sx) + 1)
        for (let oy = 0; oy < outHeight; oy++) {
          const y = oy * sy + dy
          if (y < 0 || y >= height) continue
          const source = image + y * width + dx
          const target = (m * outHeight + oy) * outWidth
          for (let ox = from; ox < to; ox++) out[target + ox] += w * x[source + ox * sx]
        }
      }
    }
  }
  return out
}

function runLinear(layer: LinearLayer, x: Float64Array): Float64Array {
  const pooled = layer.pre === undefined ? x : meanPool(layer.pre, x)
  const y = applyFloat(layer.geometry, layer.weights, pooled).map((v, i) => layer.gain * v + layer.bias[i])
  return layer.post === undefined ? y : meanPool(layer.post, y)
}

function runActivation(layer: ActivationLayer, y: Float64Array): Float64Array {
  if (layer.fn === 'product') {
    const size = y.length / (2 * layer.signs.length)
    const term = (t: number, i: number) => layer.signs[t] * y[2 * t * size + i] * y[(2 * t + 1) * size + i]
    return Float64Array.from({ length: size }, (_, i) => layer.signs.reduce((sum, _s, t) => sum + term(t, i), 0))
  }
  const pooled = layer.pool === undefined ? y : pool(layer.pool, y, (window) => Math.max(...window))
  const { fn } = layer
  if (fn === 'identity') return pooled
  if (fn === 'relu') return pooled.map((v) => Math.max(v, 0))
  return fn === 'square' ? pooled.map((v) => v * v) : pooled.map((v) => fn.apply(v))
}

type Watch = (stage: number, before: Float64Array, after: Float64Array) => void

/** The network's outputs before any final softmax, states zeros. `watch` sees each stage's value before its activation and after it. */
export function runFloat(network: Network, input: Float64Array, watch?: Watch): Float64Array {
  return runFloatStep(network, input, undefined, watch).outputs
}

/** One inference of a session: `states` are those that the one before left, undefined for the first. */
export function runFloatStep(
  network: Network,
  input: Float64Array,
  states: readonly Float64Array[] | undefined,
  watch?: Watch,
): { outputs: Float64Array; states: Float64Array[] } {
  const values = [input, ...(states ?? network.states.map(({ size }) => new Float64Array(size)))]
  network.stages.forEach(({ parts, linear, skips, activation }, i) => {
    const y = runLinear(linear, assemble(parts, linear.transpose, values)).slice()
    for (const skip of skips) {
      const value = assemble([skip], undefined, values)
      for (let n = 0; n < y.length; n++) y[n] += skip.sign * value[n]
    }
    const after = activation === undefined ? y : runActivation(activation, y)
    values.push(after)
    watch?.(i, y, after)
  })
  return { outputs: values[values.length - 1], states: network.states.map(({ next }) => values[next]) }
}
