import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Ciphertext } from 'node-seal'
import { Bfv, ENCRYPTION_BYTES, responseBytes, SecretEncryptor } from '../../protocol/homomorphic/bfv.js'
import { DEGREE, packingOf } from '../../protocol/homomorphic/packing.js'
import { Responder, WeightPolynomials } from '../../protocol/homomorphic/responder.js'
import {
  applyLinear,
  type ConvGeometry,
  type DenseGeometry,
  inputSize,
  outputSize,
  weightCount,
} from '../../protocol/ring/linear.js'

const randomRing = (count: number, bits: number) =>
  new Uint32Array(new Uint8Array(randomBytes(count * 4)).buffer).map((v) => (bits === 32 ? v : v & (2 ** bits - 1)))

const randomWeights = (count: number, bits: number) =>
  Int32Array.from(randomRing(count, bits), (v) => v - 2 ** (bits - 1))

function conv(
  input: [number, number, number],
  filters: number,
  kernel: [number, number],
  options: Partial<ConvGeometry> = {},
): ConvGeometry {
  const strides = options.strides ?? [1, 1]
  const pads = options.pads ?? [0, 0, 0, 0]
  const dilations = options.dilations ?? [1, 1]
  const size = (axis: 0 | 1) =>
    Math.floor(
      (input[1 + axis] + pads[axis] + pads[axis + 2] - (kernel[axis] - 1) * dilations[axis] - 1) / strides[axis],
    ) + 1
  return {
    kind: 'conv',
    input,
    output: [filters, size(0), size(1)],
    kernel,
    strides,
    pads,
    dilations,
    groups: options.groups ?? 1,
  }
}

const GEOMETRIES: [string, ConvGeometry | DenseGeometry][] = [
  ['dense 784 to 10', { kind: 'dense', inputs: 784, outputs: 10 }],
  ['dense 5000 to 3: input over several polynomials', { kind: 'dense', inputs: 5000, outputs: 3 }],
  ['dense 1 to 1', { kind: 'dense', inputs: 1, outputs: 1 }],
  ['MNIST first convolution', conv([1, 28, 28], 16, [5, 5])],
  ['convolution with same padding', conv([5, 16, 16], 7, [3, 3], { pads: [1, 1, 1, 1] })],
  ['stride 2, padding 2', conv([1, 28, 28], 5, [5, 5], { strides: [2, 2], pads: [2, 2, 2, 2] })],
  ['uneven padding and stride', conv([3, 9, 11], 4, [3, 2], { strides: [2, 1], pads: [0, 1, 2, 0] })],
  ['dilated', conv([2, 12, 12], 3, [3, 3], { dilations: [2, 3], pads: [2, 3, 2, 3] })],
  ['grouped', conv([6, 8, 8], 4, [3, 3], { groups: 2, pads: [1, 1, 1, 1] })],
  ['depthwise', conv([4, 8, 8], 4, [1, 1], { groups: 4 })],
  ['image larger than a polynomial', conv([2, 80, 90], 2, [3, 3], { pads: [1, 1, 1, 1], strides: [2, 2] })],
]

/** Schoolbook product modulo X^N + 1 and 2^32: the twin of BFV on the packing. */
function negacyclic(a: Uint32Array, b: Int32Array, out: Uint32Array): void {
  for (let j = 0; j < DEGREE; j++) {
    if (b[j] === 0) continue
    for (let i = 0; i < DEGREE; i++) {
      const product = Math.imul(a[i], b[j])
      if (i + j < DEGREE) out[i + j] += product
      else out[i + j - DEGREE] -= product
    }
  }
}

