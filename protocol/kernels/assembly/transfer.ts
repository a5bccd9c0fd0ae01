/**
 * SoftSpoken's folds and the 128-row bit transpose. Twins: transfer/softspoken.ts' scalar fold and transfer/transpose.ts.
 */

/**
 * Folds 16 streams of `bytes` bytes lying one after another at `streams` (destroyed): v_j = xor of the streams whose index
 * has bit j set goes to rows + j * bytes, their sum to `sum`. One pass, everything in registers.
 */
export function fold16(streams: usize, rows: usize, sum: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    let s = streams + i
    const g0 = v128.load(s)
    const g1 = v128.load(s + bytes)
    const g2 = v128.load(s + 2 * bytes)
    const g3 = v128.load(s + 3 * bytes)
    const g4 = v128.load(s + 4 * bytes)
    const g5 = v128.load(s + 5 * bytes)
    const g6 = v128.load(s + 6 * bytes)
    const g7 = v128.load(s + 7 * bytes)
    s += 8 * bytes
    const h0 = v128.load(s)
    const h1 = v128.load(s + bytes)
    const h2 = v128.load(s + 2 * bytes)
    const h3 = v128.load(s + 3 * bytes)
    const h4 = v128.load(s + 4 * bytes)
    const h5 = v128.load(s + 5 * bytes)
    const h6 = v128.load(s + 6 * bytes)
    const h7 = v128.load(s + 7 * bytes)
    const odd = v128.xor(
      v128.xor(v128.xor(g1, g3), v128.xor(g5, g7)),
      v128.xor(v128.xor(h1, h3), v128.xor(h5, h7)),
    )
    const a0 = v128.xor(g0, g1)
    const a1 = v128.xor(g2, g3)
    const a2 = v128.xor(g4, g5)
    const a3 = v128.xor(g6, g7)
    const b0 = v128.xor(h0, h1)
    const b1 = v128.xor(h2, h3)
    const b2 = v128.xor(h4, h5)
    const b3 = v128.xor(h6, h7)
    v128.store(rows + i, odd)
    v128.store(rows + bytes + i, v128.xor(v128.xor(a1, a3), v128.xor(b1, b3)))
    const c1 = v128.xor(a2, a3)
    const d0 = v128.xor(b0, b1)
    const d1 = v128.xor(b2, b3)
    v128.store(rows + 2 * bytes + i, v128.xor(c1, d1))
    const high = v128.xor(d0, d1)
    v128.store(rows + 3 * bytes + i, high)
    v128.store(sum + i, v128.xor(v128.xor(v128.xor(a0, a1), c1), high))
  }
}

/** target ^= source where mask is all ones. */
export function xorMasked(target: usize, source: usize, mask: i32, bytes: usize): void {
  const m = i32x4.splat(mask)
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(target + i, v128.xor(v128.load(target + i), v128.and(v128.load(source + i), m)))
  }
}

/**
 * 128 rows of `count` bits at `rows` to `count` labels at `out`. A 16 x 8 block of bits is gathered into a vector, and
 * i8x16.bitmask takes out one column at a time.
 */
export function transpose128(rows: usize, out: usize, count: usize): void {
  const row = count >> 3
  for (let byte: usize = 0; byte < row; byte++) {
    // All rows of eight labels before the next eight: what is written stays in the cache.
    for (let group: usize = 0; group < 8; group++) {
      const p = rows + group * 16 * row + byte
      let v = i8x16.splat(0)
      v = i8x16.replace_lane(v, 0, load<i8>(p))
      v = i8x16.replace_lane(v, 1, load<i8>(p + row))
      v = i8x16.replace_lane(v, 2, load<i8>(p + 2 * row))
      v = i8x16.replace_lane(v, 3, load<i8>(p + 3 * row))
      v = i8x16.replace_lane(v, 4, load<i8>(p + 4 * row))
      v = i8x16.replace_lane(v, 5, load<i8>(p + 5 * row))
      v = i8x16.replace_lane(v, 6, load<i8>(p + 6 * row))
      v = i8x16.replace_lane(v, 7, load<i8>(p + 7 * row))
      v = i8x16.replace_lane(v, 8, load<i8>(p + 8 * row))
      v = i8x16.replace_lane(v, 9, load<i8>(p + 9 * row))
      v = i8x16.replace_lane(v, 10, load<i8>(p + 10 * row))
      v = i8x16.replace_lane(v, 11, load<i8>(p + 11 * row))
      v = i8x16.replace_lane(v, 12, load<i8>(p + 12 * row))
      v = i8x16.replace_lane(v, 13, load<i8>(p + 13 * row))
      v = i8x16.replace_lane(v, 14, load<i8>(p + 14 * row))
      v = i8x16.replace_lane(v, 15, load<i8>(p + 15 * row))
      const o = out + (byte << 7) + (group << 1)
      store<u16>(o + 112, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o + 96, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o + 80, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o + 64, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o + 48, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o + 32, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o + 16, u16(i8x16.bitmask(v)))
      v = i8x16.shl(v, 1)
      store<u16>(o, u16(i8x16.bitmask(v)))
    }
  }
}
