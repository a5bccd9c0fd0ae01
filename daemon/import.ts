/** From an ONNX file and a card to a model that a host can serve. CPU-bound: runs in the process of the command. */
import { parse as parseYaml } from 'yaml'
import { MinionnError } from '../protocol/errors.js'
import { MAX_ONNX_BYTES } from '../protocol/limits.js'
import { type Card, checkCard, deriveCard } from '../protocol/model/card.js'
import { compileNetwork, type Precision } from '../protocol/model/compile.js'
import { lowerGraph } from '../protocol/model/lower.js'
import { parseOnnx } from '../protocol/model/onnx.js'
import type { HostedModel } from '../protocol/model/weights.js'

export interface Imported {
  readonly model: HostedModel
  /** What was assumed for lack of a card. */
  readonly assumptions: readonly string[]
}

/** Imports a model. `card` is YAML text. Throws BAD_MODEL or BAD_INPUT in words. */
export function importModel(
  onnx: Uint8Array,
  card: string | undefined,
  options: { precision?: Precision; progress?: (done: number) => void } = {},
): Imported {
  if (onnx.length > MAX_ONNX_BYTES) {
    throw new MinionnError('BAD_MODEL', `the file has ${onnx.length} bytes; at most ${MAX_ONNX_BYTES} are accepted`)
  }
  const network = lowerGraph(parseOnnx(onnx))
  let checked: Card
  let assumptions: readonly string[] = []
  if (card === undefined) {
    ;({ card: checked, assumptions } = deriveCard(network.inputShape))
  } else {
    checked = checkCard(parseCard(card), network.inputShape, network.outputSize)
  }
  return { model: compileNetwork(network, checked, options), assumptions }
}

function parseCard(text: string): unknown {
  try {
    return parseYaml(text)
  } catch (cause) {
    throw new MinionnError('BAD_INPUT', `the card is not YAML: ${(cause as Error).message}`, { cause })
  }
}
