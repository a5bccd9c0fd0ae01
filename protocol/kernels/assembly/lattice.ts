/**
 * Polynomials modulo X^4096 + 1 and primes below 2^28, four lanes of 32 bits at a time: number-theoretic transforms, sums of
 * products, sampling, scaling. Twins: the same on plain numbers and BigInt in test/twins.
 *
 * Constant factors use Shoup's multiplication: with w' = floor(w 2^32 / p), w x - floor(w' x / 2^32) p lies in [0, 2p) for any
 * 32-bit x. Transforms are Harvey's lazy ones ("Faster arithmetic for number-theoretic transforms", 2014): values stay below 4p.
 */

const N: usize = 4096

/** High halves of four unsigned products. */
// @ts-ignore: decorator
@inline
function mulHigh(x: v128, y: v128): v128 {
  return v128.shuffle<u32>(i64x2.extmul_low_i32x4_u(x, y), i64x2.extmul_high_i32x4_u(x, y), 1, 3, 5, 7)
}

/** w x mod p in [0, 2p). */
// @ts-ignore: decorator
@inline
function mulShoup(x: v128, w: v128, ws: v128, p: v128): v128 {
  return i32x4.sub(i32x4.mul(x, w), i32x4.mul(mulHigh(x, ws), p))
}

/** From [0, 2m) to [0, m). */
// @ts-ignore: decorator
@inline
function reduceOnce(x: v128, m: v128): v128 {
  return i32x4.min_u(x, i32x4.sub(x, m))
}

/**
 * Forward negacyclic transform in place, input below 4p. `roots` holds powers of a primitive 8192nd root in bit-reversed
 * order, `shoup` their quotients. The output, below p, is in an order of its own: bit-reversed, then each block of 16 transposed.
 */
