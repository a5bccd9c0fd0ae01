import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { readInputs } from '../../daemon/input-file.js'
import type { Plan } from '../../protocol/model/plan.js'
import { tensorProto } from '../helpers/onnx-builder.js'

const grey = {
  input: { shape: [1, 2, 3], scale: 1, low: -9, high: 9 },
  card: {
    input: { kind: 'image', mode: 'grayscale', size: [2, 3], scale: 1 / 255, mean: [0.5], std: [0.25] },
    reveal: 'outputs',
  },
} as unknown as Plan
const colour = {
  input: { shape: [3, 1, 2] },
  card: { input: { kind: 'image', mode: 'rgb', size: [1, 2], scale: 1 }, reveal: 'outputs' },
} as unknown as Plan
const tensor = { input: { shape: [4] }, card: { input: { kind: 'tensor', range: [-9, 9] } } } as unknown as Plan

const png = (data: number[], width: number, height: number, channels: 1 | 3 | 4) =>
  sharp(Uint8Array.from(data), { raw: { width, height, channels } })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .png()
    .toBuffer()

function npy(type: string, shape: string, body: Uint8Array): Uint8Array {
  const header = `${`{'descr': '${type}', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117)}\n`
  return Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    Uint8Array.of(header.length, 0),
    Buffer.from(header, 'latin1'),
    body,
  ])
}

test('images by the card: grey, colour in CHW order, alpha dropped, grey for colour', async () => {
  const [row] = await readInputs('a.png', await png([0, 51, 102, 153, 204, 255], 3, 2, 1), grey)
  assert.deepEqual(
    [...row].map((v) => Math.round(v * 1000)),
    [-2000, -1200, -400, 400, 1200, 2000],
  )
  const [rgb] = await readInputs('b.PNG', await png([1, 2, 3, 4, 5, 6], 2, 1, 3), colour)
  assert.deepEqual([...rgb], [1, 4, 2, 5, 3, 6])
  const [alpha] = await readInputs('b.png', await png([1, 2, 3, 255, 4, 5, 6, 255], 2, 1, 4), colour)
  assert.deepEqual([...alpha], [1, 4, 2, 5, 3, 6])
  const [spread] = await readInputs('c.png', await png([7, 8], 2, 1, 1), colour)
  assert.deepEqual([...spread], [7, 8, 7, 8, 7, 8])
})

test('tensors: .npy, .json, .f32 and TensorProto, one row or a batch', async () => {
  const floats = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8)
  const body = new Uint8Array(floats.buffer)
  const expected = [Float64Array.of(1, 2, 3, 4), Float64Array.of(5, 6, 7, 8)]
  assert.deepEqual(await readInputs('a.f32', body, tensor), expected)
  assert.deepEqual(await readInputs('a.json', Buffer.from('[[1,2,3,4],[5,6,7,8]]'), tensor), expected)
  assert.deepEqual(await readInputs('a.npy', npy('<f4', '2, 4', body), tensor), expected)
  assert.deepEqual(await readInputs('a.npy', npy('|u1', '4,', Uint8Array.of(1, 2, 3, 4)), tensor), [expected[0]])
  assert.deepEqual(await readInputs('a.tensor', tensorProto([2, 4], [...floats]), tensor), expected)
})

test('wrong inputs are refused by name, with what was expected', async () => {
  const cases: [string, Uint8Array, Plan, RegExp][] = [
    ['a.png', Buffer.from('not an image'), grey, /a\.png: it is not a PNG or JPEG/],
    ['a.png', new Uint8Array(0), grey, /empty/],
    ['a.png', await png([1, 2], 2, 1, 1), grey, /2x1; the model takes 3x2/],
    ['a.png', await png([1, 2], 2, 1, 1), tensor, /takes a tensor/],
    ['a.gif', Uint8Array.of(1), grey, /"\.gif" is not known/],
    ['a.json', Buffer.from('[1,2'), tensor, /not JSON/],
    ['a.json', Buffer.from('[1,"2"]'), tensor, /holds string/],
    ['a.json', Buffer.from('[1,2,3]'), tensor, /3 values .*4 values/],
    ['a.f32', Uint8Array.of(1, 2, 3), tensor, /multiple of 4/],
    ['a.f32', new Uint8Array(Float32Array.of(1, Number.NaN, 3, 4).buffer), tensor, /position 1 is NaN/],
    ['a.npy', npy('<f4', '4,', new Uint8Array(8)), tensor, /cut off/],
    ['a.npy', npy('<c8', '4,', new Uint8Array(32)), tensor, /type <c8/],
    ['a.tensor', Uint8Array.of(255, 255), tensor, /does not parse/],
  ]
  for (const [name, bytes, plan, message] of cases) {
    await assert.rejects(readInputs(name, bytes, plan), { code: 'BAD_INPUT', message }, String(message))
  }
})
