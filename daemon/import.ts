/** From an ONNX file and a card to a model that a host can serve. CPU-bound: runs in the process of the command. */
import { parse as parseYaml } from 'yaml'
import { MinionnError } from '../protocol/errors.js'
import { MAX_ONNX_BYTES } from '../protocol/limits.js'
import { type Card, checkCard, deriveCard, graphOptions } from '../protocol/model/card.js'
import { type CompileOptions, compileNetwork } from '../protocol/model/compile.js'
import type { Network } from '../protocol/model/layers.js'
import { lowerGraph } from '../protocol/model/lower.js'
import { parseOnnx } from '../protocol/model/onnx.js'
import type { HostedModel } from '../protocol/model/weights.js'

export interface Opened {
  readonly network: Network
  readonly card: Card
  /** What was assumed for lack of a card. */
  readonly assumptions: readonly string[]
}

export interface Imported extends Opened {
  readonly model: HostedModel
}

/**
 * Reads a model and its card, YAML text, without compiling it. `readLabels` gives the text of the file that a card may name for its
 * labels, one a line. Throws BAD_MODEL or BAD_INPUT in words.
 */
export function openModel(onnx: Uint8Array, card: string | undefined, readLabels?: (file: string) => string): Opened {
  if (onnx.length > MAX_ONNX_BYTES) {
    throw new MinionnError('BAD_MODEL', `the file has ${onnx.length} bytes; at most ${MAX_ONNX_BYTES} are accepted`)
  }
  const graph = parseOnnx(onnx)
  if (card === undefined) {
    const network = lowerGraph(graph)
    return { network, ...deriveCard(network.inputShape) }
  }
  const raw = withLabels(parseCard(card), readLabels)
  const network = lowerGraph(graph, graphOptions(raw))
  return { network, card: checkCard(raw, network.inputShape, network.outputSize), assumptions: [] }
}

/** Imports a model. `card` is YAML text. Throws BAD_MODEL or BAD_INPUT in words. */
export function importModel(onnx: Uint8Array, card: string | undefined, options: CompileOptions = {}): Imported {
  const opened = openModel(onnx, card)
  return { ...opened, model: compileNetwork(opened.network, opened.card, options) }
}

/** A card whose labels are a list, whether they were or a file's name. */
function withLabels(raw: unknown, read: ((file: string) => string) | undefined): unknown {
  if (raw === null || typeof raw !== 'object' || !('labels' in raw) || typeof raw.labels !== 'string') return raw
  if (read === undefined)
    throw new MinionnError('BAD_INPUT', "the card's labels are a file's name; a list is expected here")
  return { ...raw, labels: read(raw.labels).replace(/\n$/, '').split(/\r?\n/) }
}

function parseCard(text: string): unknown {
  try {
    return parseYaml(text)
  } catch (cause) {
    throw new MinionnError('BAD_INPUT', `the card is not YAML: ${(cause as Error).message}`, { cause })
  }
}