export function nttForward(a: usize, roots: usize, shoup: usize, prime: u32): void {
  const p = i32x4.splat(prime)
  const p2 = i32x4.splat(2 * prime)
  // Two layers a pass: half the loads and stores.
  let m: usize = 1
  for (let t: usize = N / 2; t >= 8; t >>= 2, m <<= 2) {
    const gap = t << 1
    for (let i: usize = 0; i < m; i++) {
      const w1 = v128.load32_splat(roots + ((m + i) << 2))
      const w1s = v128.load32_splat(shoup + ((m + i) << 2))
      const w2 = v128.load32_splat(roots + ((m + i) << 3))
      const w2s = v128.load32_splat(shoup + ((m + i) << 3))
      const w3 = v128.load32_splat(roots + ((m + i) << 3), 4)
      const w3s = v128.load32_splat(shoup + ((m + i) << 3), 4)
      const start = a + ((i * t) << 3)
      for (let j = start; j < start + gap; j += 16) {
        const x0 = reduceOnce(v128.load(j), p2)
        const x1 = reduceOnce(v128.load(j + gap), p2)
        const y0 = mulShoup(v128.load(j + 2 * gap), w1, w1s, p)
        const y1 = mulShoup(v128.load(j + 3 * gap), w1, w1s, p)
        const u0 = reduceOnce(i32x4.add(x0, y0), p2)
        const u2 = reduceOnce(i32x4.add(i32x4.sub(x0, y0), p2), p2)
        const z0 = mulShoup(i32x4.add(x1, y1), w2, w2s, p)
        const z1 = mulShoup(i32x4.add(i32x4.sub(x1, y1), p2), w3, w3s, p)
        v128.store(j, i32x4.add(u0, z0))
        v128.store(j + gap, i32x4.add(i32x4.sub(u0, z0), p2))
        v128.store(j + 2 * gap, i32x4.add(u2, z1))
        v128.store(j + 3 * gap, i32x4.add(i32x4.sub(u2, z1), p2))
      }
    }
  }
  // The last two layers stay within groups of four: four groups are transposed so that lanes become groups.
  for (let g: usize = 0; g < N / 4; g += 4) {
    const at = a + (g << 4)
    const r0 = v128.load(at)
    const r1 = v128.load(at, 16)
    const r2 = v128.load(at, 32)
    const r3 = v128.load(at, 48)
    const s0 = v128.shuffle<u32>(r0, r1, 0, 4, 1, 5)
    const s1 = v128.shuffle<u32>(r2, r3, 0, 4, 1, 5)
    const s2 = v128.shuffle<u32>(r0, r1, 2, 6, 3, 7)
    const s3 = v128.shuffle<u32>(r2, r3, 2, 6, 3, 7)
    let c0 = v128.shuffle<u64>(s0, s1, 0, 2)
    let c1 = v128.shuffle<u64>(s0, s1, 1, 3)
    let c2 = v128.shuffle<u64>(s2, s3, 0, 2)
    let c3 = v128.shuffle<u64>(s2, s3, 1, 3)
    const w = v128.load(roots + ((N / 4 + g) << 2))
    const ws = v128.load(shoup + ((N / 4 + g) << 2))
    const y0 = mulShoup(c2, w, ws, p)
    const y1 = mulShoup(c3, w, ws, p)
    c0 = reduceOnce(c0, p2)
    c1 = reduceOnce(c1, p2)
    c2 = i32x4.add(i32x4.sub(c0, y0), p2)
    c3 = i32x4.add(i32x4.sub(c1, y1), p2)
    c0 = i32x4.add(c0, y0)
    c1 = i32x4.add(c1, y1)
    const last = roots + ((N / 2 + 2 * g) << 2)
    const lastShoup = shoup + ((N / 2 + 2 * g) << 2)
    const even = v128.shuffle<u32>(v128.load(last), v128.load(last, 16), 0, 2, 4, 6)
    const odd = v128.shuffle<u32>(v128.load(last), v128.load(last, 16), 1, 3, 5, 7)
    const evenShoup = v128.shuffle<u32>(v128.load(lastShoup), v128.load(lastShoup, 16), 0, 2, 4, 6)
    const oddShoup = v128.shuffle<u32>(v128.load(lastShoup), v128.load(lastShoup, 16), 1, 3, 5, 7)
    const z0 = mulShoup(c1, even, evenShoup, p)
    const z1 = mulShoup(c3, odd, oddShoup, p)
    c0 = reduceOnce(c0, p2)
    c2 = reduceOnce(c2, p2)
    v128.store(at, reduceOnce(reduceOnce(i32x4.add(c0, z0), p2), p))
    v128.store(at, reduceOnce(reduceOnce(i32x4.add(i32x4.sub(c0, z0), p2), p2), p), 16)
    v128.store(at, reduceOnce(reduceOnce(i32x4.add(c2, z1), p2), p), 32)
    v128.store(at, reduceOnce(reduceOnce(i32x4.add(i32x4.sub(c2, z1), p2), p2), p), 48)
  }
}

