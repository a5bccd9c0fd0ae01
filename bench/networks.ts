/** The networks that bench measures: ours, and those of ../shared/models where that folder is there. */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PTB_MODEL, ptbCard } from './ptb.js'

export interface Network {
  readonly onnx: string
  /** YAML. */
  readonly card: string | (() => string)
  /** Bundles of a prepare batch. */
  readonly batch: number
  /** Files to query; one row each. */
  readonly input: (folder: string) => string[]
}

const grey = (mean: number, std: number) =>
  `input: { kind: image, mode: grayscale, size: [28, 28], mean: [${mean}], std: [${std}] }\n`

export const MNIST_CARD = grey(0, 1)
export const MNIST_NORMALISED_CARD = grey(0.1307, 0.3081)
export const CIFAR10_CARD =
  'input: { kind: image, mode: rgb, size: [32, 32], mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] }\n'

const digit = () => [join('models/samples', readdirSync('models/samples')[0])]

/** An image that is not of the test set serves as well: cost does not depend on the input. */
function gradient(folder: string): string[] {
  const file = join(folder, 'gradient.json')
  writeFileSync(file, JSON.stringify(Array.from({ length: 3072 }, (_, i) => ((i * 7) % 256) / 127.5 - 1)))
  return [file]
}

function word(folder: string): string[] {
  const file = join(folder, 'word.txt')
  writeFileSync(file, 'market')
  return [file]
}

export const NETWORKS: Record<string, Network> = {
  mnist: { onnx: 'models/mnist.onnx', card: MNIST_CARD, batch: 64, input: digit },
  secure_ml: { onnx: '../shared/models/mnist_secure_ml.onnx', card: MNIST_CARD, batch: 64, input: digit },
  cryptonets: { onnx: '../shared/models/mnist_cryptonets.onnx', card: MNIST_CARD, batch: 64, input: digit },
  // Offline of 8 words at once, online of one word of a session.
  ptb: { onnx: PTB_MODEL, card: () => ptbCard(), batch: 8, input: word },
  cifar10: { onnx: '../shared/models/cifar10_minionn.onnx', card: CIFAR10_CARD, batch: 8, input: gradient },
}
