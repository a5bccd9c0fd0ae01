/**
 * Synthetic calibration inputs: what a network may be shown when its owner gives no samples. Noise, patches of several
 * sizes and sparse strokes over the declared range, the same for every model (fixed stream, nothing secret).
 */
import { Prg } from '../random.js'
import { elements } from './layers.js'

const SAMPLES = 16

/** One-hot inputs: a recurrent network needs some time to get going. */
const ONE_HOT_SAMPLES = 64

/** Inputs of a shape with values in [low, high], or one-hot ones. */
export function calibrationInputs(shape: readonly number[], low: number, high: number, oneHot = false): Float64Array[] {
  const prg = new Prg(new Uint8Array(16))
  if (oneHot) {
    const size = elements(shape)
    return [...prg.ring(ONE_HOT_SAMPLES, 32)].map((v) => {
      const sample = new Float64Array(size)
      sample[v % size] = 1
      return sample
    })
  }
  const uniform = (count: number) => Float64Array.from(prg.ring(count, 24), (v) => v / 2 ** 24)
  const [channels, height, width] = shape.length === 3 ? shape : [1, 1, elements(shape)]
  return Array.from({ length: SAMPLES }, (_, n) => {
    // Cells of 1 (noise) to 16 pixels, every other sample pushed to the ends of the range, every third sparse.
    const cell = 2 ** (n % 5)
    const rows = Math.ceil(height / cell)
    const columns = Math.ceil(width / cell)
    const grid = uniform(channels * rows * columns)
    const contrast = n % 2 === 1
    const sparse = n % 3 === 2
    return Float64Array.from({ length: channels * height * width }, (_, i) => {
      const c = Math.floor(i / (height * width))
      const y = Math.floor(i / width) % height
      const v = grid[(c * rows + Math.floor(y / cell)) * columns + Math.floor((i % width) / cell)]
      const shaped = sparse ? Math.max(0, 4 * v - 3) : contrast ? Math.round(v) : v
      return low + shaped * (high - low)
    })
  })
}
