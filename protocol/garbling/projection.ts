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
import { packedBytes, unpackBits } from '../ring/bits.js'

/** Bytes of the corrections of a stage: one ring element per output bit. */
export function projectionBytes(outputs: number, instances: number, ring: number): number {
  return packedBytes(outputs * instances, ring)
}

/**
 * Finishes the evaluator's shares: adds the corrections of labels of colour 1, both [chunk][output][instance], the corrections
 * packed. Returns one element an instance, mod 2^32.
 */
export function applyCorrections(
  sums: Uint32Array,
  colours: Uint8Array,
  packed: Uint8Array,
  outputs: number,
  chunks: readonly number[],
  ring: number,
): Uint32Array {
  const corrections = unpackBits(packed, outputs * sums.length, ring)
  return Arena.with((arena) => {
    const shares = arena.alloc(4 * sums.length)
    const bits = arena.alloc(colours.length)
    const chosen = arena.alloc(4 * corrections.length)
    arena.u32(shares, sums.length).set(sums)
    arena.u8(bits, colours.length).set(colours)
    arena.u32(chosen, corrections.length).set(corrections)
    let first = 0
    for (const size of chunks) {
      for (let o = 0; o < outputs; o++) {
        const at = first * outputs + o * size
        arena.run.addChosen(shares + 4 * first, bits + at, chosen + 4 * at, size)
      }
      first += size
    }
    return arena.u32(shares, sums.length).slice()
  })
}
