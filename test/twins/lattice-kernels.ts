/** The lattice kernels' twins: textbook transforms and plain modular arithmetic on BigInt. */
import type { Kernels } from '../../protocol/kernels/arena.js'

const N = 4096
const TILE = 512

type LatticeKernel =
  | 'nttForward'
  | 'nttInverse'
  | 'sumOfProducts'
  | 'subtractProducts'
  | 'residues'
  | 'scaleMessages'
  | 'binomial'
  | 'ternary'
  | 'uniform'
  | 'addScaledNoise'
  | 'maskResponses'
  | 'fractions'
  | 'centredResidues'
  | 'multiplyBy'
  | 'addResidues'
  | 'allBelow'
  | 'decryptAt'

/** a b mod p for numbers below 2^28. */
const multiply = (a: number, b: number, p: number) => (((a * (b >>> 14)) % p) * 16384 + a * (b & 16383)) % p

/** Sum of values[i] root^(i k) for k = 0 .. n - 1, by halves. */
function transform(values: number[], root: number, p: number): number[] {
  if (values.length === 1) return values
  const half = values.length / 2
  const square = multiply(root, root, p)
  const pick = (odd: number) => values.filter((_, i) => i % 2 === odd)
  const [even, odd] = [transform(pick(0), square, p), transform(pick(1), square, p)]
  const out = new Array<number>(values.length)
  for (let k = 0, w = 1; k < half; k++, w = multiply(w, root, p)) {
    const term = multiply(w, odd[k], p)
    out[k] = (even[k] + term) % p
    out[k + half] = (even[k] - term + p) % p
  }
  return out
}

/** Where the kernels keep the evaluation at the (2k+1)-th power of the root: bit-reversed, blocks of 16 transposed. */
function place(k: number): number {
  let j = 0
  for (let bit = 1; bit < N; bit <<= 1, k >>>= 1) j = (j << 1) | (k & 1)
  return (j & ~15) | ((j & 3) << 2) | ((j >>> 2) & 3)
}

const scaleByPowers = (values: number[], root: number, p: number) => {
  let w = 1
  return values.map((v) => {
    const out = multiply(v, w, p)
    w = multiply(w, root, p)
    return out
  })
}

