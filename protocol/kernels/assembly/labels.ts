/**
 * Passes over arrays of 128-bit wire labels: half-gates garbling and evaluation (Zahur, Rosulek, Evans, EUROCRYPT 2015)
 * around AES calls made outside. Twins: garbling/garbler.ts and evaluator.ts' scalar forms in test/twins.
 * Pointers are byte offsets, 16-aligned; `bytes` is 16 a label.
 */

/** out = a xor b. */
export function xorLabels(a: usize, b: usize, out: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(out + i, v128.xor(v128.load(a + i), v128.load(b + i)))
  }
}

/** sigma(l || r) = (l xor r) || l, l the low half. */
// @ts-ignore: decorator
@inline
function sigma(x: v128): v128 {
  // lanes (l, r) -> (l ^ r, l)
  const swapped = v128.shuffle<u64>(x, x, 1, 0)
  const low = v128.shuffle<u64>(x, x, 0, 0)
  // low ^ (r, 0): take r into lane 0 only
  return v128.xor(low, i64x2.replace_lane(swapped, 1, 0))
}

// @ts-ignore: decorator
@inline
function tweakOf(t: u32): v128 {
  return i32x4.replace_lane(i32x4.splat(0), 3, t)
}

/** Keys of one element: left and right are the zero labels of the AND's inputs. */
// @ts-ignore: decorator
@inline
function storeGarblerKeys(left: v128, right: v128, sd: v128, t: u32, keys: usize, bytes: usize): void {
  const ka = v128.xor(sigma(left), tweakOf(t))
  const kb = v128.xor(sigma(right), tweakOf(t + 1))
  v128.store(keys, ka)
  v128.store(keys + bytes, v128.xor(ka, sd))
  v128.store(keys + 2 * bytes, kb)
  v128.store(keys + 3 * bytes, v128.xor(kb, sd))
}

/** Hash inputs of an AND gate of the garbler: keys of a0, a1, b0, b1, one array each. na, nb: all ones where negated. */
export function garbleKeys(
  a: usize,
  b: usize,
  delta: usize,
  na: i32,
  nb: i32,
  tweak: u32,
  keys: usize,
  bytes: usize,
): void {
  const d = v128.load(delta)
  const sd = sigma(d)
  const da = v128.and(d, i32x4.splat(na))
  const db = v128.and(d, i32x4.splat(nb))
  let t = tweak
  for (let i: usize = 0; i < bytes; i += 16, t += 2) {
    storeGarblerKeys(v128.xor(v128.load(a + i), da), v128.xor(v128.load(b + i), db), sd, t, keys + i, bytes)
  }
}

/** The same for a full adder's AND, of a xor c and b xor c. */
export function garbleAdderKeys(
  a: usize,
  b: usize,
  c: usize,
  delta: usize,
  na: i32,
  nb: i32,
  tweak: u32,
  keys: usize,
  bytes: usize,
): void {
  const d = v128.load(delta)
  const sd = sigma(d)
  const da = v128.and(d, i32x4.splat(na))
  const db = v128.and(d, i32x4.splat(nb))
  let t = tweak
  for (let i: usize = 0; i < bytes; i += 16, t += 2) {
    const carry = v128.load(c + i)
    const left = v128.xor(v128.xor(v128.load(a + i), carry), da)
    const right = v128.xor(v128.xor(v128.load(b + i), carry), db)
    storeGarblerKeys(left, right, sd, t, keys + i, bytes)
  }
}

// @ts-ignore: decorator
@inline
function colourMask(x: v128): v128 {
  // All ones where the lowest bit is set.
  return i32x4.splat(-(i32x4.extract_lane(x, 0) & 1))
}