/** Inverse of nttForward times 4096, in place; input below 2p, output below p. `roots` are the inverses, in the same order. */
export function nttInverse(a: usize, roots: usize, shoup: usize, prime: u32): void {
  const p = i32x4.splat(prime)
  const p2 = i32x4.splat(2 * prime)
  for (let g: usize = 0; g < N / 4; g += 4) {
    const at = a + (g << 4)
    let c0 = v128.load(at)
    let c1 = v128.load(at, 16)
    let c2 = v128.load(at, 32)
    let c3 = v128.load(at, 48)
    const last = roots + ((N / 2 + 2 * g) << 2)
    const lastShoup = shoup + ((N / 2 + 2 * g) << 2)
    const even = v128.shuffle<u32>(v128.load(last), v128.load(last, 16), 0, 2, 4, 6)
    const odd = v128.shuffle<u32>(v128.load(last), v128.load(last, 16), 1, 3, 5, 7)
    const evenShoup = v128.shuffle<u32>(v128.load(lastShoup), v128.load(lastShoup, 16), 0, 2, 4, 6)
    const oddShoup = v128.shuffle<u32>(v128.load(lastShoup), v128.load(lastShoup, 16), 1, 3, 5, 7)
    const d0 = mulShoup(i32x4.add(i32x4.sub(c0, c1), p2), even, evenShoup, p)
    const d1 = mulShoup(i32x4.add(i32x4.sub(c2, c3), p2), odd, oddShoup, p)
    c0 = reduceOnce(i32x4.add(c0, c1), p2)
    c2 = reduceOnce(i32x4.add(c2, c3), p2)
    const w = v128.load(roots + ((N / 4 + g) << 2))
    const ws = v128.load(shoup + ((N / 4 + g) << 2))
    const e2 = mulShoup(i32x4.add(i32x4.sub(c0, c2), p2), w, ws, p)
    const e3 = mulShoup(i32x4.add(i32x4.sub(d0, d1), p2), w, ws, p)
    const e0 = reduceOnce(i32x4.add(c0, c2), p2)
    const e1 = reduceOnce(i32x4.add(d0, d1), p2)
    const s0 = v128.shuffle<u32>(e0, e1, 0, 4, 1, 5)
    const s1 = v128.shuffle<u32>(e2, e3, 0, 4, 1, 5)
    const s2 = v128.shuffle<u32>(e0, e1, 2, 6, 3, 7)
    const s3 = v128.shuffle<u32>(e2, e3, 2, 6, 3, 7)
    v128.store(at, v128.shuffle<u64>(s0, s1, 0, 2))
    v128.store(at, v128.shuffle<u64>(s0, s1, 1, 3), 16)
    v128.store(at, v128.shuffle<u64>(s2, s3, 0, 2), 32)
    v128.store(at, v128.shuffle<u64>(s2, s3, 1, 3), 48)
  }
  // Layers of gaps t / 2 and t together.
  let m: usize = N / 16
  for (let t: usize = 8; t < N; t <<= 2, m >>= 2) {
    const gap = t << 1
    for (let i: usize = 0; i < m; i++) {
      const w1 = v128.load32_splat(roots + ((m + i) << 2))
      const w1s = v128.load32_splat(shoup + ((m + i) << 2))
      const w2 = v128.load32_splat(roots + ((m + i) << 3))
      const w2s = v128.load32_splat(shoup + ((m + i) << 3))
      const w3 = v128.load32_splat(roots + ((m + i) << 3), 4)
      const w3s = v128.load32_splat(shoup + ((m + i) << 3), 4)
      const start = a + ((i * t) << 3)
      for (let j = start; j < start + gap; j += 16) {
        const x0 = v128.load(j)
        const x1 = v128.load(j + gap)
        const x2 = v128.load(j + 2 * gap)
        const x3 = v128.load(j + 3 * gap)
        const u0 = reduceOnce(i32x4.add(x0, x1), p2)
        const u1 = mulShoup(i32x4.add(i32x4.sub(x0, x1), p2), w2, w2s, p)
        const u2 = reduceOnce(i32x4.add(x2, x3), p2)
        const u3 = mulShoup(i32x4.add(i32x4.sub(x2, x3), p2), w3, w3s, p)
        v128.store(j, reduceOnce(i32x4.add(u0, u2), p2))
        v128.store(j + gap, reduceOnce(i32x4.add(u1, u3), p2))
        v128.store(j + 2 * gap, mulShoup(i32x4.add(i32x4.sub(u0, u2), p2), w1, w1s, p))
        v128.store(j + 3 * gap, mulShoup(i32x4.add(i32x4.sub(u1, u3), p2), w1, w1s, p))
      }
    }
  }
  for (let j = a; j < a + (N << 2); j += 16) v128.store(j, reduceOnce(v128.load(j), p))
}

/** Coefficients that are summed at once: with both polynomials of a ciphertext, 64 bits each, they stay in the first-level cache. */
const TILE: usize = 512

/**
 * One tile of both polynomials of a ciphertext: out0, out1 = factor * sum over n of weights[n] * inputs[n], coefficient by
 * coefficient, below p. Lists of addresses at `weights` and `inputs`, each less its offset; an input's tiles of both polynomials
 * lie one after the other. 255 products at most. `constants` has 4 words: p, -1/p mod 2^32, 2^32 * factor mod p and its Shoup
 * quotient. `sums` is scratch, 8 KiB.
 */
