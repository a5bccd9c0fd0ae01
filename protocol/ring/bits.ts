/**
 * Bit packing: vectors of small unsigned integers as dense little-endian bit strings.
 */

/** Bytes of `count` values of `bits` bits. */
export function packedBytes(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8)
}

/** Packs the low `bits` (1..32) of each value; value i takes bits [i*bits, (i+1)*bits) of the result. */
export function packBits(values: Uint32Array, bits: number): Uint8Array {
  const out = new Uint8Array(packedBytes(values.length, bits))
  const mask = 2 ** bits - 1
  let acc = 0 // at most 7 pending bits
  let pending = 0
  let at = 0
  for (let i = 0; i < values.length; i++) {
    const v = bits === 32 ? values[i] : values[i] & mask
    // acc stays below 2^(7+32), exact in a double
    acc += v * 2 ** pending
    pending += bits
    while (pending >= 8) {
      out[at++] = acc & 0xff
      acc = Math.floor(acc / 256)
      pending -= 8
    }
  }
  if (pending > 0) out[at] = acc
  return out
}

/** Inverse of packBits for `count` values. */
export function unpackBits(packed: Uint8Array, count: number, bits: number): Uint32Array {
  if (packed.length !== packedBytes(count, bits)) {
    throw new RangeError(
      `expected ${packedBytes(count, bits)} bytes for ${count} values of ${bits} bits, got ${packed.length}`,
    )
  }
  const out = new Uint32Array(count)
  let acc = 0
  let have = 0
  let at = 0
  const modulus = 2 ** bits
  for (let i = 0; i < count; i++) {
    while (have < bits) {
      acc += packed[at++] * 2 ** have
      have += 8
    }
    const high = Math.floor(acc / modulus)
    out[i] = acc - high * modulus
    acc = high
    have -= bits
  }
  return out
}
