/** Matrices of constants. */
import { MAX_WEIGHTS } from '../../limits.js'
import type { ConvGeometry } from '../../ring/linear.js'
import { elements } from '../layers.js'
import type { Tensor } from '../onnx.js'
import type { NodeReader } from './node-reader.js'
import type { Translation } from './translation.js'

export function gemm(t: Translation, r: NodeReader): void {
  const alpha = r.number('alpha', 1)
  const beta = r.number('beta', 1)
  const transB = r.number('transB', 0) === 1
  if (r.number('transA', 0) !== 0) r.fail('attribute transA is 1: it would mix the batch; only 0 is supported')
  r.ignore('broadcast')
  // Old exports let Gemm flatten its input (ONNX before opset 13 asked for a matrix, exporters did not care).
  if (t.x.shape.length !== 2 - t.lead) r.fail(`its input has shape ${t.shown}; a flat input is expected`)
  const bias = t.optional(r, 2)
  const scaled = bias === undefined ? undefined : bias.data.map((value) => value * beta)
  dense(t, r, t.constant(r, 1), transB, alpha, scaled)
}

export function dense(
  t: Translation,
  r: NodeReader,
  weights: Tensor,
  transposed: boolean,
  alpha: number,
  bias: Float64Array | undefined,
): void {
  if (weights.shape.length !== 2) r.fail(`its weights have shape [${weights.shape}]; a matrix is expected`)
  const [outputs, inputs] = transposed ? weights.shape : [weights.shape[1], weights.shape[0]]
  const { shape } = t.x
  const last = shape[shape.length - 1]
  if (inputs !== last) r.fail(`its weights take ${inputs} inputs, but its input has ${last}`)
  if (inputs * outputs > MAX_WEIGHTS) r.fail(`it has ${inputs * outputs} weights; at most ${MAX_WEIGHTS} are supported`)
  const data = new Float64Array(inputs * outputs)
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      data[o * inputs + i] = alpha * weights.data[transposed ? o * inputs + i : i * outputs + o]
    }
  }
  const rows = elements(shape) / inputs
  if (bias !== undefined && ![1, outputs, rows * outputs].includes(bias.length)) {
    r.fail(`its bias has ${bias.length} values for ${outputs} outputs`)
  }
  const full = Float64Array.from({ length: rows * outputs }, (_, n) => bias?.[n % bias.length] ?? 0)
  const b = t.builder
  const { name } = r.node
  if (rows === 1) {
    const made = b.linear(b.reshape(t.x, [inputs]), name, { kind: 'dense', inputs, outputs }, data, full)
    t.x = b.reshape(made, [...shape.slice(0, -1), outputs])
    return
  }
  // The same matrix for every row: a 1x1 convolution along them.
  const geometry: ConvGeometry = {
    kind: 'conv',
    input: [inputs, 1, rows],
    output: [outputs, 1, rows],
    kernel: [1, 1],
    strides: [1, 1],
    pads: [0, 0, 0, 0],
    dilations: [1, 1],
    groups: 1,
  }
  const columns = b.transpose(b.reshape(t.x, [rows, inputs]), name, [1, 0])
  const turned = full.map((_, n) => full[(n % rows) * outputs + Math.floor(n / rows)])
  const made = b.linear(b.reshape(columns, [inputs, 1, rows]), name, geometry, data, turned)
  const back = b.transpose(b.reshape(made, [outputs, rows]), name, [1, 0])
  t.x = b.reshape(back, [...shape.slice(0, -1), outputs])
}
