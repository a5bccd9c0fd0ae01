import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import SEAL from 'node-seal'
import { ENGINES, type Engine, type EngineName, engineOf } from '../../protocol/homomorphic/engine.js'
import { inverse, POLYNOMIAL_BYTES, PRIMES, Transforms } from '../../protocol/homomorphic/lattice.js'
import { LatticeWeights } from '../../protocol/homomorphic/lattice-engine.js'
import { DEGREE, type Packing, packingOf } from '../../protocol/homomorphic/packing.js'
import { Arena, useKernels } from '../../protocol/kernels/arena.js'
import {
  applyLinear,
  type ConvGeometry,
  type DenseGeometry,
  inputSize,
  outputSize,
  weightCount,
} from '../../protocol/ring/linear.js'
import { scalarKernels } from '../twins/scalar-kernels.js'

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

const usual = GEOMETRIES.slice(0, 10)

/** Responses under an engine hold W r + u' mod 2^ring for every geometry. */
async function crossTriples(
  name: EngineName,
  ring: number,
  weightBits: number,
  geometries = usual,
  own?: Partial<Engine>,
): Promise<void> {
  const engine = { ...(await engineOf(name, ring)), ...own }
  const client = engine.newClient()
  const host = engine.newHost(client.encrypt(new Uint32Array(DEGREE), ring))
  for (const [title, geometry] of geometries) {
    const packing = packingOf(geometry, 2)
    const weights = randomWeights(weightCount(geometry), weightBits)
    if (title === 'grouped') weights.fill(0)
    if (title === 'depthwise') weights.fill(-(2 ** (weightBits - 1)))
    const vectors = Array.from({ length: packing.bundles }, () => randomRing(inputSize(geometry), ring))
    if (title === 'depthwise') for (const vector of vectors) vector.fill(2 ** ring - 1)
    const expected = vectors.map((vector) => applyLinear(geometry, weights, vector))
    const inputs = Array.from({ length: packing.inputs }, (_, i) => {
      const plain = new Uint32Array(DEGREE)
      packing.packInput(i, vectors, plain)
      const packed = client.encrypt(plain, ring)
      assert.equal(packed.length, engine.encryptionBytes)
      return packed
    })
    const polynomials = engine.weights(packing, weights)
    const outputs = Array.from({ length: packing.outputs }, (_, o) => {
      const results = packing.results(o)
      return { ...results, masks: randomRing(results.at.length, 32) }
    })
    const responses = [...host.respond(packing, polynomials, inputs, ring, outputs)]
    assert.equal(responses.length, packing.outputs)
    outputs.forEach(({ at, index, bundle, masks }, o) => {
      assert.equal(responses[o].length, engine.responseBytes(ring, at.length))
      client.decrypt(responses[o], at, ring).forEach((value, n) => {
        const want = (expected[bundle[n]][index[n]] + masks[n]) % 2 ** ring
        assert.equal(value, want, `${title}, ${name}, ring ${ring}`)
      })
    })
    polynomials.dispose()
  }
  host.dispose()
  client.dispose()
}

for (const name of ENGINES) {
  test(`triples under ${name}: v = W r + u' mod 2^k, for narrow and the widest rings and extreme weights`, async () => {
    for (const [ring, weightBits] of [
      [2, 2],
      [20, 8],
      [25, 14],
      [32, 16],
    ]) {
      await crossTriples(name, ring, weightBits)
    }
  })

  test(`${name} refuses a ciphertext with residues out of range as the peer's fault`, async () => {
    const engine = await engineOf(name, 20)
    const client = engine.newClient()
    const geometry = GEOMETRIES[0][1]
    const packing = packingOf(geometry, 1)
    const polynomials = engine.weights(packing, randomWeights(weightCount(geometry), 8))
    const broken = client.encrypt(new Uint32Array(DEGREE), 20).fill(255, 0, 1000)
    const answer = () => {
      const outputs = [{ at: new Int32Array(0), masks: new Uint32Array(0) }]
      return [...engine.newHost(broken).respond(packing, polynomials, [broken], 20, outputs)]
    }
    assert.throws(answer, { code: 'BAD_PEER' })
    polynomials.dispose()
    client.dispose()
  })
}