export function sumOfProducts(
  out0: usize,
  out1: usize,
  weights: usize,
  weightOffset: usize,
  inputs: usize,
  inputOffset: usize,
  n: usize,
  constants: usize,
  sums: usize,
): void {
  memory.fill(sums, 0, TILE * 16)
  let s: usize = 0
  for (; s + 1 < n; s += 2) {
    let w0 = <usize>load<u32>(weights + (s << 2)) + weightOffset
    let w1 = <usize>load<u32>(weights + (s << 2), 4) + weightOffset
    let x0 = <usize>load<u32>(inputs + (s << 2)) + inputOffset
    let x1 = <usize>load<u32>(inputs + (s << 2), 4) + inputOffset
    for (let acc = sums; acc < sums + TILE * 16; acc += 64) {
      const u = v128.load(w0)
      const v = v128.load(w1)
      const a = v128.load(x0)
      const b = v128.load(x1)
      accumulate(acc, u, a, v, b)
      const c = v128.load(x0, TILE << 2)
      const d = v128.load(x1, TILE << 2)
      accumulate(acc + 32, u, c, v, d)
      w0 += 16
      w1 += 16
      x0 += 16
      x1 += 16
    }
  }
  if (s < n) {
    const zero = i32x4.splat(0)
    let w0 = <usize>load<u32>(weights + (s << 2)) + weightOffset
    let x0 = <usize>load<u32>(inputs + (s << 2)) + inputOffset
    for (let acc = sums; acc < sums + TILE * 16; acc += 64) {
      const u = v128.load(w0)
      accumulate(acc, u, v128.load(x0), zero, zero)
      accumulate(acc + 32, u, v128.load(x0, TILE << 2), zero, zero)
      w0 += 16
      x0 += 16
    }
  }
  // Montgomery's reduction, whose 2^-32 the factor makes up for.
  const p = v128.load32_splat(constants)
  const negativeInverse = v128.load32_splat(constants, 4)
  const w = v128.load32_splat(constants, 8)
  const ws = v128.load32_splat(constants, 12)
  for (let i: usize = 0; i < TILE << 2; i += 16) {
    const acc = sums + (i << 2)
    v128.store(out0 + i, reduceOnce(mulShoup(montgomery(acc, p, negativeInverse), w, ws, p), p))
    v128.store(out1 + i, reduceOnce(mulShoup(montgomery(acc + 32, p, negativeInverse), w, ws, p), p))
  }
}

/** Four 64-bit sums at acc += u a + v b. */
// @ts-ignore: decorator
@inline
function accumulate(acc: usize, u: v128, a: v128, v: v128, b: v128): void {
  const low = i64x2.add(i64x2.extmul_low_i32x4_u(u, a), i64x2.extmul_low_i32x4_u(v, b))
  const high = i64x2.add(i64x2.extmul_high_i32x4_u(u, a), i64x2.extmul_high_i32x4_u(v, b))
  v128.store(acc, i64x2.add(v128.load(acc), low))
  v128.store(acc, i64x2.add(v128.load(acc, 16), high), 16)
}

// @ts-ignore: decorator
@inline
function montgomery(acc: usize, p: v128, negativeInverse: v128): v128 {
  const low = v128.load(acc)
  const high = v128.load(acc, 16)
  const m = i32x4.mul(v128.shuffle<u32>(low, high, 0, 2, 4, 6), negativeInverse)
  return v128.shuffle<u32>(
    i64x2.add(low, i64x2.extmul_low_i32x4_u(m, p)),
    i64x2.add(high, i64x2.extmul_high_i32x4_u(m, p)),
    1,
    3,
    5,
    7,
  )
}

