import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { maskConstants } from '../../protocol/homomorphic/seal-engine.js'
import { useKernels } from '../../protocol/kernels/arena.js'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { Chain } from '../helpers/chain.js'
import { cross, fills } from '../helpers/cross-kernels.js'
import { TwoParties } from '../helpers/two-party.js'
import { scalarKernels } from '../twins/scalar-kernels.js'

test('label kernels equal their twins', () => {
  for (const [name, fill] of fills) {
    for (const labels of [1, 3, 17]) {
      const n = labels * 16
      const k = 64
      cross(`xor ${name}`, 4 * n, fill, (run, at) => run.xorLabels(at, at + n, at + 2 * n, n))
      for (const [na, nb] of [
        [0, 0],
        [-1, 0],
        [0, -1],
        [-1, -1],
      ]) {
        cross(`garbleKeys ${name}`, k + 6 * n, fill, (run, at) =>
          run.garbleKeys(at + k, at + k + n, at, na, nb, 0xfffffff0, at + k + 2 * n, n),
        )
        cross(`garbleCombine ${name}`, k + 13 * n, fill, (run, at) => {
          const p = at + k
          run.garbleCombine(p, p + n, at, na, nb, p + 2 * n, p + 6 * n, p + 10 * n, p + 12 * n, n)
        })
      }
      for (const [na, nb] of [
        [0, 0],
        [-1, 0],
        [-1, -1],
      ]) {
        cross(`garbleAdderKeys ${name}`, k + 7 * n, fill, (run, at) =>
          run.garbleAdderKeys(at + k, at + k + n, at + k + 2 * n, at, na, nb, 77, at + k + 3 * n, n),
        )
        for (const withSum of [true, false]) {
          cross(`garbleAdderCombine ${name}`, k + 15 * n, fill, (run, at) => {
            const p = at + k
            const [keys, hash, table] = [p + 3 * n, p + 7 * n, p + 11 * n]
            const sum = withSum ? p + 14 * n : 0
            run.garbleAdderCombine(p, p + n, p + 2 * n, at, na, nb, keys, hash, table, p + 13 * n, sum, n)
          })
        }
      }
      cross(`evaluateAdderKeys ${name}`, 5 * n, fill, (run, at) =>
        run.evaluateAdderKeys(at, at + n, at + 2 * n, 9, at + 3 * n, n),
      )
      cross(`evaluateAdderCombine ${name}`, 11 * n, fill, (run, at) =>
        run.evaluateAdderCombine(
          at,
          at + n,
          at + 2 * n,
          at + 3 * n,
          at + 5 * n,
          at + 7 * n,
          at + 9 * n,
          at + 10 * n,
          n,
        ),
      )
      // Results may take over the places of inputs.
      cross(`evaluateAdderCombine in place ${name}`, 9 * n, fill, (run, at) =>
        run.evaluateAdderCombine(at, at + n, at + 2 * n, at + 3 * n, at + 5 * n, at + 7 * n, at + 2 * n, at, n),
      )
      cross(`evaluateKeys ${name}`, 4 * n, fill, (run, at) => run.evaluateKeys(at, at + n, 12345, at + 2 * n, n))
      cross(`evaluateCombine ${name}`, 9 * n, fill, (run, at) =>
        run.evaluateCombine(at, at + n, at + 2 * n, at + 4 * n, at + 6 * n, at + 8 * n, n),
      )
      for (const flip of [0, 1]) {
        cross(`colours ${name}`, n + labels, fill, (run, at) => run.colours(at, at + n, labels, flip))
        cross(`project garbler ${name}`, 8 * n, fill, (run, at) =>
          run.projectGarbler(at, at + n, at + 3 * n, labels, flip, at + 5 * n, at + 6 * n, at + 7 * n),
        )
      }
      cross(`project evaluator ${name}`, 3 * n, fill, (run, at) => run.projectEvaluator(at, at + n, labels, at + 2 * n))
      const bits = (memory: Uint8Array) => {
        fill(memory)
        for (let i = 0; i < labels; i++) memory[i] &= 1
      }
      cross(`add chosen ${name}`, 3 * n, bits, (run, at) => run.addChosen(at + n, at, at + 2 * n, labels))
      // The result may take over the place of an input.
      cross(`evaluateCombine in place ${name}`, 8 * n, fill, (run, at) =>
        run.evaluateCombine(at, at + n, at + 2 * n, at + 4 * n, at + 6 * n, at, n),
      )
    }
  }
  cross(
    'activate',
    16 + 16 * 9 + 9,
    (memory) => {
      memory.set(randomBytes(memory.length))
      memory.forEach((v, i) => {
        if (i >= 160) memory[i] = v & 1
      })
    },
    (run, at) => run.activate(at + 16, at + 160, at, 9),
  )
})

