/**
 * Bit transpose of 128 rows: the columns of an OT extension matrix become 128-bit labels.
 * Blocks of 32 x 32 bits by the recursive swap of Warren, "Hacker's Delight", section 7-3.
 */

/** `rows` holds 128 rows of `count` bits, bit i of a row in word i >> 5 at i & 31; returns `count` labels of 4 words. */
export function transposeRows(rows: Uint32Array, count: number): Uint32Array {
  const row = count / 32
  const out = new Uint32Array(count * 4)
  const block = new Uint32Array(32)
  for (let group = 0; group < 4; group++) {
    for (let column = 0; column < row; column++) {
      for (let i = 0; i < 32; i++) block[i] = rows[(group * 32 + i) * row + column]
      transpose32(block)
      for (let i = 0; i < 32; i++) out[(column * 32 + i) * 4 + group] = block[i]
    }
  }
  return out
}

/** In place: bit j of word i becomes bit i of word j. */
function transpose32(a: Uint32Array): void {
  let mask = 0x0000ffff
  for (let j = 16; j !== 0; j >>>= 1, mask ^= mask << j) {
    for (let k = 0; k < 32; k = (k + j + 1) & ~j) {
      const t = ((a[k] >>> j) ^ a[k + j]) & mask
      a[k] ^= t << j
      a[k + j] ^= t
    }
  }
}
