/**
 * From garbled output bits to additive shares without AND gates: the projection gates of Ball, Malkin, Rosulek,
 * "Garbling Gadgets for Boolean and Arithmetic Circuits", CCS 2016, section 3, with row reduction by the colour.
 *
 * An output bit z of weight w has labels of colour 0 and 1, and z = p for colour 0. With h0, h1 their hashes, the garbler's
 * share is p w - h0 and it sends e = h0 - h1 + (1 - 2p) w. The evaluator, holding one label, takes its hash and adds e if
 * its colour is 1: h0 + (z - p) w. The two sum to z w mod 2^k. The hash of the other label hides e. One ring element a bit
 * replaces the k - 1 AND gates and k oblivious transfers of subtracting r inside the circuit.
 *
 * The hash is that of the AND gates with tweaks of its own, cut to 32 bits. garbler.ts and evaluator.ts compute the shares;
 * here are the corrections as they travel.
 */
import { Arena } from '../kernels/arena.js'
import { packBits, packedBytes, unpackBits } from '../ring/bits.js'

/** Bytes of the corrections of a stage: one ring element per output bit. */
export function projectionBytes(outputs: number, instances: number, ring: number): number {
  return packedBytes(outputs * instances, ring)
}

/** Corrections, one element each in the order of chunks, [output][instance]. */
export function packCorrections(corrections: Uint32Array, ring: number): Uint8Array {
  return packBits(corrections, ring)
}

/**
 * Finishes the evaluator's shares: adds the corrections of labels of colour 1. `sums` and `colours` are those of each
 * chunk; returns one element an instance, mod 2^32.
 */
export function applyCorrections(
  sums: readonly Uint32Array[],
  colours: readonly Uint8Array[],
  packed: Uint8Array,
  outputs: number,
  ring: number,
): Uint32Array {
  const instances = sums.reduce((total, chunk) => total + chunk.length, 0)
  const corrections = unpackBits(packed, outputs * instances, ring)
  return Arena.with((arena) => {
    const size = Math.max(...sums.map((chunk) => chunk.length))
    const shares = arena.alloc(4 * size)
    const bits = arena.alloc(outputs * size)
    const chosen = arena.alloc(4 * outputs * size)
    const out = new Uint32Array(instances)
    let first = 0
    sums.forEach((chunk, c) => {
      const n = chunk.length
      arena.u32(shares, n).set(chunk)
      arena.u8(bits, outputs * n).set(colours[c])
      arena.u32(chosen, outputs * n).set(corrections.subarray(outputs * first, outputs * (first + n)))
      for (let o = 0; o < outputs; o++) arena.run.addChosen(shares, bits + o * n, chosen + 4 * o * n, n)
      out.set(arena.u32(shares, n), first)
      first += n
    })
    return out
  })
}