test('transfer kernels equal their twins', () => {
  for (const [name, fill] of fills) {
    for (const count of [128, 384]) {
      const bytes = count / 8
      cross(`fold ${name}`, 21 * bytes, fill, (run, at) => run.fold16(at, at + 16 * bytes, at + 20 * bytes, bytes))
      cross(`transpose ${name}`, 32 * count, fill, (run, at) => run.transpose128(at, at + 16 * count, count))
      for (const mask of [0, -1])
        cross(`xorMasked ${name}`, 2 * bytes, fill, (run, at) => run.xorMasked(at, at + bytes, mask, bytes))
    }
  }
})

test('linear kernels equal their twins', () => {
  for (const [name, fill] of fills) {
    for (const [height, width, kernel, stride, pad, dilation] of [
      [9, 9, 3, 1, 1, 1],
      [12, 7, 5, 2, 2, 1],
      [8, 10, 3, 1, 2, 2],
      [1, 1, 1, 1, 0, 1],
      [6, 6, 5, 3, 4, 1],
    ]) {
      const out = (size: number) => Math.floor((size + 2 * pad - (kernel - 1) * dilation - 1) / stride) + 1
      const [x, w, o] = [height * width * 4, kernel * kernel * 4, out(height) * out(width) * 4]
      const pads = (bytes: number) => Math.ceil(bytes / 16) * 16
      cross(`convolution ${name}`, pads(x) + pads(w) + o, fill, (run, at) =>
        run.convolvePlane(
          at,
          height,
          width,
          at + pads(x),
          kernel,
          kernel,
          at + pads(x) + pads(w),
          out(height),
          out(width),
          stride,
          stride,
          pad,
          pad,
          dilation,
          dilation,
        ),
      )
    }
    for (const [inputs, outputs] of [
      [1, 1],
      [7, 3],
      [16, 5],
    ]) {
      const x = 64
      const w = Math.ceil((inputs * outputs) / 4) * 16
      cross(`matrix ${name}`, x + w + outputs * 4, fill, (run, at) =>
        run.matrixVector(at + x, at, at + x + w, inputs, outputs),
      )
    }
  }
})

test('bit kernels equal their twins', () => {
  const elements = 24
  for (const [name, fill] of fills) {
    for (const [size, window, ring] of [
      [8, 1, 32],
      [3, 4, 17],
      [5, 2, 2],
    ]) {
      const first = 1
      const inputs = (first + size) * window
      const image = (memory: Uint8Array) => {
        fill(memory)
        new Uint32Array(memory.buffer, elements * 4, inputs).forEach((_, i, indices) => {
          indices[i] = (i * 7) % elements
        })
      }
      const out = Math.ceil((elements + inputs) / 4) * 16
      cross(`expand ${name}`, out + size * window * ring, image, (run, at) =>
        run.expandBits(at, at + elements * 4, at + out, first, size, window, ring),
      )
    }
    for (const bits of [1, 5, 19, 28, 31, 32]) {
      const count = 37
      cross(`unpack words ${bits} ${name}`, 152 + 8 + 4 * count, fill, (run, at) =>
        run.unpackWords(at, at + 160, count, bits),
      )
      cross(`pack words ${bits} ${name}`, 160 + 4 * count, fill, (run, at) => run.packWords(at, at + 160, count, bits))
    }
    for (const count of [16, 64, 48]) {
      cross(`pack bytes ${name}`, count + 16, fill, (run, at) => run.packBytes(at, at + count, count))
    }
  }
})

