import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import {
  type ActivationShape,
  activate,
  activationCircuit,
  activationOffset,
  activationWeights,
} from '../../protocol/circuits/activation.js'
import { argmaxCircuit, labelBits, topCircuit } from '../../protocol/circuits/argmax.js'
import { type Circuit, evaluatePlain } from '../../protocol/circuits/builder.js'
import { Evaluator } from '../../protocol/garbling/evaluator.js'
import { Garbler } from '../../protocol/garbling/garbler.js'
import { HashKeys } from '../../protocol/garbling/hash.js'
import { compileProgram, gatesPerFrame, tableBytes } from '../../protocol/garbling/program.js'
import { applyCorrections, projectionBytes } from '../../protocol/garbling/projection.js'
import { largestIndices } from '../../protocol/model/reference.js'
import { Prg } from '../../protocol/random.js'
import { packBits } from '../../protocol/ring/bits.js'

const bitsOf = (value: number, count: number) =>
  Array.from({ length: count }, (_, i) => Math.floor((value < 0 ? value + 2 ** count : value) / 2 ** i) % 2)
const number = (wires: readonly number[]) => wires.reduce((sum, bit, i) => sum + bit * 2 ** i, 0)
const mod = (value: number, ring: number) => ((value % 2 ** ring) + 2 ** ring) % 2 ** ring
const randomBelow = (limit: number) => Math.floor((randomBytes(6).readUIntBE(0, 6) / 2 ** 48) * limit)

/**
 * Garbles and evaluates `instances` of a circuit; inputs [wire][instance]. Returns decoded outputs [output][instance], and
 * the two sides' shares of the weighted sum of the outputs mod 2^ring.
 */
function garbled(
  circuit: Circuit,
  garblerBits: number[][],
  evaluatorBits: number[][],
  bytesPerFrame: number,
  weights: readonly number[] = [],
  ring = 32,
): { outputs: number[][]; sums: number[] } {
  const program = compileProgram(circuit)
  const instances = garblerBits[0].length
  const delta = new Uint32Array(new Uint8Array(randomBytes(16)).buffer)
  delta[0] |= 1
  const random = (wires: number) => new Uint32Array(new Uint8Array(randomBytes(wires * instances * 16)).buffer)
  const zero = random(circuit.evaluatorInputs)
  const active = zero.map((word, i) =>
    evaluatorBits[Math.floor(i / 4 / instances)][(i >>> 2) % instances] ? word ^ delta[i & 3] : word,
  )
  const perFrame = gatesPerFrame(instances, bytesPerFrame)
  const garbler = new Garbler(program, delta, instances, perFrame)
  const evaluator = new Evaluator(program, instances, perFrame)
  const own = new Uint8Array(random(circuit.garblerInputs).buffer)
  garbler.setInputs(own, zero, Uint8Array.from(garblerBits.flat()))
  evaluator.setInputs(own, active)
  const seed = randomBytes(16)
  const cipher = new HashKeys(new Prg(seed)).next()
  const same = new HashKeys(new Prg(seed)).next()
  let bytes = 0
  for (const tables of garbler.garble(cipher)) {
    bytes += tables.length
    evaluator.advance(same, tables)
  }
  assert.equal(bytes, tableBytes(circuit, instances))
  const zeroColours = garbler.outputColours()
  const colours = evaluator.outputColours()
  const count = circuit.outputs.length
  let sums: number[] = []
  if (weights.length > 0) {
    const corrections = new Uint32Array(count * instances)
    const shares = garbler.project(cipher, weights, corrections)
    const packed = packBits(corrections, ring)
    assert.equal(packed.length, projectionBytes(count, instances, ring))
    const others = applyCorrections(evaluator.project(same), colours, packed, count, [instances], ring)
    sums = [...shares].map((share, i) => mod(share + others[i], ring))
  }
  garbler.release()
  evaluator.release()
  const outputs = circuit.outputs.map((_, o) =>
    Array.from({ length: instances }, (_, i) => zeroColours[o * instances + i] ^ colours[o * instances + i]),
  )
  return { outputs, sums }
}

const column = (rows: number[][], i: number) => rows.map((row) => row[i])
const columns = (instances: number[][]) => instances[0].map((_, w) => instances.map((instance) => instance[w]))