/** x = x - a * s mod p, below p: s below p with its Shoup quotients at `shoup`. */
export function subtractProducts(x: usize, a: usize, s: usize, shoup: usize, count: usize, prime: u32): void {
  const p = i32x4.splat(prime)
  const p2 = i32x4.splat(2 * prime)
  for (let i: usize = 0; i < count << 2; i += 16) {
    const product = mulShoup(v128.load(a + i), v128.load(s + i), v128.load(shoup + i), p)
    const difference = i32x4.add(i32x4.sub(v128.load(x + i), product), p2)
    v128.store(x + i, reduceOnce(reduceOnce(difference, p2), p))
  }
}

/** Signed 32-bit numbers to residues below p; `one` is floor(2^32 / p). */
export function residues(values: usize, out: usize, count: usize, prime: u32, one: u32): void {
  const p = i32x4.splat(prime)
  const ws = i32x4.splat(one)
  for (let i: usize = 0; i < count << 2; i += 16) {
    const v = v128.load(values + i)
    const size = i32x4.abs(v)
    const r = reduceOnce(i32x4.sub(size, i32x4.mul(mulHigh(size, ws), p)), p)
    const negative = i32x4.shr_s(v, 31)
    // p - 0 must become 0.
    v128.store(out + i, reduceOnce(v128.bitselect(i32x4.sub(p, r), r, negative), p))
  }
}

/**
 * out = round(Q m / 2^k) + e mod p for messages m of k bits and small signed e. low = Q mod 2^k, w = floor(Q / 2^k) mod p
 * with its Shoup quotient, one = floor(2^32 / p).
 */
export function scaleMessages(
  messages: usize,
  noise: usize,
  out: usize,
  count: usize,
  k: u32,
  low: u32,
  prime: u32,
  factor: u32,
  factorShoup: u32,
  one: u32,
): void {
  const p = i32x4.splat(prime)
  const p2 = i32x4.splat(2 * prime)
  const w = i32x4.splat(factor)
  const ws = i32x4.splat(factorShoup)
  const ones = i32x4.splat(one)
  const lows = i32x4.splat(low)
  const half = i64x2.splat(i64(1) << (k - 1))
  for (let i: usize = 0; i < count << 2; i += 16) {
    const m = v128.load(messages + i)
    const rest = v128.shuffle<u32>(
      i64x2.shr_u(i64x2.add(i64x2.extmul_low_i32x4_u(m, lows), half), k),
      i64x2.shr_u(i64x2.add(i64x2.extmul_high_i32x4_u(m, lows), half), k),
      0,
      2,
      4,
      6,
    )
    const whole = reduceOnce(mulShoup(m, w, ws, p), p)
    const fraction = reduceOnce(i32x4.sub(rest, i32x4.mul(mulHigh(rest, ones), p)), p)
    const e = v128.load(noise + i)
    const positive = v128.bitselect(i32x4.add(e, p), e, i32x4.shr_s(e, 31))
    v128.store(out + i, reduceOnce(reduceOnce(i32x4.add(i32x4.add(whole, fraction), positive), p2), p))
  }
}

/** Centred binomial noise of 2 x 21 coins from 8 random bytes each, as signed 32-bit numbers. */
export function binomial(random: usize, out: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const r = load<u64>(random + (i << 3))
    store<i32>(out + (i << 2), popcnt<i32>(i32(r) & 0x1fffff) - popcnt<i32>(i32(r >> 32) & 0x1fffff))
  }
}

/** Uniform -1, 0, 1 from random bytes of which 255 is left out; returns how many were made, at most `want`. */
export function ternary(random: usize, count: usize, out: usize, want: usize): usize {
  let made: usize = 0
  for (let i: usize = 0; i < count && made < want; i++) {
    const byte = load<u8>(random + i)
    // Written always, kept where it counts: no branch on what was drawn.
    store<i32>(out + (made << 2), i32(byte % 3) - 1)
    made += usize(byte < 255)
  }
  return made
}

/** Uniform residues below p from random words below the largest multiple of p; returns how many were made. */
export function uniform(random: usize, count: usize, out: usize, want: usize, prime: u32): usize {
  const limit = (0xffffffff / prime) * prime
  let made: usize = 0
  for (let i: usize = 0; i < count && made < want; i++) {
    const word = load<u32>(random + (i << 2))
    store<u32>(out + (made << 2), word % prime)
    made += usize(word < limit)
  }
  return made
}