test('packing: products of packed polynomials hold the linear map, for every shape and batch', () => {
  for (const [name, geometry] of GEOMETRIES) {
    for (const batch of [1, 3]) {
      const weights = randomWeights(weightCount(geometry), 8)
      const packing = packingOf(geometry, batch)
      const vectors = Array.from({ length: packing.bundles }, () => randomRing(inputSize(geometry), 32))
      const expected = vectors.map((vector) => applyLinear(geometry, weights, vector))
      const seen = vectors.map(() => new Uint8Array(outputSize(geometry)))
      const inputs = Array.from({ length: packing.inputs }, (_, i) => {
        const out = new Uint32Array(DEGREE)
        packing.packInput(i, vectors, out)
        return out
      })
      for (let o = 0; o < packing.outputs; o++) {
        const sum = new Uint32Array(DEGREE)
        for (const i of packing.sources(o)) {
          const polynomial = new Int32Array(DEGREE)
          packing.packWeights(i, o, weights, polynomial)
          negacyclic(inputs[i], polynomial, sum)
        }
        const { at, index, bundle } = packing.results(o)
        at.forEach((position, n) => {
          assert.equal(sum[position], expected[bundle[n]][index[n]], `${name}, batch ${batch}`)
          seen[bundle[n]][index[n]]++
        })
      }
      for (const counts of seen)
        assert.ok(
          counts.every((count) => count === 1),
          `${name}: each output once`,
        )
    }
  }
})

test('linear maps agree with a product by taps', async () => {
  const { convolutionTaps } = await import('../../protocol/ring/linear.js')
  for (const [name, geometry] of GEOMETRIES) {
    if (geometry.kind !== 'conv') continue
    const weights = randomWeights(weightCount(geometry), 12)
    const x = randomRing(inputSize(geometry), 32)
    const out = applyLinear(geometry, weights, x)
    const [filters, height, width] = geometry.output
    for (let n = 0; n < filters * height * width; n++) {
      let sum = 0
      convolutionTaps(geometry, Math.floor(n / height / width), Math.floor(n / width) % height, n % width, (i, w) => {
        sum = (sum + Math.imul(x[i], weights[w])) >>> 0
      })
      assert.equal(out[n], sum, name)
    }
  }
})

test("triples under BFV: v = W r + u' mod 2^k, for narrow and the widest rings and extreme weights", async () => {
  for (const [ringBits, weightBits] of [
    [20, 8],
    [25, 14],
    [32, 16],
  ]) {
    const bfv = await Bfv.forRing(ringBits)
    const key = new SecretEncryptor(bfv)
    const responder = new Responder(bfv, key.encrypt(new Uint32Array(DEGREE)))
    for (const [name, geometry] of GEOMETRIES.slice(0, 10)) {
      const batch = 2
      const packing = packingOf(geometry, batch)
      const weights = randomWeights(weightCount(geometry), weightBits)
      if (name === 'grouped') weights.fill(0)
      const vectors = Array.from({ length: packing.bundles }, () => randomRing(inputSize(geometry), ringBits))
      const expected = vectors.map((vector) => applyLinear(geometry, weights, vector))
      const inputs: Ciphertext[] = []
      for (let i = 0; i < packing.inputs; i++) {
        const plain = new Uint32Array(DEGREE)
        packing.packInput(i, vectors, plain)
        const packed = key.encrypt(plain)
        assert.equal(packed.length, ENCRYPTION_BYTES)
        inputs.push(responder.receive(packed))
      }
      const polynomials = new WeightPolynomials(bfv, packing, weights, 4)
      for (let o = 0; o < packing.outputs; o++) {
        const { at, index, bundle } = packing.results(o)
        const masks = randomRing(at.length, ringBits)
        const response = responder.respond(packing, polynomials, inputs, o, at, masks)
        assert.equal(response.length, responseBytes(ringBits, at.length))
        const values = key.decryptResponse(response, at)
        values.forEach((value, n) => {
          const want = (expected[bundle[n]][index[n]] + masks[n]) % 2 ** ringBits
          assert.equal(value, want, `${name}, ring ${ringBits}`)
        })
      }
      polynomials.dispose()
      for (const cipher of inputs) cipher.delete()
    }
    responder.dispose()
    key.dispose()
  }
})

test("a ciphertext with residues out of range is refused as the peer's fault", async () => {
  const bfv = await Bfv.forRing(20)
  const key = new SecretEncryptor(bfv)
  const packed = key.encrypt(new Uint32Array(DEGREE)).fill(255, 0, 1000)
  assert.throws(() => bfv.unpackEncryption(packed), { code: 'BAD_PEER' })
  key.dispose()
})
