/** Bits of shares in wire order, for a garbled stage. Twins: plain loops in test/twins. */

/**
 * For a chunk of `size` instances from `first`: bit b of the element that instance i has in place w of its window goes, as a
 * byte, to out[(w * ring + b) * size + i]. `inputs` holds the elements' indices, [instance][window].
 */
export function expandBits(
  share: usize,
  inputs: usize,
  out: usize,
  first: u32,
  size: u32,
  window: u32,
  ring: u32,
): void {
  for (let w: u32 = 0; w < window; w++) {
    for (let i: u32 = 0; i < size; i++) {
      const index = load<u32>(inputs + (((first + i) * window + w) << 2))
      let v = load<u32>(share + (index << 2))
      let o = out + w * ring * size + i
      for (let bit: u32 = 0; bit < ring; bit++, o += size, v >>= 1) store<u8>(o, u8(v & 1))
    }
  }
}

/** `count` bytes of 0 or 1 to a bit string, which must be zero and followed by 2 writable bytes; `count` is padded to 16. */
export function packBytes(bytes: usize, packed: usize, count: usize): void {
  for (let i: usize = 0; i < count; i += 16) {
    store<u16>(packed + (i >> 3), u16(i8x16.bitmask(i8x16.shl(v128.load(bytes + i), 7))))
  }
}

/** The low `bits` (1..32) of each 32-bit word to a little-endian bit string; whole words are
 * written. */
export function packWords(words: usize, packed: usize, count: usize, bits: u32): void {
  const mask = u32((u64(1) << bits) - 1)
  let pending: u64 = 0
  let filled: u32 = 0
  let at = packed
  for (let i: usize = 0; i < count; i++) {
    pending |= u64(load<u32>(words + (i << 2)) & mask) << filled
    filled += bits
    if (filled >= 32) {
      store<u32>(at, u32(pending))
      at += 4
      pending >>= 32
      filled -= 32
    }
  }
  if (filled > 0) store<u32>(at, u32(pending))
}

/** `count` values of `bits` (1..32) bits to 32-bit words; `packed` must be followed by 8 readable bytes. */
export function unpackWords(packed: usize, words: usize, count: usize, bits: u32): void {
  const mask = (u64(1) << bits) - 1
  let position: usize = 0
  for (let i: usize = 0; i < count; i++, position += bits) {
    store<u32>(words + (i << 2), u32((load<u64>(packed + (position >> 3)) >> (position & 7)) & mask))
  }
}
