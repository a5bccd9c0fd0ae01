/**
 * From an ONNX graph to a Network: checks every node and attribute, folds constants, batch norms and mean-pool
 * divisors into weights, swaps ReLU behind max-pool, merges neighbouring linear maps and drops the final softmax.
 * Semantics follow the ONNX operator specification; what is not supported is refused by node, operator and attribute.
 */
import { MinionnError } from '../errors.js'
import { MAX_TENSOR_ELEMENTS } from '../limits.js'
import { elements, type Network } from './layers.js'
import { foldConstant } from './lowering/fold-constants.js'
import { IMAGE_OPS } from './lowering/image-operators.js'
import { NodeReader } from './lowering/node-reader.js'
import { operator } from './lowering/operators.js'
import { type Hidden, type LowerOptions, Translation } from './lowering/translation.js'
import { sameValue } from './network-builder.js'
import type { OnnxGraph } from './onnx.js'

function translate(t: Translation): Network {
  const wanted = neededValues(t)
  const nodes = t.graph.nodes.filter((node) => node.outputs.some((output) => wanted.has(output)))
  const uses = new Map<string, number>()
  for (const name of nodes.flatMap((node) => [...new Set(node.inputs)])) uses.set(name, (uses.get(name) ?? 0) + 1)
  // What a session or a client gets is used once more.
  for (const name of [...Object.values(t.states), ...t.outputs]) uses.set(name, (uses.get(name) ?? 0) + 1)
  for (const [name, count] of uses) if (count > 1) t.shared.add(name)
  for (const node of nodes) {
    const reader = new NodeReader(node)
    const name = node.inputs.find((input) => t.hidden.has(input))
    if (name === undefined) {
      foldConstant(t, reader)
      continue
    }
    const before = t.hidden.get(name)!
    t.current = name
    t.output = node.outputs[0]
    t.x = before
    if (node.op === 'Shape') {
      reader.ignore('start', 'end')
      const full = t.full(before.shape)
      t.define(node, { shape: [full.length], data: Float64Array.from(full), integer: true })
      continue
    }
    if (t.softmaxed.has(name)) afterSoftmax(reader)
    else if (IMAGE_OPS.has(node.op)) onImages(t, reader)
    else operator(t, reader)
    reader.finish()
    const [output] = node.outputs
    // An output without a name is one that nobody wants.
    if (output !== '' && !t.hidden.has(output)) t.hidden.set(output, t.x)
    if (t.softmaxed.has(name)) t.softmaxed.add(output)
    // Another name of the same value is as shared as the first.
    if (t.shared.has(name) && sameValue(t.x, before)) t.shared.add(output)
    if (elements(t.x.shape) > MAX_TENSOR_ELEMENTS) {
      reader.fail(`its output has ${elements(t.x.shape)} elements; at most ${MAX_TENSOR_ELEMENTS} are supported`)
    }
  }
  const results = t.outputs.map((name) => result(t, name))
  const flat = results.map((x) => t.builder.reshape(x, [elements(x.shape)]))
  const output = t.builder.concat(flat, 'the outputs', 0)
  return t.builder.finish(
    output,
    stateNames(t).map((name) => result(t, t.states[name])),
  )
}

/** The states' inputs in the graph's order. */
function stateNames(t: Translation): string[] {
  return t.graph.inputs.map(({ name }) => name).filter((name) => name in t.states)
}

function result(t: Translation, name: string): Hidden {
  const result = t.hidden.get(name)
  if (result === undefined) {
    throw new MinionnError('BAD_MODEL', `output "${name}" does not depend on the input through operators of the graph`)
  }
  return result
}

/** Values that the output depends on. */
function neededValues(t: Translation): Set<string> {
  const needed = new Set([...t.outputs, ...Object.values(t.states)])
  for (const node of t.graph.nodes.toReversed()) {
    if (node.outputs.some((output) => needed.has(output))) for (const input of node.inputs) needed.add(input)
  }
  return needed
}

function afterSoftmax(r: NodeReader): void {
  const { op } = r.node
  if (op !== 'Log' && op !== 'Identity') {
    r.fail('it follows a softmax; only the last softmax of a network is supported, because it is dropped')
  }
}

/** An operator on images: several in one inference are as many groups of channels. */
function onImages(t: Translation, r: NodeReader): void {
  const { shape } = t.x
  const [count, dims] = t.lead === 1 ? [1, shape] : [shape[0], shape.slice(1)]
  if (dims.length < 1) r.fail(`its input has shape ${t.shown}; a batch and channels are expected`)
  const b = t.builder
  t.images = count
  t.x = b.reshape(t.x, [count * dims[0], ...dims.slice(1)])
  operator(t, r)
  const made = t.x.shape
  const own = dims.length === 2 && made.length === 3 ? [made[0], made[2]] : made
  t.x = b.reshape(t.x, t.lead === 1 ? own : [count, own[0] / count, ...own.slice(1)])
}

export type { LowerOptions }

/** Translates an ONNX graph. Throws BAD_MODEL naming node, operator, attribute and what to do. */
export function lowerGraph(graph: OnnxGraph, options: LowerOptions = {}): Network {
  try {
    return translate(new Translation(graph, options, 1))
  } catch (error) {
    if (!(error instanceof MinionnError)) throw error
    // What does not work row by row may as a whole: a recurrence over time, operators that move the batch.
    try {
      return translate(new Translation(graph, options, 0))
    } catch (second) {
      // Of what has to do with the batch the second error says more.
      const batch = graph.inputs.some(({ shape }) => shape.length < 2) || /\bbatch\b/.test(error.message)
      throw batch ? second : error
    }
  }
}
