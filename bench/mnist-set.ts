/** MNIST's test set, from ../shared. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

const DATA = '../shared/data/mnist'

export interface Digits {
  readonly count: number
  /** Pixels of digit i, normalised. */
  readonly input: (i: number) => Float32Array
  readonly label: (i: number) => number
}

export function mnistTestSet(mean = 0, std = 1): Digits {
  const read = (name: string) => gunzipSync(readFileSync(`${DATA}/${name}.gz`))
  const images = read('t10k-images-idx3-ubyte').subarray(16)
  const labels = read('t10k-labels-idx1-ubyte').subarray(8)
  const input = (i: number) => Float32Array.from(images.subarray(i * 784, (i + 1) * 784), (p) => (p / 255 - mean) / std)
  return { count: labels.length, input, label: (i) => labels[i] }
}
