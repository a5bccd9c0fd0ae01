/** ONNX's LSTM, GRU and RNN as plain loops, from the operators' specification. Layout 0: X [time, batch, inputs]. */
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

export interface RecurrentCase {
  readonly kind: 'RNN' | 'GRU' | 'LSTM'
  readonly time: number
  readonly batch: number
  readonly inputs: number
  readonly hidden: number
  readonly directions: 1 | 2
  readonly reverse: boolean
  readonly w: readonly number[]
  readonly r: readonly number[]
  readonly b: readonly number[]
  readonly p: readonly number[]
  readonly h0: readonly number[]
  readonly linearBeforeReset: boolean
}

/** Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden], one behind the other. */
export function recurrentTwin(c: RecurrentCase, x: ArrayLike<number>): number[] {
  const gates = { RNN: 1, GRU: 3, LSTM: 4 }[c.kind]
  const n = c.hidden
  const y = new Array<number>(c.time * c.directions * c.batch * n)
  const [lastH, lastC]: number[][] = [[], []]
  for (let d = 0; d < c.directions; d++) {
    for (let row = 0; row < c.batch; row++) {
      let h = Array.from({ length: n }, (_, o) => c.h0[(d * c.batch + row) * n + o])
      let cell = new Array<number>(n).fill(0)
      for (let i = 0; i < c.time; i++) {
        const t = c.reverse || d === 1 ? c.time - 1 - i : i
        const xs = Array.from({ length: c.inputs }, (_, k) => x[(t * c.batch + row) * c.inputs + k])
        const wx = (g: number, o: number) =>
          xs.reduce(
            (sum, v, k) => sum + v * c.w[((d * gates + g) * n + o) * c.inputs + k],
            c.b[(d * 2 * gates + g) * n + o],
          )
        const rh = (g: number, o: number, by: number[]) =>
          by.reduce(
            (sum, v, k) => sum + v * c.r[((d * gates + g) * n + o) * n + k],
            c.b[(d * 2 * gates + gates + g) * n + o],
          )
        const each = (f: (o: number) => number) => Array.from({ length: n }, (_, o) => f(o))
        if (c.kind === 'RNN') h = each((o) => Math.tanh(wx(0, o) + rh(0, o, h)))
        else if (c.kind === 'GRU') {
          const [z, reset] = [0, 1].map((g) => each((o) => sigmoid(wx(g, o) + rh(g, o, h))))
          const past = h
          const scaled = past.map((v, o) => v * reset[o])
          const fresh = each((o) =>
            Math.tanh(c.linearBeforeReset ? wx(2, o) + reset[o] * rh(2, o, past) : wx(2, o) + rh(2, o, scaled)),
          )
          h = each((o) => (1 - z[o]) * fresh[o] + z[o] * past[o])
        } else {
          const peep = (g: number, o: number, by: number[]) => (c.p.length === 0 ? 0 : c.p[(d * 3 + g) * n + o] * by[o])
          const past = cell
          const [i_, f] = [[0, 0] as const, [2, 2] as const].map(([g, q]) =>
            each((o) => sigmoid(wx(g, o) + rh(g, o, h) + peep(q, o, past))),
          )
          cell = each((o) => f[o] * past[o] + i_[o] * Math.tanh(wx(3, o) + rh(3, o, h)))
          const out = each((o) => sigmoid(wx(1, o) + rh(1, o, h) + peep(1, o, cell)))
          h = each((o) => out[o] * Math.tanh(cell[o]))
        }
        for (let o = 0; o < n; o++) y[((t * c.directions + d) * c.batch + row) * n + o] = h[o]
      }
      lastH.push(...h)
      lastC.push(...cell)
    }
  }
  return c.kind === 'LSTM' ? [...y, ...lastH, ...lastC] : [...y, ...lastH]
}