type BitsShape = Omit<ActivationShape, 'ringOut' | 'select'>

function checkActivation(bitsShape: BitsShape, expectedAnds: number): void {
  const shape = { ...bitsShape, ringOut: 32, select: false }
  const circuit = activationCircuit(shape)
  const weights = activationWeights(shape) as number[]
  assert.equal(circuit.andGates, expectedAnds, `AND gates of ${JSON.stringify(shape)}`)
  assert.equal(circuit.outputs.length, weights.length)
  const { window, ringIn } = shape
  const half = 2 ** (ringIn - 1)
  // Without saturation the plan proves the range, so the test keeps to it.
  const limit = shape.saturate ? half : Math.min(half, 2 ** (shape.bits + shape.shift))
  const edges = [0, 1, -1, limit - 1, -limit, 2 ** shape.shift, -(2 ** shape.shift)].filter(
    (v) => v < limit && v >= -limit,
  )
  const instances = Array.from({ length: 40 }, (_, n) => {
    const values = Array.from({ length: window }, (_, w) =>
      n < edges.length ? edges[(n + w) % edges.length] : randomBelow(2 * limit) - limit,
    )
    const server = values.map(() => randomBelow(2 ** ringIn))
    const client = values.map((value, w) => mod(value - server[w], ringIn))
    return {
      garbler: server.flatMap((v) => bitsOf(v, ringIn)),
      evaluator: client.flatMap((v) => bitsOf(v, ringIn)),
      expected: activate(values, shape),
    }
  })
  const offset = activationOffset(shape)
  const weighted = (wires: readonly number[]) => wires.reduce((sum, bit, i) => sum + bit * weights[i], offset)
  for (const ring of [32, 13]) {
    const { outputs, sums } = garbled(
      circuit,
      columns(instances.map((i) => i.garbler)),
      columns(instances.map((i) => i.evaluator)),
      4096,
      weights,
      ring,
    )
    instances.forEach((instance, i) => {
      const what = JSON.stringify(shape)
      assert.equal(
        weighted(evaluatePlain(circuit, instance.garbler, instance.evaluator)),
        instance.expected,
        `plain ${what}`,
      )
      assert.equal(weighted(column(outputs, i)), instance.expected, `garbled ${what}`)
      assert.equal(sums[i], mod(instance.expected - offset, ring), `shares mod 2^${ring} of ${what}`)
    })
  }
}

test('ReLU with requantisation: circuit = reference, AND gates as counted', () => {
  // add k-1, ReLU bits
  checkActivation({ window: 1, fn: 'relu', shift: 0, bits: 31, saturate: false, ringIn: 32 }, 31 + 31)
  checkActivation({ window: 1, fn: 'relu', shift: 9, bits: 10, saturate: false, ringIn: 22 }, 21 + 10)
  checkActivation({ window: 1, fn: 'relu', shift: 9, bits: 8, saturate: true, ringIn: 22 }, 21 + 3 + 2 * 8)
  checkActivation({ window: 1, fn: 'relu', shift: 3, bits: 1, saturate: false, ringIn: 6 }, 5 + 1)
})

