/**
 * Bulk work on BFV coefficients: bit packing of 64-bit residues, flooding and masking, error sampling. Twins: bit by bit and
 * with BigInt in test/twins. Packed strings are little-endian and must be followed by 16 readable bytes.
 */

/** `count` values of `bits` (1..64) bits at `packed` to 64-bit words at `out`. */
export function unpackWide(packed: usize, out: usize, count: usize, bits: u32): void {
  const mask = bits === 64 ? u64.MAX_VALUE : (u64(1) << bits) - 1
  let position: usize = 0
  for (let i: usize = 0; i < count; i++, position += bits) {
    const at = packed + (position >> 3)
    const shift = u32(position & 7)
    let v = load<u64>(at) >> shift
    if (shift + bits > 64) v |= u64(load<u8>(at + 8)) << (64 - shift)
    store<u64>(out + (i << 3), v & mask)
  }
}

/** The low `bits` of each 64-bit word, shifted right by `drop` first, to a bit string at `packed`, which must be zero. */
export function packWide(words: usize, packed: usize, count: usize, bits: u32, drop: u32): void {
  const mask = bits === 64 ? u64.MAX_VALUE : (u64(1) << bits) - 1
  let position: usize = 0
  for (let i: usize = 0; i < count; i++, position += bits) {
    const at = packed + (position >> 3)
    const shift = u32(position & 7)
    const v = (load<u64>(words + (i << 3)) >> drop) & mask
    store<u64>(at, load<u64>(at) | (v << shift))
    if (shift + bits > 64) store<u8>(at + 8, u8(v >> (64 - shift)))
  }
}

/** Each word w becomes the middle of its range of dropped bits, w * 2^drop + 2^(drop-1), at most q - 1. */
export function widen(words: usize, count: usize, drop: u32, q: u64): void {
  const half = u64(1) << (drop - 1)
  for (let i: usize = 0; i < count; i++) {
    const v = (load<u64>(words + (i << 3)) << drop) | half
    store<u64>(words + (i << 3), v < q ? v : q - 1)
  }
}

/** Adds centred binomial noise of 2 x 21 coins, 8 random bytes each, to residues modulo q. */
export function addNoise(words: usize, random: usize, count: usize, q: u64): void {
  for (let i: usize = 0; i < count; i++) {
    const r = load<u64>(random + (i << 3))
    const plus = popcnt<u32>(u32(r) & 0x1fffff)
    const minus = popcnt<u32>(u32(r >> 32) & 0x1fffff)
    const at = words + (i << 3)
    let v = load<u64>(at) + q + plus - minus
    if (v >= q) v -= q
    if (v >= q) v -= q
    store<u64>(at, v)
  }
}

// @ts-ignore: decorator
@inline
function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff
  const a1 = a >> 32
  const b0 = b & 0xffffffff
  const b1 = b >> 32
  const low = a0 * b0
  const middle = a1 * b0 + (low >> 32)
  const middle2 = a0 * b1 + (middle & 0xffffffff)
  return a1 * b1 + (middle >> 32) + (middle2 >> 32)
}

/** w x mod q, below 2q, for any x, with wShoup = floor(w 2^64 / q) (Shoup). */
// @ts-ignore: decorator
@inline
function mulMod(x: u64, w: u64, wShoup: u64, q: u64): u64 {
  return w * x - mulHigh(wShoup, x) * q
}

/**
 * Adds floor((Q u + 2^(k-1)) / 2^k) + F - B to residues modulo q, Q the whole modulus. Per value: the position in `at`, the
 * mask u in `masks`, 16 random bytes of which F takes `floodBits` (65..127). Constants, 64 bits each:
 * [q, w = floor(Q / 2^k) mod q, shoup(w), z = 2^64 mod q, shoup(z), -B mod q, Q mod 2^k, k].
 */
export function maskResidues(
  words: usize,
  at: usize,
  masks: usize,
  random: usize,
  count: usize,
  floodBits: u32,
  constants: usize,
): void {
  const q = load<u64>(constants)
  const w = load<u64>(constants, 8)
  const ws = load<u64>(constants, 16)
  const z = load<u64>(constants, 24)
  const zs = load<u64>(constants, 32)
  const minusB = load<u64>(constants, 40)
  const low = load<u64>(constants, 48)
  const k = load<u64>(constants, 56)
  const half = u64(1) << (k - 1)
  const highMask = (u64(1) << (floodBits - 64)) - 1
  for (let n: usize = 0; n < count; n++) {
    const u = u64(load<u32>(masks + (n << 2)))
    const scaled = mulMod(u, w, ws, q) + ((low * u + half) >> k)
    const high = load<u64>(random + (n << 4), 8) & highMask
    const flood = mulMod(high, z, zs, q) + (load<u64>(random + (n << 4)) % q) + minusB
    const target = words + (usize(load<u32>(at + (n << 2))) << 3)
    store<u64>(target, (load<u64>(target) + scaled % q + flood % q) % q)
  }
}
