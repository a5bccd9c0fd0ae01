/**
 * Bit packing: vectors of small unsigned integers as dense little-endian bit strings.
 */
import { Arena } from '../kernels/arena.js'

/** Bytes of `count` values of `bits` bits. */
export function packedBytes(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8)
}

/** Packs the low `bits` (1..32) of each value; value i takes bits [i*bits, (i+1)*bits) of the result. */
export function packBits(values: Uint32Array, bits: number): Uint8Array {
  return Arena.with((arena) => {
    const words = arena.alloc(values.byteLength)
    const packed = arena.alloc(packedBytes(values.length, bits) + 8)
    arena.u32(words, values.length).set(values)
    arena.run.packWords(words, packed, values.length, bits)
    return arena.u8(packed, packedBytes(values.length, bits)).slice()
  })
}

/** Inverse of packBits for `count` values. */
export function unpackBits(packed: Uint8Array, count: number, bits: number): Uint32Array {
  if (packed.length !== packedBytes(count, bits)) {
    throw new RangeError(
      `expected ${packedBytes(count, bits)} bytes for ${count} values of ${bits} bits, got ${packed.length}`,
    )
  }
  return Arena.with((arena) => {
    const source = arena.alloc(packed.length + 8)
    const words = arena.alloc(count * 4)
    arena.u8(source, packed.length).set(packed)
    arena.run.unpackWords(source, words, count, bits)
    return arena.u32(words, count).slice()
  })
}