test('ReLU by selection: the passing bit and its corrections make the value, AND gates as counted', () => {
  for (const [shift, bits, saturate, ringIn, ringOut, ands] of [
    [0, 31, false, 32, 32, 31],
    [9, 12, false, 22, 22, 21 + 1 + 2],
    [9, 12, false, 22, 12, 21 + 1],
    [9, 8, true, 22, 19, 21 + 3 + 1 + 1 + 2],
    [0, 3, true, 9, 11, 8 + 4 + 1 + 2],
    [3, 1, false, 6, 9, 5 + 1 + 2],
  ] as const) {
    const shape: ActivationShape = { window: 1, fn: 'relu', shift, bits, saturate, ringIn, ringOut, select: true }
    const circuit = activationCircuit(shape)
    const weights = activationWeights(shape)
    const what = JSON.stringify(shape)
    assert.equal(circuit.andGates, ands, what)
    assert.equal(circuit.outputs.length, weights.length)
    const half = 2 ** (ringIn - 1)
    const limit = saturate ? half : Math.min(half, 2 ** (bits + shift))
    const edges = [0, 1, -1, limit - 1, -limit, 2 ** shift, 2 ** shift - 1, -(2 ** shift)]
    const instances = Array.from({ length: 200 }, (_, n) => {
      const value = n < 40 ? edges[n % edges.length] : randomBelow(2 * limit) - limit
      const server = n % 5 === 0 ? n % 2 : n % 5 === 1 ? 2 ** ringIn - 1 - (n % 2) : randomBelow(2 ** ringIn)
      const client = mod(value - server, ringIn)
      return { server, client, garbler: bitsOf(server, ringIn), evaluator: bitsOf(client, ringIn), value }
    })
    const { outputs } = garbled(
      circuit,
      columns(instances.map((i) => i.garbler)),
      columns(instances.map((i) => i.evaluator)),
      4096,
    )
    instances.forEach(({ server, client, garbler, evaluator, value }, n) => {
      const shares = Math.floor(server / 2 ** shift) + Math.floor(client / 2 ** shift)
      for (const wires of [evaluatePlain(circuit, garbler, evaluator), column(outputs, n)]) {
        const sum = wires.reduce((total, bit, i) => total + bit * (weights[i] === 'shares' ? shares : +weights[i]), 0)
        assert.equal(mod(sum, ringOut), mod(activate([value], shape), ringOut), `${what} at ${value}`)
      }
    })
  }
})

test('max-pool then ReLU, and windows that are no power of two', () => {
  // the three top bits of the last maximum are never looked at
  checkActivation(
    { window: 4, fn: 'relu', shift: 7, bits: 9, saturate: false, ringIn: 20 },
    4 * 19 + 3 * 2 * 13 - 3 + 9,
  )
  checkActivation({ window: 9, fn: 'identity', shift: 0, bits: 11, saturate: false, ringIn: 12 }, 9 * 11 + 8 * 24)
})

test('requantisation without ReLU, signed, proven and saturating', () => {
  checkActivation({ window: 1, fn: 'identity', shift: 5, bits: 14, saturate: false, ringIn: 20 }, 19)
  checkActivation({ window: 1, fn: 'identity', shift: 5, bits: 8, saturate: true, ringIn: 20 }, 19 + 5 + 8)
})

test('sums of products: one AND for each pair of bits, each operand with its own width', () => {
  const ringIn = 14
  const wide = { shift: 3, bits: 4, saturate: true, signed: true }
  const proven = { shift: 5, bits: 6, saturate: false, signed: true }
  const positive = { shift: 2, bits: 5, saturate: false, signed: false }
  // add k-1, the bits above the kept ones, and a mux a bit; where the range is proven only as far as its sign.
  const cost = (x: typeof wide) => (x.saturate ? 13 + (14 - 3 - 1 - 4 - 1) + x.bits : x.shift + x.bits)
  for (const [terms, ands] of [
    [[{ factor: 1, left: wide, right: proven }], cost(wide) + cost(proven) + 5 * 7],
    [[{ factor: -3, left: positive, right: wide }], cost(positive) - 1 + cost(wide) + 5 * 5],
    [
      [
        { factor: 1, left: proven, right: proven },
        { factor: 2 ** 20, left: positive, right: positive },
      ],
      2 * cost(proven) + 49 + 2 * (cost(positive) - 1) + 25,
    ],
  ] as const) {
    const base = { fn: 'product', shift: 0, bits: 0, saturate: false, ringIn, ringOut: 32, select: false } as const
    const shape: ActivationShape = { ...base, window: 2 * terms.length, terms }
    const circuit = activationCircuit(shape)
    const weights = activationWeights(shape) as number[]
    assert.equal(circuit.andGates, ands)
    const operands = terms.flatMap(({ left, right }) => [left, right])
    const instances = Array.from({ length: 60 }, (_, n) => {
      const values = operands.map((x) => {
        const high = x.saturate ? 2 ** (ringIn - 1) : 2 ** (x.bits + x.shift)
        const low = x.signed ? -high : 0
        return n % 3 === 0 ? [low, high - 1, 0, low + 1][(n / 3) % 4] : low + randomBelow(high - low)
      })
      const server = values.map(() => randomBelow(2 ** ringIn))
      const client = values.map((value, w) => mod(value - server[w], ringIn))
      return {
        garbler: server.flatMap((v) => bitsOf(v, ringIn)),
        evaluator: client.flatMap((v) => bitsOf(v, ringIn)),
        expected: activate(values, shape),
      }
    })
    const [left, right] = [columns(instances.map((i) => i.garbler)), columns(instances.map((i) => i.evaluator))]
    const { outputs } = garbled(circuit, left, right, 4096, weights, 32)
    instances.forEach(({ garbler, evaluator, expected }, n) => {
      for (const wires of [evaluatePlain(circuit, garbler, evaluator), column(outputs, n)]) {
        assert.equal(
          wires.reduce((sum, bit, i) => sum + bit * weights[i], 0),
          expected,
        )
      }
    })
  }
})

