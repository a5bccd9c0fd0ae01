import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { HashKeys } from '../../protocol/garbling/hash.js'
import { Prg, ReadAhead } from '../../protocol/random.js'
import { baseOtReceive, baseOtSend } from '../../protocol/transfer/base-ot.js'
import { setupEvaluator, setupGarbler } from '../../protocol/transfer/ot-pair.js'
import { choose, offer, receiveSelected, selectionBytes } from '../../protocol/transfer/selection.js'
import { correctionBytes, OtReceiver, OtSender } from '../../protocol/transfer/softspoken.js'
import { memoryChannels } from '../../protocol/wire/channel.js'
import { Frames, FrameType, HEADER_BYTES } from '../../protocol/wire/frames.js'

function framePair(): [Frames, Frames] {
  const [a, b] = memoryChannels()
  return [new Frames(a), new Frames(b)]
}

test('base OT: the receiver learns the key of its choice and not the other', async () => {
  const [a, b] = framePair()
  const choices = [0, 1, 1, 0, 1]
  const [pairs, keys] = await Promise.all([baseOtSend(a, choices.length), baseOtReceive(b, choices)])
  choices.forEach((choice, i) => {
    assert.deepEqual(Buffer.from(keys[i]), Buffer.from(pairs[i][choice]))
    assert.notDeepEqual(Buffer.from(keys[i]), Buffer.from(pairs[i][1 - choice]))
  })
})

test("base OT: points that are not on the curve, and the sender's own, are refused", async () => {
  for (const reply of [
    () => new Uint8Array(65).fill(255),
    () => new Uint8Array(65),
    (own: Uint8Array) => Uint8Array.from(own, (byte, i) => (i === 64 ? byte ^ 1 : byte)),
    (own: Uint8Array) => own,
  ]) {
    const [a, b] = framePair()
    const sending = baseOtSend(a, 1)
    const own = await b.receive(2, 65)
    await b.send(2, reply(own))
    await assert.rejects(sending, { code: 'BAD_PEER', message: /point of P-256/ })
    const [c, d] = framePair()
    const receiving = baseOtReceive(d, [1])
    await c.send(2, new Uint8Array(65).fill(4))
    await assert.rejects(receiving, { code: 'BAD_PEER' })
  }
})

test('SoftSpoken: receiver row = sender row xor choice * delta, over several batches', async () => {
  const [a, b] = framePair()
  const [sender, receiver] = await Promise.all([OtSender.setup(a), OtReceiver.setup(b)])
  assert.equal(sender.delta[0] & 1, 1)
  for (const count of [128, 1280, 256]) {
    const choices = new Uint32Array(new Uint8Array(randomBytes(count / 8)).buffer)
    const labels = new Uint32Array(4 * count)
    const zero = new Uint32Array(4 * count)
    const correction = receiver.extend(count, choices, labels)
    assert.equal(correction.length, correctionBytes(count))
    assert.equal(correctionBytes(count), count * 4)
    sender.extend(count, correction, zero)
    for (let i = 0; i < count; i++) {
      const choice = (choices[i >>> 5] >>> (i & 31)) & 1
      for (let w = 0; w < 4; w++) {
        assert.equal(labels[i * 4 + w], (zero[i * 4 + w] ^ (choice ? sender.delta[w] : 0)) >>> 0)
      }
    }
  }
})

test('selection: shares of q h for a bit that is shared by colour and permute bit, with base OTs made once', async () => {
  const [a, b] = framePair()
  const [garbler, evaluator] = await Promise.all([setupGarbler(a), setupEvaluator(b)])
  const seed = randomBytes(16)
  const [ours, theirs] = [new HashKeys(new Prg(seed)), new HashKeys(new Prg(seed))]
  for (const [count, ring] of [
    [1, 32],
    [5000, 19],
    [300, 2],
  ]) {
    const permute = randomBytes(count).map((v) => v & 1)
    const colours = randomBytes(count).map((v) => v & 1)
    const values = new Uint32Array(new Uint8Array(randomBytes(4 * count)).buffer)
    const before = [a.sent, b.sent]
    const [own, other] = await Promise.all([
      (async () => {
        const chosen = await choose(a, garbler.backward, ours, permute)
        return await receiveSelected(a, chosen, permute, ring)
      })(),
      (async () => {
        const { shares, elements } = await offer(b, evaluator.backward, theirs, colours, values, ring)
        await b.send(FrameType.selections, elements)
        return shares
      })(),
    ])
    const { up, down } = selectionBytes(count, ring)
    assert.equal(a.sent - before[0], down + HEADER_BYTES)
    assert.equal(b.sent - before[1], up + HEADER_BYTES)
    values.forEach((h, i) => {
      const want = (permute[i] ^ colours[i] ? h : 0) % 2 ** ring
      assert.equal(((own[i] + other[i]) >>> 0) % 2 ** ring, want)
    })
  }
})

test('streams read ahead yield the bytes of their generator, whatever the sizes of the reads', () => {
  const seed = new Uint8Array(16).fill(5)
  const sizes = [0, 1, 16, 4095, 4096, 4097, 3, 20_000, 100, 8192, 4000, 96, 1]
  const all = new Prg(seed).bytes(sizes.reduce((sum, size) => sum + size, 0))
  const ahead = new ReadAhead(new Prg(seed))
  let at = 0
  for (const size of sizes) {
    const out = new Uint8Array(size)
    ahead.into(out)
    assert.deepEqual(out, all.subarray(at, at + size))
    at += size
  }
})
