import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'
import { bulkCrypto } from '../../daemon/noise-crypto.js'

type Bytes = Parameters<typeof bulkCrypto.chaCha20Poly1305Encrypt>[0]

const nonce = Uint8Array.from({ length: 12 }, (_, i) => i)
const associated = Uint8Array.of(1, 2, 3)

/** The same bytes, cut in three parts. */
const inParts = (bytes: Uint8Array) =>
  new Uint8ArrayList(bytes.subarray(0, 5), bytes.subarray(5, 700), bytes.subarray(700)) as unknown as Bytes

describe('the bulk ciphers of Noise', () => {
  for (const size of [0, 1, 1199, 1200, 1201, 65_519]) {
    test(`a message of ${size} bytes is what libp2p-noise's own back end makes and reads, in one part or in several`, () => {
      const key = randomBytes(32)
      const plaintext = randomBytes(size)
      const expected = Buffer.from(defaultCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, associated, key).subarray())
      for (const form of [plaintext, inParts(plaintext)]) {
        const ours = bulkCrypto.chaCha20Poly1305Encrypt(form, nonce, associated, key)
        assert.ok(expected.equals(ours.subarray()))
      }
      for (const form of [Uint8Array.from(expected), inParts(Uint8Array.from(expected))]) {
        const ours = bulkCrypto.chaCha20Poly1305Decrypt(form, nonce, associated, key)
        assert.ok(plaintext.equals(ours.subarray()))
      }
    })
  }

  test('a message with one bit changed is refused', () => {
    const key = randomBytes(32)
    const message = Uint8Array.from(
      bulkCrypto.chaCha20Poly1305Encrypt(new Uint8Array(5000), nonce, associated, key).subarray(),
    )
    message[4000] ^= 1
    assert.throws(() => bulkCrypto.chaCha20Poly1305Decrypt(message, nonce, associated, key))
  })
})