test('squares: one AND for each pair of bits, for one value and for the largest of a window', () => {
  checkActivation({ window: 1, fn: 'square', shift: 4, bits: 8, saturate: false, ringIn: 20 }, 12 + (9 * 8) / 2)
  checkActivation({ window: 1, fn: 'square', shift: 4, bits: 8, saturate: true, ringIn: 20 }, 19 + 6 + 8 + (9 * 8) / 2)
  checkActivation({ window: 1, fn: 'square', shift: 0, bits: 0, saturate: true, ringIn: 3 }, 2)
  checkActivation(
    { window: 2, fn: 'square', shift: 2, bits: 5, saturate: false, ringIn: 9 },
    2 * 8 + 2 * 7 + (6 * 5) / 2 - 1,
  )
})

test('piecewise-linear functions: knots at the ends, at zero, negative and positive, flat and steep pieces', () => {
  const base = { window: 1, fn: 'pieces', shift: 5, bits: 6, saturate: true, ringIn: 16 } as const
  const clamp = 15 + 3 + 6
  checkActivation({ ...base, pieces: { offset: -17, knots: [], slopes: [3] } }, clamp)
  // Zero is the sign bit: no comparison.
  checkActivation({ ...base, pieces: { offset: 5, knots: [0], slopes: [1, 8] } }, clamp + 6)
  checkActivation({ ...base, pieces: { offset: 0, knots: [-63, -20, 1, 63], slopes: [0, 100, -7, 0, 900] } }, 74)
  // Symmetric: knots on either side cost one comparison and one AND a bit.
  const symmetric = { offset: 7, knots: [0, 3, 20, 62], slopes: [50, 40, -2, 0, 9], symmetric: true } as const
  checkActivation({ ...base, pieces: symmetric }, 57)
  checkActivation({ ...base, saturate: false, pieces: { offset: 1 << 20, knots: [-1, 5], slopes: [-4, 0, 4] } }, 37)
})

test('argmax and the largest few, in order: the lowest index on ties', () => {
  for (const [classes, count] of [
    [2, 1],
    [3, 1],
    [10, 1],
    [17, 1],
    [2, 2],
    [5, 5],
    [10, 3],
    [17, 4],
  ]) {
    const ring = 14
    const circuit = count === 1 ? argmaxCircuit(classes, ring) : topCircuit(classes, ring, count)
    const width = labelBits(classes)
    const instances = Array.from({ length: 20 }, (_, n) => {
      const values = Array.from({ length: classes }, () =>
        n < 5 ? randomBelow(3) - 1 : randomBelow(2 ** ring) - 2 ** (ring - 1),
      )
      const server = values.map(() => randomBelow(2 ** ring))
      return {
        garbler: server.flatMap((v) => bitsOf(v, ring)),
        evaluator: values.flatMap((v, i) => bitsOf(mod(v - server[i], ring), ring)),
        expected: largestIndices(values, count),
      }
    })
    assert.equal(circuit.outputs.length, count * width)
    const { outputs } = garbled(
      circuit,
      columns(instances.map((i) => i.garbler)),
      columns(instances.map((i) => i.evaluator)),
      1 << 20,
    )
    instances.forEach(({ expected }, i) => {
      const bits = column(outputs, i)
      assert.deepEqual(
        expected.map((_, place) => number(bits.slice(place * width, (place + 1) * width))),
        expected,
      )
    })
  }
})