test('homomorphic kernels equal their twins', () => {
  const count = 40
  const q = 1152921504606830593n
  for (const [name, fill] of fills) {
    for (const bits of [1, 23, 33, 41, 49, 57, 60, 64]) {
      cross(`unpack ${bits} ${name}`, 400 + 8 * count, fill, (run, at) => run.unpackWide(at, at + 400, count, bits))
      const empty = (memory: Uint8Array) => {
        fill(memory)
        memory.fill(0, 8 * count)
      }
      const drop = Math.min(7, 64 - bits)
      cross(`pack ${bits} ${name}`, 8 * count + 400, empty, (run, at) =>
        run.packWide(at, at + 8 * count, count, bits, drop),
      )
    }
    const below = (memory: Uint8Array) => {
      fill(memory)
      const words = new BigUint64Array(memory.buffer)
      words.forEach((v, i) => {
        if (i < count) words[i] = v % q
      })
    }
    cross(`noise ${name}`, 16 * count, below, (run, at) => run.addNoise(at, at + 8 * count, count, q))
    const short = (memory: Uint8Array) => {
      fill(memory)
      const words = new BigUint64Array(memory.buffer)
      words.forEach((v, i) => {
        words[i] = v & 0x1ffffffffn
      })
    }
    cross(`widen ${name}`, 8 * count, short, (run, at) => run.widen(at, count, 27, q))
  }
})

test('the flooding mask is round(Q u / 2^k) + F - B modulo each prime, for every ring', () => {
  const primes = [1152921504606830593n, 562949953216513n] as const
  const count = 16
  for (const ringBits of [2, 20, 31, 32]) {
    for (const q of primes) {
      for (const [name, fill] of fills) {
        const constants = maskConstants(primes, q, ringBits)
        const offset = { planes: 64, at: 64 + 65536, masks: 64 + 65600, random: 64 + 65664 }
        const bytes = 64 + 65664 + 16 * count
        const image = (memory: Uint8Array) => {
          fill(memory)
          memory.set(new Uint8Array(constants.buffer))
          const words = new BigUint64Array(memory.buffer, 64, 8192)
          words.forEach((v, i) => {
            words[i] = v % q
          })
          new Uint32Array(memory.buffer, offset.at, count).forEach((_, i, places) => {
            places[i] = i * 255
          })
          const masks = new Uint32Array(memory.buffer, offset.masks, count)
          masks.forEach((v, i) => {
            masks[i] = ringBits === 32 ? v : v % 2 ** ringBits
          })
        }
        cross(`mask ${ringBits} ${name}`, bytes, image, (run, at) =>
          run.maskResidues(
            at + offset.planes,
            at + offset.at,
            at + offset.masks,
            at + offset.random,
            count,
            106 - ringBits,
            at,
          ),
        )
      }
    }
  }
})

test('the whole system runs on the twins, and the parties may differ', async () => {
  const b = new Chain([1, 6, 6])
  const geometry = {
    kind: 'conv',
    input: [1, 6, 6],
    output: [2, 4, 4],
    kernel: [3, 3],
    strides: [1, 1],
    pads: [0, 0, 0, 0],
    dilations: [1, 1],
    groups: 1,
  } as const
  b.linear(
    'conv',
    geometry,
    Float64Array.from({ length: 18 }, (_, i) => Math.sin(i)),
    new Float64Array(32).fill(0.1),
  )
  b.relu('relu')
  b.reshape([32])
  b.linear(
    'fc',
    { kind: 'dense', inputs: 32, outputs: 3 },
    Float64Array.from({ length: 96 }, (_, i) => Math.cos(i)),
    new Float64Array(3),
  )
  const network = b.finish()
  const model = compileNetwork(network, checkCard({ input: { kind: 'tensor', range: [-1, 1] } }, [1, 6, 6], 3))
  const parties = new TwoParties(model)
  const input = quantiseInput(
    parties.plan,
    Float64Array.from({ length: 36 }, (_, i) => Math.sin(3 * i)),
  )
  const expected = runReference(parties.plan, model.secret, input)
  const bundles = await parties.prepare(2)
  useKernels(scalarKernels)
  try {
    assert.deepEqual((await parties.infer(bundles[0], input)).outputs, expected)
  } finally {
    useKernels(undefined)
  }
  assert.deepEqual((await parties.infer(bundles[1], input)).outputs, expected)
})