/** Tables of one element; returns the zero label of the AND. */
// @ts-ignore: decorator
@inline
function garbleAnd(left: v128, right: v128, d: v128, keys: usize, hash: usize, table: usize, bytes: usize): v128 {
  const pa = colourMask(left)
  const pb = colourMask(right)
  const ha = v128.xor(v128.load(hash), v128.load(keys))
  const ha1 = v128.xor(v128.load(hash + bytes), v128.load(keys + bytes))
  const hb = v128.xor(v128.load(hash + 2 * bytes), v128.load(keys + 2 * bytes))
  const hb1 = v128.xor(v128.load(hash + 3 * bytes), v128.load(keys + 3 * bytes))
  const generator = v128.xor(v128.xor(ha, ha1), v128.and(d, pb))
  const evaluator = v128.xor(v128.xor(hb, hb1), left)
  v128.store(table, generator)
  v128.store(table + bytes, evaluator)
  const wg = v128.xor(ha, v128.and(generator, pa))
  return v128.xor(wg, v128.xor(hb, v128.and(v128.xor(evaluator, left), pb)))
}

/** Tables (generator half, evaluator half) and zero labels of the result, from the AES outputs of garbleKeys. */
export function garbleCombine(
  a: usize,
  b: usize,
  delta: usize,
  na: i32,
  nb: i32,
  keys: usize,
  hash: usize,
  table: usize,
  out: usize,
  bytes: usize,
): void {
  const d = v128.load(delta)
  const da = v128.and(d, i32x4.splat(na))
  const db = v128.and(d, i32x4.splat(nb))
  for (let i: usize = 0; i < bytes; i += 16) {
    const left = v128.xor(v128.load(a + i), da)
    const right = v128.xor(v128.load(b + i), db)
    v128.store(out + i, garbleAnd(left, right, d, keys + i, hash + i, table + i, bytes))
  }
}

/** The same for a full adder: zero labels of the carry, and of the sum unless `sum` is 0. */
export function garbleAdderCombine(
  a: usize,
  b: usize,
  c: usize,
  delta: usize,
  na: i32,
  nb: i32,
  keys: usize,
  hash: usize,
  table: usize,
  out: usize,
  sum: usize,
  bytes: usize,
): void {
  const d = v128.load(delta)
  const da = v128.and(d, i32x4.splat(na))
  const db = v128.and(d, i32x4.splat(nb))
  for (let i: usize = 0; i < bytes; i += 16) {
    const x = v128.load(a + i)
    const y = v128.load(b + i)
    const carry = v128.load(c + i)
    const xc = v128.xor(x, carry)
    const left = v128.xor(xc, da)
    const right = v128.xor(v128.xor(y, carry), db)
    v128.store(out + i, v128.xor(carry, garbleAnd(left, right, d, keys + i, hash + i, table + i, bytes)))
    if (sum !== 0) v128.store(sum + i, v128.xor(xc, y))
  }
}

/** Hash inputs of an AND gate of the evaluator: keys of a and b. */
export function evaluateKeys(a: usize, b: usize, tweak: u32, keys: usize, bytes: usize): void {
  let t = tweak
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(keys + i, v128.xor(sigma(v128.load(a + i)), tweakOf(t)))
    v128.store(keys + bytes + i, v128.xor(sigma(v128.load(b + i)), tweakOf(t + 1)))
    t += 2
  }
}

/** The same for a full adder's AND, of a xor c and b xor c. */
export function evaluateAdderKeys(a: usize, b: usize, c: usize, tweak: u32, keys: usize, bytes: usize): void {
  let t = tweak
  for (let i: usize = 0; i < bytes; i += 16) {
    const carry = v128.load(c + i)
    v128.store(keys + i, v128.xor(sigma(v128.xor(v128.load(a + i), carry)), tweakOf(t)))
    v128.store(keys + bytes + i, v128.xor(sigma(v128.xor(v128.load(b + i), carry)), tweakOf(t + 1)))
    t += 2
  }
}

/** Active label of an AND of one element. */
// @ts-ignore: decorator
@inline
function evaluateAnd(left: v128, right: v128, keys: usize, hash: usize, table: usize, bytes: usize): v128 {
  const sa = colourMask(left)
  const sb = colourMask(right)
  const wg = v128.xor(v128.xor(v128.load(hash), v128.load(keys)), v128.and(v128.load(table), sa))
  const we = v128.xor(
    v128.xor(v128.load(hash + bytes), v128.load(keys + bytes)),
    v128.and(v128.xor(v128.load(table + bytes), left), sb),
  )
  return v128.xor(wg, we)
}

