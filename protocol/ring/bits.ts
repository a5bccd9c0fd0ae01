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

/** Packs the low `bits` (1..64) of 64-bit values given as [low, high] word pairs. */
export function packWide(words: Uint32Array, bits: number): Uint8Array {
  const count = words.length / 2
  if (bits <= 32) {
    const low = new Uint32Array(count)
    for (let i = 0; i < count; i++) low[i] = words[2 * i]
    return packBits(low, bits)
  }
  const out = new Uint8Array(packedBytes(count, bits))
  const highMask = bits === 64 ? 0xffffffff : 2 ** (bits - 32) - 1
  let position = 0
  for (let i = 0; i < count; i++, position += bits) {
    orBits(out, position, words[2 * i], 32)
    orBits(out, position + 32, (words[2 * i + 1] & highMask) >>> 0, bits - 32)
  }
  return out
}

function orBits(out: Uint8Array, position: number, value: number, bits: number): void {
  const shift = position & 7
  let acc = value * 2 ** shift
  let at = position >>> 3
  for (let left = bits + shift; left > 0; left -= 8) {
    out[at++] |= acc & 0xff
    acc = Math.floor(acc / 256)
  }
}

/** Inverse of packWide: `count` values of `bits` (1..64) bits as [low, high] word pairs. */
export function unpackWide(packed: Uint8Array, count: number, bits: number): Uint32Array {
  if (packed.length !== packedBytes(count, bits)) {
    throw new RangeError(
      `expected ${packedBytes(count, bits)} bytes for ${count} values of ${bits} bits, got ${packed.length}`,
    )
  }
  const out = new Uint32Array(2 * count)
  let position = 0
  for (let i = 0; i < count; i++, position += bits) {
    out[2 * i] = readBits(packed, position, Math.min(32, bits))
    if (bits > 32) out[2 * i + 1] = readBits(packed, position + 32, bits - 32)
  }
  return out
}

function readBits(packed: Uint8Array, position: number, bits: number): number {
  const shift = position & 7
  let acc = 0
  let at = position >>> 3
  for (let got = 0; got < bits + shift; got += 8) acc += (packed[at++] ?? 0) * 2 ** got
  return Math.floor(acc / 2 ** shift) % 2 ** bits
}