test('triples with weights too many to keep, and with more products than one call takes', async () => {
  const weights = (packing: Packing, values: Int32Array) => new LatticeWeights(packing, values, 0)
  const wide = conv([600, 40, 40], 1, [1, 1])
  await crossTriples('lattice', 31, 8, [GEOMETRIES[0], GEOMETRIES[4], ['600 channels', wide]], { weights })
  await crossTriples('lattice', 31, 8, [['600 channels', wide]])
})

test('triples on the twins of the kernels', async () => {
  useKernels(scalarKernels)
  try {
    await crossTriples('lattice', 27, 9, [GEOMETRIES[2], GEOMETRIES[5]])
  } finally {
    useKernels(undefined)
  }
})

test('products modulo X^N + 1 and the four primes are those of SEAL', async () => {
  const seal = await SEAL()
  const parameters = new seal.EncryptionParameters(seal.SchemeType.bfv)
  parameters.setPolyModulusDegree(DEGREE)
  const moduli = new seal.VectorModulus()
  // SEAL asks for one more prime, for the key switching that nobody does.
  for (const p of [...PRIMES, 163577857]) moduli.push_back(new seal.Modulus(BigInt(p)))
  parameters.setCoeffModulus(moduli)
  parameters.setPlainModulus(new seal.Modulus(2n ** 20n))
  const context = new seal.SEALContext(parameters, true, seal.SecLevelType.none)
  assert.ok(context.parametersSet())
  assert.ok(context.firstContextData().totalCoeffModulusBitCount() <= 109)

  const generator = new seal.KeyGenerator(context)
  const encryptor = new seal.Encryptor(context, generator.createPublicKey(), generator.secretKey())
  const weights = randomWeights(DEGREE, 12)
  const plain = new seal.Plaintext(DEGREE, DEGREE)
  const blob = Uint8Array.from(plain.saveToArray({ value: 0 }) as Uint8Array)
  const coefficients = new BigUint64Array(blob.buffer, 88)
  weights.forEach((w, i) => {
    coefficients[i] = BigInt.asUintN(20, BigInt(w))
  })
  plain.loadFromArray(context, blob)
  const cipher = new seal.Ciphertext()
  encryptor.encryptSymmetric(plain, cipher)
  const planes = (c: typeof cipher) => {
    const bytes = Uint8Array.from(c.saveToArray({ value: 0 }) as Uint8Array).slice(113)
    return Uint32Array.from(new BigUint64Array(bytes.buffer), Number)
  }
  const before = planes(cipher)
  new seal.Evaluator(context).multiplyPlain(cipher, plain, cipher)
  const expected = planes(cipher)

  Arena.with((arena) => {
    const transforms = new Transforms(arena)
    const signed = arena.alloc(4 * DEGREE)
    const polynomial = arena.alloc(POLYNOMIAL_BYTES)
    arena.u32(signed, DEGREE).set(weights)
    transforms.forwardSigned(signed, polynomial)
    PRIMES.forEach((p, i) => {
      const at = arena.alloc(4 * DEGREE)
      arena.u32(at, DEGREE).set(before.subarray(i * DEGREE, (i + 1) * DEGREE))
      transforms.forward(at, i)
      const [x, w] = [arena.u32(at, DEGREE), arena.u32(polynomial + 4 * DEGREE * i, DEGREE)]
      const scale = inverse(BigInt(DEGREE), BigInt(p))
      for (let n = 0; n < DEGREE; n++) x[n] = Number((((BigInt(x[n]) * BigInt(w[n])) % BigInt(p)) * scale) % BigInt(p))
      transforms.inverse(at, i)
      assert.deepEqual(arena.u32(at, DEGREE), expected.subarray(i * DEGREE, (i + 1) * DEGREE))
    })
  })
})