/** values += noise * factor mod p, below p, small signed noise; `shoup` is the factor's quotient. */
export function addScaledNoise(
  values: usize,
  noise: usize,
  count: usize,
  prime: u32,
  factor: u32,
  shoup: u32,
): void {
  const p = i32x4.splat(prime)
  const p2 = i32x4.splat(2 * prime)
  const w = i32x4.splat(factor)
  const ws = i32x4.splat(shoup)
  for (let i: usize = 0; i < count << 2; i += 16) {
    const e = v128.load(noise + i)
    const positive = v128.bitselect(i32x4.add(e, p), e, i32x4.shr_s(e, 31))
    const sum = i32x4.add(v128.load(values + i), mulShoup(positive, w, ws, p))
    v128.store(values + i, reduceOnce(reduceOnce(sum, p2), p))
  }
}

/**
 * Adds factor * (round(Q u / 2^k) + F - B) mod p to the values at the positions `at`. Per position the mask u of k bits and 12
 * random bytes, of which F takes `floodBits` (64..96). Constants, 64 bits each: p, floor(Q / 2^k) mod p, Q mod 2^k, -B mod p,
 * 2^32 mod p, 2^64 mod p, factor, k.
 */
export function maskResponses(
  values: usize,
  at: usize,
  masks: usize,
  random: usize,
  count: usize,
  floodBits: u32,
  constants: usize,
): void {
  const p = load<u64>(constants)
  const w = load<u64>(constants, 8)
  const low = load<u64>(constants, 16)
  const minusB = load<u64>(constants, 24)
  const word1 = load<u64>(constants, 32)
  const word2 = load<u64>(constants, 40)
  const factor = load<u64>(constants, 48)
  const k = load<u64>(constants, 56)
  const half = u64(1) << (k - 1)
  const highMask = u32((u64(1) << (floodBits - 64)) - 1)
  for (let n: usize = 0; n < count; n++) {
    const u = u64(load<u32>(masks + (n << 2)))
    const r = random + n * 12
    const flood =
      u64(load<u32>(r)) + u64(load<u32>(r, 4)) * word1 + u64(load<u32>(r, 8) & highMask) * word2 + minusB
    // u w < 2^60; the flood's terms are below 2^32, 2^60 and 2^60.
    const mask = (u * w + ((low * u + half) >> k) + flood) % p
    const target = values + (usize(load<u32>(at + (n << 2))) << 2)
    store<u32>(target, u32((u64(load<u32>(target)) + mask * factor) % p))
  }
}

/**
 * Top 64 - drop bits of values modulo Q, given as residues times (Q / p)^-1: sum of residue / p, modulo 1, in 64-bit fixed point,
 * rounded. `scales` holds floor(2^96 / p) of each prime as its upper bits and its lower 32. At all positions, or at those listed
 * where `at` is not 0.
 */
export function fractions(
  values: usize,
  primes: usize,
  scales: usize,
  at: usize,
  count: usize,
  drop: u32,
  out: usize,
): void {
  for (let n: usize = 0; n < count; n++) {
    const position = at === 0 ? n : usize(load<u32>(at + (n << 2)))
    let sum: u64 = 0
    for (let i: usize = 0; i < primes; i++) {
      const residue = u64(load<u32>(values + ((i * N + position) << 2)))
      const scale = scales + (i << 4)
      sum += residue * load<u64>(scale) + ((residue * load<u64>(scale, 8)) >> 32)
    }
    store<u64>(out + (n << 3), (sum + (u64(1) << (drop - 1))) >> drop)
  }
}

/**
 * Numbers of `bits` bits (64-bit words, at most 44) to residues below p of their centred values. Constants at 32 bits each: p,
 * floor(2^32 / p), 2^32 mod p and its Shoup quotient, -2^44 mod p.
 */