export function latticeKernels(memory: WebAssembly.Memory): Pick<Kernels, LatticeKernel> {
  const words = (at: number, count: number) => new Uint32Array(memory.buffer, at, count)
  const signed = (at: number, count: number) => new Int32Array(memory.buffer, at, count)
  const wide = (at: number, count: number) => new BigUint64Array(memory.buffer, at, count)
  const bytes = (at: number, count: number) => new Uint8Array(memory.buffer, at, count)
  const mod = (a: bigint, p: bigint | number) => Number(((a % BigInt(p)) + BigInt(p)) % BigInt(p))
  /** The first power in a table in bit-reversed order. */
  const rootOf = (table: number) => words(table, N)[N / 2]

  return {
    nttForward(a, roots, _shoup, p) {
      const root = rootOf(roots)
      const values = scaleByPowers(
        [...words(a, N)].map((v) => v % p),
        root,
        p,
      )
      const out = transform(values, multiply(root, root, p), p)
      for (let k = 0; k < N; k++) words(a, N)[place(k)] = out[k]
    },
    nttInverse(a, roots, _shoup, p) {
      const root = rootOf(roots)
      const values = Array.from({ length: N }, (_, k) => words(a, N)[place(k)] % p)
      words(a, N).set(scaleByPowers(transform(values, multiply(root, root, p), p), root, p))
    },
    sumOfProducts(out0, out1, weights, weightOffset, inputs, inputOffset, n, constants) {
      const [w, x] = [words(weights, n), words(inputs, n)]
      const [p, , factor] = words(constants, 4)
      for (const [part, out] of [out0, out1].entries()) {
        for (let i = 0; i < TILE; i++) {
          let sum = 0
          for (let s = 0; s < n; s++) {
            const weight = words(w[s] + weightOffset + 4 * i, 1)[0]
            sum += multiply(weight, words(x[s] + inputOffset + 4 * (part * TILE + i), 1)[0], p)
          }
          words(out + 4 * i, 1)[0] = mod(BigInt(sum % p) * BigInt(factor) * inversePower32(BigInt(p)), p)
        }
      }
    },
    subtractProducts(x, a, s, _shoup, count, p) {
      for (let i = 0; i < count; i++) {
        words(x, count)[i] = (words(x, count)[i] - multiply(words(a, count)[i], words(s, count)[i], p) + p) % p
      }
    },
    residues(values, out, count, p) {
      for (let i = 0; i < count; i++) words(out, count)[i] = mod(BigInt(signed(values, count)[i]), p)
    },
    scaleMessages(messages, noise, out, count, k, low, p, factor) {
      for (let i = 0; i < count; i++) {
        const m = BigInt(words(messages, count)[i])
        const rest = (m * BigInt(low >>> 0) + (1n << BigInt(k - 1))) >> BigInt(k)
        words(out, count)[i] = mod(m * BigInt(factor) + rest + BigInt(signed(noise, count)[i]), p)
      }
    },
    binomial(random, out, count) {
      const ones = (v: bigint) => [...(v & 0x1fffffn).toString(2)].filter((bit) => bit === '1').length
      for (let i = 0; i < count; i++) {
        const coins = wide(random, count)[i]
        signed(out, count)[i] = ones(coins) - ones(coins >> 32n)
      }
    },
    ternary(random, count, out, want) {
      const kept = [...bytes(random, count)].filter((byte) => byte < 255).slice(0, want)
      signed(out, kept.length).set(kept.map((byte) => (byte % 3) - 1))
      return kept.length
    },
    uniform(random, count, out, want, p) {
      const limit = Math.floor(0xffffffff / p) * p
      const kept = [...words(random, count)].filter((word) => word < limit).slice(0, want)
      words(out, kept.length).set(kept.map((word) => word % p))
      return kept.length
    },
    addScaledNoise(values, noise, count, p, factor) {
      for (let i = 0; i < count; i++) {
        const scaled = BigInt(signed(noise, count)[i]) * BigInt(factor)
        words(values, count)[i] = mod(BigInt(words(values, count)[i]) + scaled, p)
      }
    },
    maskResponses(values, at, masks, random, count, floodBits, constants) {
      const [p, w, low, minusB, , , factor, k] = wide(constants, 8)
      for (let n = 0; n < count; n++) {
        const u = BigInt(words(masks, count)[n])
        const r = words(random + 12 * n, 3)
        const all = BigInt(r[0]) | (BigInt(r[1]) << 32n) | (BigInt(r[2]) << 64n)
        const mask = u * w + ((low * u + (1n << (k - 1n))) >> k) + (all & ((1n << BigInt(floodBits)) - 1n)) + minusB
        const place = values + 4 * words(at, count)[n]
        words(place, 1)[0] = mod(BigInt(words(place, 1)[0]) + mask * factor, p)
      }
    },
    fractions(values, primes, scales, at, count, drop, out) {
      for (let n = 0; n < count; n++) {
        const position = at === 0 ? n : words(at, count)[n]
        let sum = 0n
        for (let i = 0; i < primes; i++) {
          const [high, low] = wide(scales + 16 * i, 2)
          const residue = BigInt(words(values + 4 * (i * N + position), 1)[0])
          sum += residue * high + ((residue * low) >> 32n)
        }
        wide(out, count)[n] = BigInt.asUintN(64, sum + (1n << BigInt(drop - 1))) >> BigInt(drop)
      }
    },
    centredResidues(source, out, count, bits, constants) {
      const [p] = words(constants, 1)
      for (let i = 0; i < count; i++) words(out, count)[i] = mod(BigInt.asIntN(bits, wide(source, count)[i]), p)
    },
    multiplyBy(x, s, _shoup, count, p) {
      for (let i = 0; i < count; i++) words(x, count)[i] = multiply(words(x, count)[i], words(s, count)[i], p)
    },
    addResidues(x, y, count, p) {
      for (let i = 0; i < count; i++) words(x, count)[i] = (words(x, count)[i] + words(y, count)[i]) % p
    },
    allBelow(values, count, bound) {
      return Number(words(values, count).every((v) => v < bound))
    },
    decryptAt(x0, x1, c0, at, count, k, b, c0Extra, out, constants) {
      const [p0, p1, n0, n1, inverse] = wide(constants, 5)
      const q = p0 * p1
      for (let n = 0; n < count; n++) {
        const position = 4 * words(at, count)[n]
        const r0 = (BigInt(words(x0 + position, 1)[0]) * n0) % p0
        const r1 = (BigInt(words(x1 + position, 1)[0]) * n1) % p1
        const lifted = r0 + p0 * (((((r1 - r0) % p1) + p1) * inverse) % p1)
        const product = lifted > q / 2n ? lifted - q : lifted
        const sum = (wide(c0, count)[n] << BigInt(b - k - c0Extra)) + product + (1n << BigInt(b - k - 1))
        words(out, count)[n] = Number(BigInt.asUintN(k, sum >> BigInt(b - k)))
      }
    },
  }
}

/** 2^-32 mod p. */
function inversePower32(p: bigint): bigint {
  let result = 1n
  for (let i = 0; i < 32; i++) result = (result % 2n === 0n ? result : result + p) / 2n
  return result
}
