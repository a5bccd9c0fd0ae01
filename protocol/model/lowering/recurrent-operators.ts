/** RNN, GRU and LSTM as operators: their attributes, and every step spelled out. */
import { elements } from '../layers.js'
import {
  type Carried,
  GATES,
  type RecurrentKind,
  type RecurrentWeights,
  recurrentActivation,
  recurrentStep,
} from '../recurrent-step.js'
import type { NodeReader } from './node-reader.js'
import { AS_A_WHOLE, type Hidden, type Translation } from './translation.js'

/** RNN, GRU and LSTM, every step of a fixed number; sequences of a batch one after the other. */
export function recurrent(t: Translation, r: NodeReader, kind: RecurrentKind): void {
  const { node } = r
  const b = t.builder
  if (t.lead === 1) r.fail(AS_A_WHOLE)
  const first = r.number('layout', 0) === 1
  const { shape } = t.x
  if (shape.length !== 3) r.fail(`its input has shape [${shape}]; [time, batch, inputs] is expected`)
  const [time, batch] = first ? [shape[1], shape[0]] : [shape[0], shape[1]]
  const inputs = shape[2]
  const hidden = r.number('hidden_size', 0)
  const direction = r.string('direction', 'forward')
  const directions = direction === 'bidirectional' ? 2 : 1
  if (!['forward', 'reverse', 'bidirectional'].includes(direction)) r.fail(`attribute direction is ${direction}`)
  if (r.has('clip')) r.fail('attribute clip is not supported; export the model without it')
  if (r.number('input_forget', 0) !== 0) r.fail('attribute input_forget is 1; only 0 is supported')
  const gates = GATES[kind]
  const lengths = t.optional(r, 4)
  if (lengths?.data.some((length) => length !== time))
    r.fail(`its sequence_lens are [${lengths.data}]; all of the ${time} steps are expected`)
  const weights = (at: number, size: number, what: string) => {
    const tensor = t.optional(r, at)
    if (tensor === undefined) return new Float64Array(0)
    if (tensor.data.length !== directions * size)
      r.fail(`its ${what} has shape [${tensor.shape}]; ${directions} times ${size} values are expected`)
    return tensor.data
  }
  const [w, recurrence, bias] = [
    weights(1, gates * hidden * inputs, 'W'),
    weights(2, gates * hidden * hidden, 'R'),
    weights(3, 2 * gates * hidden, 'B'),
  ]
  const peepholes = kind === 'LSTM' ? weights(7, 3 * hidden, 'P') : new Float64Array(0)
  const defaults = { RNN: ['Tanh'], GRU: ['Sigmoid', 'Tanh'], LSTM: ['Sigmoid', 'Tanh', 'Tanh'] }[kind]
  const linearBeforeReset = kind === 'GRU' && r.number('linear_before_reset', 0) !== 0
  const names = r.strings('activations', Array(directions).fill(defaults).flat())
  const [alphas, betas] = [r.ints('activation_alpha', []), r.ints('activation_beta', [])]
  if (names.length !== directions * defaults.length)
    r.fail(`attribute activations has ${names.length} names for ${directions} directions`)
  const activations = names.map((name, i) => {
    const known = recurrentActivation(name, alphas[i], betas[i])
    if (known === undefined)
      r.fail(
        `activation ${name} is not supported; Sigmoid, Tanh, Relu, HardSigmoid, LeakyRelu, Elu, Affine, ScaledTanh, Softsign or Softplus is expected`,
      )
    return known
  })
  const cut = (values: Float64Array, d: number) =>
    values.subarray((d * values.length) / directions, ((d + 1) * values.length) / directions)
  /** [directions, batch, hidden], or [batch, directions, hidden]. */
  const initial = (at: number) => (d: number, n: number) => {
    const name = node.inputs[at]
    if (!name) return undefined
    const offset = first ? n * directions + d : d * batch + n
    const part = (x: Hidden) => b.slice(b.reshape(x, [elements(x.shape)]), node.name, [offset * hidden], [1], [hidden])
    const known = t.hidden.get(name)
    if (known !== undefined) return part(known)
    const { data } = t.constant(r, at)
    const own = data.subarray(offset * hidden, (offset + 1) * hidden)
    if (own.every((v) => v === 0)) return undefined
    return b.affine(b.zeros([hidden]), node.name, new Float64Array(hidden).fill(1), own.slice())
  }
  const [h0, c0] = [initial(5), kind === 'LSTM' ? initial(6) : () => undefined]
  const flat = b.reshape(t.x, [elements(shape)])
  const steps: Hidden[][][] = []
  const lasts: Carried[][] = []
  for (let d = 0; d < directions; d++) {
    const spec: RecurrentWeights = {
      kind,
      name: node.name,
      inputs,
      hidden,
      w: cut(w, d),
      r: cut(recurrence, d),
      b: cut(bias, d),
      peepholes: cut(peepholes, d),
      activations: activations.slice(d * defaults.length, (d + 1) * defaults.length),
      linearBeforeReset,
    }
    const backwards = direction === 'reverse' || d === 1
    steps[d] = []
    lasts[d] = []
    for (let n = 0; n < batch; n++) {
      let carried: Carried = { h: h0(d, n), c: c0(d, n) }
      for (let i = 0; i < time; i++) {
        const t = backwards ? time - 1 - i : i
        const offset = (first ? n * time + t : t * batch + n) * inputs
        const next = recurrentStep(b, spec, b.slice(flat, node.name, [offset], [1], [inputs]), carried)
        steps[d][t] ??= []
        steps[d][t][n] = next.h
        carried = next
      }
      lasts[d][n] = carried
    }
  }
  const each = <T>(count: number, f: (i: number) => T[]) => Array.from({ length: count }, (_, i) => f(i)).flat()
  const ds = (f: (d: number) => Hidden[]) => each(directions, f)
  const ns = (f: (n: number) => Hidden[]) => each(batch, f)
  const all = first
    ? ns((n) => each(time, (t) => ds((d) => [steps[d][t][n]])))
    : each(time, (t) => ds((d) => ns((n) => [steps[d][t][n]])))
  const put = (output: string | undefined, parts: readonly Hidden[], dims: readonly number[]) => {
    if (output) t.hidden.set(output, b.reshape(b.concat(parts, node.name, 0), dims))
  }
  put(node.outputs[0], all, first ? [batch, time, directions, hidden] : [time, directions, batch, hidden])
  const last = (f: (carried: Carried) => Hidden) =>
    first ? ns((n) => ds((d) => [f(lasts[d][n])])) : ds((d) => ns((n) => [f(lasts[d][n])]))
  const dims = first ? [batch, directions, hidden] : [directions, batch, hidden]
  put(
    node.outputs[1],
    last((carried) => carried.h!),
    dims,
  )
  if (kind === 'LSTM')
    put(
      node.outputs[2],
      last((carried) => carried.c!),
      dims,
    )
  const made = node.outputs.find((output) => output !== '')!
  t.x = t.hidden.get(made)!
}
