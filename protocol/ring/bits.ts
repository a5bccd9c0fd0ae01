/**
 * Bit packing: vectors of small unsigned integers as dense little-endian bit strings.
 */

/** Bytes of `count` values of `bits` bits. */
export function packedBytes(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8)
}

/** Packs the low `bits` (1..32) of each value; value i takes bits [i*bits, (i+1)*bits) of the result. */
export function packBits(values: Uint32Array, bits: number): Uint8Array {
  const size = packedBytes(values.length, bits)
  // A value may touch five bytes, the last of them beyond the end but zero.
  const out = new Uint8Array(size + 5)
  const mask = bits === 32 ? -1 : 2 ** bits - 1
  for (let i = 0, position = 0; i < values.length; i++, position += bits) {
    const at = position >>> 3
    const shift = position & 7
    const value = values[i] & mask
    const low = value << shift
    out[at] |= low
    out[at + 1] |= low >>> 8
    out[at + 2] |= low >>> 16
    out[at + 3] |= low >>> 24
    if (shift + bits > 32) out[at + 4] |= value >>> (32 - shift)
  }
  return out.subarray(0, size)
}

/** Inverse of packBits for `count` values. */
export function unpackBits(packed: Uint8Array, count: number, bits: number): Uint32Array {
  if (packed.length !== packedBytes(count, bits)) {
    throw new RangeError(
      `expected ${packedBytes(count, bits)} bytes for ${count} values of ${bits} bits, got ${packed.length}`,
    )
  }
  const source = new Uint8Array(packed.length + 5)
  source.set(packed)
  const out = new Uint32Array(count)
  const mask = bits === 32 ? -1 : 2 ** bits - 1
  for (let i = 0, position = 0; i < count; i++, position += bits) {
    const at = position >>> 3
    const shift = position & 7
    let value = (source[at] | (source[at + 1] << 8) | (source[at + 2] << 16) | (source[at + 3] << 24)) >>> shift
    if (shift + bits > 32) value |= source[at + 4] << (32 - shift)
    out[i] = value & mask
  }
  return out
}
