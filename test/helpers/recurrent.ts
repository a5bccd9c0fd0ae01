/** Small recurrent networks spelled out in elementary operators, as exporters do. */
import { Prg } from '../../protocol/random.js'
import type { ModelSpec, NodeSpec } from './onnx-builder.js'

const prg = new Prg(new Uint8Array(16).fill(21))
export const random = (count: number, most = 1) => [...prg.ring(count, 24)].map((v) => (v / 2 ** 23 - 1) * most)

const IN = 6
const HIDDEN = 5

/** A word of six, embedded, through an LSTM cell, with logits of the next word. */
export function lstmStep(): ModelSpec {
  const sizes = { dims: [4], data: [HIDDEN, HIDDEN, HIDDEN, HIDDEN] }
  return {
    input: [1, IN],
    more: { h: [1, HIDDEN], c: [1, HIDDEN] },
    nodes: [
      { op: 'MatMul', inputs: ['x', 'embedding'], output: 'e' },
      { op: 'Concat', inputs: ['e', 'h'], output: 'eh', attributes: { axis: 1 } },
      { op: 'Gemm', inputs: ['eh', 'w', 'b'], output: 'gates' },
      { op: 'Split', inputs: ['gates', 'shape_split'], output: ['gi', 'gf', 'gg', 'go'], attributes: { axis: 1 } },
      ...['gi', 'gf', 'go'].map((gate): NodeSpec => ({ op: 'Sigmoid', inputs: [gate], output: gate.slice(1) })),
      { op: 'Tanh', inputs: ['gg'], output: 'g' },
      { op: 'Mul', inputs: ['f', 'c'], output: 'fc' },
      { op: 'Mul', inputs: ['i', 'g'], output: 'ig' },
      { op: 'Add', inputs: ['fc', 'ig'], output: 'c_out' },
      { op: 'Tanh', inputs: ['c_out'], output: 'tc' },
      { op: 'Mul', inputs: ['o', 'tc'], output: 'h_out' },
      { op: 'Gemm', inputs: ['h_out', 'out'], output: 'logits' },
    ],
    weights: {
      embedding: { dims: [IN, HIDDEN], data: random(IN * HIDDEN) },
      w: { dims: [2 * HIDDEN, 4 * HIDDEN], data: random(8 * HIDDEN * HIDDEN) },
      b: { dims: [4 * HIDDEN], data: random(4 * HIDDEN) },
      shape_split: sizes,
      out: { dims: [HIDDEN, IN], data: random(HIDDEN * IN) },
    },
    output: ['logits', 'h_out', 'c_out'],
  }
}

/** A GRU cell on vectors: h' = (1 - z) n + z h. */
export function gruStep(): ModelSpec {
  const gate = (name: string, by: string): NodeSpec[] => [
    { op: 'Gemm', inputs: ['x', `w${name}`], output: `${name}x` },
    { op: 'Gemm', inputs: [by, `u${name}`], output: `${name}h` },
    { op: 'Add', inputs: [`${name}x`, `${name}h`], output: `${name}a` },
  ]
  const matrix = () => ({ dims: [HIDDEN, HIDDEN], data: random(HIDDEN * HIDDEN) })
  return {
    input: [1, HIDDEN],
    more: { h: [1, HIDDEN] },
    nodes: [
      ...gate('z', 'h'),
      { op: 'Sigmoid', inputs: ['za'], output: 'z' },
      ...gate('r', 'h'),
      { op: 'Sigmoid', inputs: ['ra'], output: 'r' },
      { op: 'Mul', inputs: ['r', 'h'], output: 'rh' },
      ...gate('n', 'rh'),
      { op: 'Tanh', inputs: ['na'], output: 'n' },
      { op: 'Sub', inputs: ['one', 'z'], output: 'nz' },
      { op: 'Mul', inputs: ['nz', 'n'], output: 'new' },
      { op: 'Mul', inputs: ['z', 'h'], output: 'old' },
      { op: 'Add', inputs: ['new', 'old'], output: 'next' },
    ],
    weights: {
      wz: matrix(),
      uz: matrix(),
      wr: matrix(),
      ur: matrix(),
      wn: matrix(),
      un: matrix(),
      one: { dims: [], data: [1] },
    },
    output: 'next',
  }
}