export function centredResidues(words: usize, out: usize, count: usize, bits: u32, constants: usize): void {
  const p = v128.load32_splat(constants)
  const p2 = i32x4.add(p, p)
  const one = v128.load32_splat(constants, 4)
  const w = v128.load32_splat(constants, 8)
  const ws = v128.load32_splat(constants, 12)
  const offset = v128.load32_splat(constants, 16)
  const shift = 64 - bits
  const lift = i32x4.splat(1 << 12)
  for (let i: usize = 0; i < count << 2; i += 16) {
    const a = i64x2.shr_s(i64x2.shl(v128.load(words + (i << 1)), shift), shift)
    const b = i64x2.shr_s(i64x2.shl(v128.load(words + (i << 1), 16), shift), shift)
    const low = v128.shuffle<u32>(a, b, 0, 2, 4, 6)
    const high = i32x4.add(v128.shuffle<u32>(a, b, 1, 3, 5, 7), lift)
    const r = reduceOnce(i32x4.sub(low, i32x4.mul(mulHigh(low, one), p)), p)
    const s = reduceOnce(mulShoup(high, w, ws, p), p)
    v128.store(out + i, reduceOnce(reduceOnce(i32x4.add(i32x4.add(r, s), offset), p2), p))
  }
}

/** x = x + y mod p, all below p. */
export function addResidues(x: usize, y: usize, count: usize, prime: u32): void {
  const p = i32x4.splat(prime)
  for (let i: usize = 0; i < count << 2; i += 16) {
    v128.store(x + i, reduceOnce(i32x4.add(v128.load(x + i), v128.load(y + i)), p))
  }
}

/** Whether all values are below the bound. */
export function allBelow(values: usize, count: usize, bound: u32): u32 {
  const b = i32x4.splat(bound)
  let beyond = i32x4.splat(0)
  for (let i: usize = 0; i < count << 2; i += 16) beyond = v128.or(beyond, i32x4.ge_u(v128.load(values + i), b))
  return u32(!v128.any_true(beyond))
}

/** x = x * s mod p, below p: s below p with its Shoup quotients at `shoup`. */
export function multiplyBy(x: usize, s: usize, shoup: usize, count: usize, prime: u32): void {
  const p = i32x4.splat(prime)
  for (let i: usize = 0; i < count << 2; i += 16) {
    v128.store(x + i, reduceOnce(mulShoup(v128.load(x + i), v128.load(s + i), v128.load(shoup + i), p), p))
  }
}

/**
 * Decrypts: message = round((c0 + c1 s) / 2^(b-k)) mod 2^k at the positions `at`. c1 s is given modulo two primes, residues
 * times 4096; c0, 64-bit words of k + c0Extra bits, counts units of 2^(b - k - c0Extra). Constants, 64 bits each: p0, p1,
 * 1/4096 mod p0, 1/4096 mod p1, 1/p0 mod p1.
 */
export function decryptAt(
  x0: usize,
  x1: usize,
  c0: usize,
  at: usize,
  count: usize,
  k: u32,
  b: u32,
  c0Extra: u32,
  out: usize,
  constants: usize,
): void {
  const p0 = load<u64>(constants)
  const p1 = load<u64>(constants, 8)
  const n0 = load<u64>(constants, 16)
  const n1 = load<u64>(constants, 24)
  const inverse = load<u64>(constants, 32)
  const q = p0 * p1
  const coarse = b - k - c0Extra
  const half = u64(1) << (b - k - 1)
  const mask = u32((u64(1) << k) - 1)
  for (let n: usize = 0; n < count; n++) {
    const position = usize(load<u32>(at + (n << 2))) << 2
    const r0 = (u64(load<u32>(x0 + position)) * n0) % p0
    const r1 = (u64(load<u32>(x1 + position)) * n1) % p1
    const quotient = (((r1 + p1 - (r0 % p1)) % p1) * inverse) % p1
    let product = r0 + quotient * p0
    if (product > q / 2) product -= q
    const sum = (load<u64>(c0 + (n << 3)) << coarse) + product + half
    store<u32>(out + (n << 2), u32(sum >> (b - k)) & mask)
  }
}
