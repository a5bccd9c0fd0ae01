/**
 * `npm run bench:fields`: SoftSpoken's field size on this machine. What a transfer costs either party for 2^k streams a block and 128/k
 * blocks: AES and folding, measured on streams of the length that one batch has, beside its bytes, and both together at the rate of a bare
 * libp2p stream. docs/CIRCUITS.md has the outcome.
 */
import { parseArgs } from 'node:util'
import { bytes, table } from '../cli/output.js'
import { Arena } from '../protocol/kernels/arena.js'
import { Prg } from '../protocol/random.js'
import { KAPPA, OT_BATCH } from '../protocol/transfer/softspoken.js'
import { median } from './measure.js'
import { transportCeiling } from './transport.js'

const FIELDS = [1, 2, 4, 8]

/** Seconds a batch: all streams of all blocks drawn and folded into k rows and their sum. */
function extend(k: number, runs: number): number {
  const leaves = 2 ** k
  const size = OT_BATCH / 8
  const streams = Array.from({ length: leaves }, (_, i) => new Prg(new Uint8Array(16).fill(i)))
  const once = () =>
    Arena.with((arena) => {
      const at = arena.alloc(leaves * size)
      const rows = arena.alloc(k * size)
      const started = performance.now()
      for (let block = 0; block < KAPPA / k; block++) {
        for (const [i, prg] of streams.entries()) prg.into(arena.u8(at + i * size, size))
        arena.u8(rows, k * size).fill(0)
        // Level by level: odd leaves count for the row of this bit, and pairs are summed.
        for (let bit = 0, left = leaves; bit < k; bit++, left /= 2) {
          for (let i = 0; i < left; i += 2) {
            const [even, odd] = [at + i * size, at + (i + 1) * size]
            arena.run.xorLabels(rows + bit * size, odd, rows + bit * size, size)
            arena.run.xorLabels(even, odd, at + (i / 2) * size, size)
          }
        }
      }
      return (performance.now() - started) / 1000
    })
  once()
  return median(Array.from({ length: runs }, once))
}

const { values: options } = parseArgs({ options: { runs: { type: 'string', default: '7' } } })
console.error('a bare libp2p stream: measuring ...')
const ceiling = await transportCeiling()
const rows = FIELDS.map((k) => {
  const nanoseconds = (extend(k, Number(options.runs)) / OT_BATCH) * 1e9
  const wire = 128 / k / 8
  const moved = (wire / ceiling) * 1e9
  return [k, wire, nanoseconds.toFixed(1), moved.toFixed(1), (2 * nanoseconds + moved).toFixed(1)]
})
console.log(
  `${table(['k', 'bytes', 'ns on either side', 'ns on the wire', 'ns in all, both sides on one core'], rows)}\n\na transfer in a batch of ${OT_BATCH}; a bare libp2p stream moves ${bytes(ceiling)} a second here`,
)
