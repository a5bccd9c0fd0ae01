/**
 * The obvious twins of the WebAssembly kernels: plain loops over words, bit by bit where that is clearest. They run the
 * whole system in tests (useKernels) and are crossed with the kernels on random and edge values.
 */
import type { Kernels } from '../../protocol/kernels/arena.js'
import { latticeKernels } from './lattice-kernels.js'

export function scalarKernels(memory: WebAssembly.Memory): Kernels {
  const words = (at: number, bytes: number) => new Uint32Array(memory.buffer, at, bytes / 4)
  const wide = (at: number, count: number) => new BigUint64Array(memory.buffer, at, count)
  const xor = (a: number, b: number, out: number, bytes: number) => {
    const [x, y, z] = [words(a, bytes), words(b, bytes), words(out, bytes)]
    for (let i = 0; i < z.length; i++) z[i] = x[i] ^ y[i]
  }
  /** sigma(l || r) = (l xor r) || l */
  const sigma = ([l0, l1, r0, r1]: number[]) => [l0 ^ r0, l1 ^ r1, l0, l1]
  const label = (array: Uint32Array, i: number) => [...array.subarray(4 * i, 4 * i + 4)]
  const add = (x: number[], y: number[]) => x.map((v, i) => v ^ y[i])
  const scale = (x: number[], bit: number) => x.map((v) => (bit ? v : 0))
  const put = (at: number, i: number, value: number[]) => words(at + 16 * i, 16).set(value.map((v) => v >>> 0))
  const tweak = (x: number[], t: number) => [x[0], x[1], x[2], x[3] ^ t]

  /** Labels of an array, as given or xor those of another. */
  const labelsOf = (at: number, bytes: number, other?: number) => {
    const own = words(at, bytes)
    return Uint32Array.from(other === undefined ? own : own.map((word, i) => word ^ words(other, bytes)[i]))
  }
  type Labels = Uint32Array
  const garblerKeys = (x: Labels, y: Labels, d: number[], na: number, nb: number, t: number, keys: number) => {
    const bytes = x.byteLength
    for (let i = 0; i < bytes / 16; i++) {
      const left = add(label(x, i), scale(d, na))
      const right = add(label(y, i), scale(d, nb))
      put(keys, i, tweak(sigma(left), t + 2 * i))
      put(keys + bytes, i, tweak(sigma(add(left, d)), t + 2 * i))
      put(keys + 2 * bytes, i, tweak(sigma(right), t + 2 * i + 1))
      put(keys + 3 * bytes, i, tweak(sigma(add(right, d)), t + 2 * i + 1))
    }
  }
  /** Zero labels of the ANDs, having written the tables. */
  const garbledAnds = (
    x: Labels,
    y: Labels,
    d: number[],
    na: number,
    nb: number,
    keys: number,
    hash: number,
    table: number,
  ) => {
    const bytes = x.byteLength
    const hashes = [0, 1, 2, 3].map((n) => [words(hash + n * bytes, bytes), words(keys + n * bytes, bytes)])
    return Array.from({ length: bytes / 16 }, (_, i) => {
      const left = add(label(x, i), scale(d, na))
      const right = add(label(y, i), scale(d, nb))
      const [ha0, ha1, hb0, hb1] = hashes.map(([h, k]) => add(label(h, i), label(k, i)))
      const generator = add(add(ha0, ha1), scale(d, right[0] & 1))
      const evaluator = add(add(hb0, hb1), left)
      put(table, i, generator)
      put(table + bytes, i, evaluator)
      const wg = add(ha0, scale(generator, left[0] & 1))
      return add(wg, add(hb0, scale(add(evaluator, left), right[0] & 1)))
    })
  }
  const evaluatorKeys = (x: Labels, y: Labels, t: number, keys: number) => {
    for (let i = 0; i < x.byteLength / 16; i++) {
      put(keys, i, tweak(sigma(label(x, i)), t + 2 * i))
      put(keys + x.byteLength, i, tweak(sigma(label(y, i)), t + 2 * i + 1))
    }
  }
  const evaluatedAnds = (x: Labels, y: Labels, keys: number, hash: number, table: number) => {
    const bytes = x.byteLength
    const [k, h, t] = [words(keys, 2 * bytes), words(hash, 2 * bytes), words(table, 2 * bytes)]
    const n = bytes / 16
    return Array.from({ length: n }, (_, i) => {
      const left = label(x, i)
      const wg = add(add(label(h, i), label(k, i)), scale(label(t, i), left[0] & 1))
      const we = add(add(label(h, n + i), label(k, n + i)), scale(add(label(t, n + i), left), label(y, i)[0] & 1))
      return add(wg, we)
    })
  }
  /** Carry and sum of an adder whose ANDs are given. */
  const finishAdder = (a: number, b: number, c: number, ands: number[][], out: number, sum: number) => {
    const bytes = 16 * ands.length
    const [x, y, carry] = [labelsOf(a, bytes), labelsOf(b, bytes), labelsOf(c, bytes)]
    ands.forEach((and, i) => {
      put(out, i, add(label(carry, i), and))
      if (sum !== 0) put(sum, i, add(add(label(x, i), label(y, i)), label(carry, i)))
    })
  }
  const offset = (delta: number) => label(words(delta, 16), 0)

  const gates: Pick<
    Kernels,
    | 'garbleKeys'
    | 'garbleCombine'
    | 'garbleAdderKeys'
    | 'garbleAdderCombine'
    | 'evaluateKeys'
    | 'evaluateCombine'
    | 'evaluateAdderKeys'
    | 'evaluateAdderCombine'
  > = {
    garbleKeys(a, b, delta, na, nb, t, keys, bytes) {
      garblerKeys(labelsOf(a, bytes), labelsOf(b, bytes), offset(delta), na, nb, t, keys)
    },
    garbleAdderKeys(a, b, c, delta, na, nb, t, keys, bytes) {
      garblerKeys(labelsOf(a, bytes, c), labelsOf(b, bytes, c), offset(delta), na, nb, t, keys)
    },
    garbleCombine(a, b, delta, na, nb, keys, hash, table, out, bytes) {
      const ands = garbledAnds(labelsOf(a, bytes), labelsOf(b, bytes), offset(delta), na, nb, keys, hash, table)
      ands.forEach((and, i) => {
        put(out, i, and)
      })
    },
    garbleAdderCombine(a, b, c, delta, na, nb, keys, hash, table, out, sum, bytes) {
      const [x, y] = [labelsOf(a, bytes, c), labelsOf(b, bytes, c)]
      finishAdder(a, b, c, garbledAnds(x, y, offset(delta), na, nb, keys, hash, table), out, sum)
    },
    evaluateKeys(a, b, t, keys, bytes) {
      evaluatorKeys(labelsOf(a, bytes), labelsOf(b, bytes), t, keys)
    },
    evaluateAdderKeys(a, b, c, t, keys, bytes) {
      evaluatorKeys(labelsOf(a, bytes, c), labelsOf(b, bytes, c), t, keys)
    },
    evaluateCombine(a, b, keys, hash, table, out, bytes) {
      evaluatedAnds(labelsOf(a, bytes), labelsOf(b, bytes), keys, hash, table).forEach((and, i) => {
        put(out, i, and)
      })
    },
    evaluateAdderCombine(a, b, c, keys, hash, table, out, sum, bytes) {
      finishAdder(a, b, c, evaluatedAnds(labelsOf(a, bytes, c), labelsOf(b, bytes, c), keys, hash, table), out, sum)
    },
  }

  return {
    ...latticeKernels(memory),
    xorLabels: xor,
    ...gates,
    activate(labels, bits, delta, count) {
      const d = label(words(delta, 16), 0)
      const chosen = new Uint8Array(memory.buffer, bits, count)
      for (let i = 0; i < count; i++) put(labels, i, add(label(words(labels, 16 * count), i), scale(d, chosen[i])))
    },
    colours(labels, out, count, flip) {
      const target = new Uint8Array(memory.buffer, out, count)
      for (let i = 0; i < count; i++) target[i] = (label(words(labels, 16 * count), i)[0] & 1) ^ flip
    },
    projectGarbler(labels, keys, hash, count, flip, weights, shares, corrections) {
      const hashed = (i: number) => words(hash + 16 * i, 4)[0] ^ words(keys + 16 * i, 4)[0]
      const [w, s, e] = [words(weights, 4 * count), words(shares, 4 * count), words(corrections, 4 * count)]
      for (let i = 0; i < count; i++) {
        const colour = words(labels + 16 * i, 4)[0] & 1
        const [first, second] = colour === 0 ? [hashed(i), hashed(count + i)] : [hashed(count + i), hashed(i)]
        // The label of colour 0 stands for this bit.
        const bit = colour ^ flip
        s[i] -= first - bit * w[i]
        e[i] = first - second + (bit ? -w[i] : w[i])
      }
    },
    projectEvaluator(keys, hash, count, shares) {
      const s = words(shares, 4 * count)
      for (let i = 0; i < count; i++) s[i] += words(hash + 16 * i, 4)[0] ^ words(keys + 16 * i, 4)[0]
    },
    addChosen(shares, bits, corrections, count) {
      const [s, e] = [words(shares, 4 * count), words(corrections, 4 * count)]
      const chosen = new Uint8Array(memory.buffer, bits, count)
      for (let i = 0; i < count; i++) if (chosen[i]) s[i] += e[i]
    },
    fold16(streams, rows, sum, bytes) {
      for (let bit = 0; bit < 4; bit++) words(rows + bit * bytes, bytes).fill(0)
      words(sum, bytes).fill(0)
      for (let x = 0; x < 16; x++) {
        const stream = streams + x * bytes
        xor(sum, stream, sum, bytes)
        for (let bit = 0; bit < 4; bit++)
          if ((x >>> bit) & 1) xor(rows + bit * bytes, stream, rows + bit * bytes, bytes)
      }
    },
    xorMasked(target, source, mask, bytes) {
      if (mask !== 0) xor(target, source, target, bytes)
    },
    transpose128(rows, out, count) {
      const [source, target] = [
        new Uint8Array(memory.buffer, rows, 16 * count),
        new Uint8Array(memory.buffer, out, 16 * count),
      ]
      target.fill(0)
      for (let r = 0; r < 128; r++) {
        for (let i = 0; i < count; i++) {
          const bit = (source[(r * count) / 8 + (i >>> 3)] >>> (i & 7)) & 1
          target[i * 16 + (r >>> 3)] |= bit << (r & 7)
        }
      }
    },
    convolvePlane(x, height, width, weights, kh, kw, out, outHeight, outWidth, sy, sx, padTop, padLeft, dy, dx) {
      const [image, w, o] = [
        words(x, height * width * 4),
        words(weights, kh * kw * 4),
        words(out, outHeight * outWidth * 4),
      ]
      for (let i = 0; i < outHeight; i++) {
        for (let j = 0; j < outWidth; j++) {
          for (let l = 0; l < kh; l++) {
            for (let k = 0; k < kw; k++) {
              const y = i * sy - padTop + l * dy
              const z = j * sx - padLeft + k * dx
              if (y >= 0 && y < height && z >= 0 && z < width)
                o[i * outWidth + j] += Math.imul(w[l * kw + k], image[y * width + z])
            }
          }
        }
      }
    },
    matrixVector(weights, x, out, inputs, outputs) {
      const [w, v, o] = [words(weights, inputs * outputs * 4), words(x, inputs * 4), words(out, outputs * 4)]
      for (let i = 0; i < outputs; i++) {
        o[i] = 0
        for (let j = 0; j < inputs; j++) o[i] += Math.imul(w[i * inputs + j], v[j])
      }
    },
    expandBits(share, inputs, out, first, size, window, ring) {
      const bits = new Uint8Array(memory.buffer, out, window * ring * size)
      const indices = words(inputs, (first + size) * window * 4)
      for (let i = 0; i < size; i++) {
        for (let w = 0; w < window; w++) {
          const [value] = words(share + 4 * indices[(first + i) * window + w], 4)
          for (let bit = 0; bit < ring; bit++) bits[(w * ring + bit) * size + i] = (value >>> bit) & 1
        }
      }
    },
    packBytes(bytes, packed, count) {
      const [source, target] = [
        new Uint8Array(memory.buffer, bytes, count),
        new Uint8Array(memory.buffer, packed, Math.ceil(count / 8)),
      ]
      target.fill(0)
      for (let i = 0; i < count; i++) target[i >>> 3] |= (source[i] & 1) << (i & 7)
    },
    packWords(source, packed, count, bits) {
      const values = words(source, count * 4)
      const target = new Uint8Array(memory.buffer, packed, Math.ceil((count * bits) / 32) * 4)
      target.fill(0)
      for (let i = 0; i < count; i++) {
        for (let b = 0; b < bits; b++) {
          const p = i * bits + b
          target[p >>> 3] |= ((values[i] >>> b) & 1) << (p & 7)
        }
      }
    },
    unpackWords(packed, out, count, bits) {
      const source = new Uint8Array(memory.buffer, packed, Math.ceil((count * bits) / 8))
      const values = words(out, count * 4)
      for (let i = 0; i < count; i++) {
        let value = 0
        for (let b = 0; b < bits; b++) {
          const p = i * bits + b
          value |= ((source[p >>> 3] >>> (p & 7)) & 1) << b
        }
        values[i] = value
      }
    },
    unpackWide(packed, out, count, bits) {
      const [source, target] = [new Uint8Array(memory.buffer, packed, Math.ceil((count * bits) / 8)), wide(out, count)]
      for (let i = 0; i < count; i++) {
        target[i] = 0n
        for (let b = 0; b < bits; b++) {
          const p = i * bits + b
          target[i] |= BigInt((source[p >>> 3] >>> (p & 7)) & 1) << BigInt(b)
        }
      }
    },
    packWide(source, packed, count, bits, drop) {
      const [values, target] = [
        wide(source, count),
        new Uint8Array(memory.buffer, packed, Math.ceil((count * bits) / 8)),
      ]
      for (let i = 0; i < count; i++) {
        for (let b = 0; b < bits; b++) {
          const p = i * bits + b
          target[p >>> 3] |= Number((values[i] >> BigInt(b + drop)) & 1n) << (p & 7)
        }
      }
    },
    widen(at, count, drop, q) {
      const values = wide(at, count)
      for (let i = 0; i < count; i++) {
        const middle = BigInt.asUintN(64, values[i] << BigInt(drop)) | (1n << BigInt(drop - 1))
        values[i] = middle < q ? middle : q - 1n
      }
    },
    addNoise(at, random, count, q) {
      const [values, coins] = [wide(at, count), wide(random, count)]
      const ones = (v: bigint) => BigInt([...(v & 0x1fffffn).toString(2)].filter((bit) => bit === '1').length)
      for (let i = 0; i < count; i++) values[i] = (values[i] + q + ones(coins[i]) - ones(coins[i] >> 32n)) % q
    },
    maskResidues(at, positions, masks, random, count, floodBits, constants) {
      const [q, w, , , , minusB, low, k] = wide(constants, 8)
      const [target, place, u, r] = [
        wide(at, 8192),
        words(positions, count * 4),
        words(masks, count * 4),
        wide(random, 2 * count),
      ]
      for (let n = 0; n < count; n++) {
        const scaled = w * BigInt(u[n]) + ((low * BigInt(u[n]) + (1n << (k - 1n))) >> k)
        const flood = ((r[2 * n + 1] << 64n) | r[2 * n]) & ((1n << BigInt(floodBits)) - 1n)
        target[place[n]] = (target[place[n]] + scaled + flood + minusB) % q
      }
    },
  }
}