/** Active labels of the result. */
export function evaluateCombine(
  a: usize,
  b: usize,
  keys: usize,
  hash: usize,
  table: usize,
  out: usize,
  bytes: usize,
): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    const result = evaluateAnd(v128.load(a + i), v128.load(b + i), keys + i, hash + i, table + i, bytes)
    v128.store(out + i, result)
  }
}

/** Active labels of a full adder's carry, and of its sum unless `sum` is 0. */
export function evaluateAdderCombine(
  a: usize,
  b: usize,
  c: usize,
  keys: usize,
  hash: usize,
  table: usize,
  out: usize,
  sum: usize,
  bytes: usize,
): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    const x = v128.load(a + i)
    const y = v128.load(b + i)
    const carry = v128.load(c + i)
    const xc = v128.xor(x, carry)
    const result = evaluateAnd(xc, v128.xor(y, carry), keys + i, hash + i, table + i, bytes)
    v128.store(out + i, v128.xor(carry, result))
    if (sum !== 0) v128.store(sum + i, v128.xor(xc, y))
  }
}

/** labels[i] ^= bits[i] ? delta : 0, one byte a bit: active labels from zero labels. */
export function activate(labels: usize, bits: usize, delta: usize, count: usize): void {
  const d = v128.load(delta)
  for (let i: usize = 0; i < count; i++) {
    const mask = i32x4.splat(-i32(load<u8>(bits + i)))
    v128.store(labels + (i << 4), v128.xor(v128.load(labels + (i << 4)), v128.and(d, mask)))
  }
}

/** Lowest bit of each label, a byte each, xor flip. */
export function colours(labels: usize, out: usize, count: usize, flip: u32): void {
  for (let i: usize = 0; i < count; i++) store<u8>(out + i, u8((load<u32>(labels + (i << 4)) & 1) ^ flip))
}

// @ts-ignore: decorator
@inline
function hashWord(keys: usize, hash: usize, i: usize): u32 {
  return load<u32>(hash + (i << 4)) ^ load<u32>(keys + (i << 4))
}

/**
 * The garbler's half of one projection (garbling/projection.ts): `keys` and `hash` hold the zero labels' and then the one labels'.
 * Subtracts its part from `shares` and writes the corrections; `weights`, all three 32 bits a value.
 */
export function projectGarbler(
  labels: usize,
  keys: usize,
  hash: usize,
  count: usize,
  flip: u32,
  weights: usize,
  shares: usize,
  corrections: usize,
): void {
  for (let i: usize = 0; i < count; i++) {
    const zero = hashWord(keys, hash, i)
    const one = hashWord(keys, hash, count + i)
    const colour = load<u32>(labels + (i << 4)) & 1
    const swap = (zero ^ one) & (0 - colour)
    const first = zero ^ swap
    const second = one ^ swap
    const bit = colour ^ flip
    const weight = load<u32>(weights + (i << 2))
    const share = shares + (i << 2)
    store<u32>(share, load<u32>(share) - first + bit * weight)
    store<u32>(corrections + (i << 2), first - second + (1 - 2 * bit) * weight)
  }
}

/** The evaluator's half: adds the hash of each active label to `shares`. */
export function projectEvaluator(keys: usize, hash: usize, count: usize, shares: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const share = shares + (i << 2)
    store<u32>(share, load<u32>(share) + hashWord(keys, hash, i))
  }
}

/** shares += corrections where the bit, a byte each, is 1. */
export function addChosen(shares: usize, bits: usize, corrections: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const share = shares + (i << 2)
    store<u32>(share, load<u32>(share) + (load<u32>(corrections + (i << 2)) & (0 - u32(load<u8>(bits + i)))))
  }
}
