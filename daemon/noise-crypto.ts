/**
 * The ciphers of Noise for bulk data on node:crypto. Same algorithms as libp2p-noise's own back end, but a key
 * object is made once a key instead of once a message, and a message is enciphered in one piece, however many parts yamux hands
 * over.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import type { ICryptoInterface } from '@chainsafe/libp2p-noise'
import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
/** Below this libp2p-noise's WebAssembly back end is faster than a call into OpenSSL. */
const SMALL_MESSAGE_BYTES = 1200
/** Noise specification, section 3: a message has at most 65535 bytes. */
const MAX_MESSAGE_BYTES = 65535

const keyObjects = new WeakMap<Uint8Array, KeyObject>()
function keyObject(key: Uint8Array): KeyObject {
  let object = keyObjects.get(key)
  if (object === undefined) {
    object = createSecretKey(key)
    keyObjects.set(key, object)
  }
  return object
}

/** libp2p-noise carries an older copy of Uint8ArrayList, the same at run time, another type to the compiler. */
type Bytes = Parameters<ICryptoInterface['chaCha20Poly1305Encrypt']>[0]

const scratch = new Uint8Array(MAX_MESSAGE_BYTES)
/** The bytes in one piece, valid until the next call. */
function contiguous(bytes: Bytes): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes
  if (bytes.byteLength > MAX_MESSAGE_BYTES) return bytes.subarray()
  let at = 0
  for (const part of bytes) {
    scratch.set(part, at)
    at += part.byteLength
  }
  return scratch.subarray(0, at)
}

export const bulkCrypto: ICryptoInterface = {
  ...defaultCrypto,

  chaCha20Poly1305Encrypt(plaintext, nonce, ad, key) {
    if (plaintext.byteLength < SMALL_MESSAGE_BYTES) {
      return defaultCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key)
    }
    const cipher = createCipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
    const ciphertext = cipher.update(contiguous(plaintext))
    cipher.final()
    return new Uint8ArrayList(ciphertext, cipher.getAuthTag()) as unknown as Bytes
  },

  chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key, destination) {
    if (ciphertext.byteLength < SMALL_MESSAGE_BYTES) {
      return defaultCrypto.chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key, destination)
    }
    const all = contiguous(ciphertext)
    const end = all.byteLength - TAG_BYTES
    const decipher = createDecipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(ad, { plaintextLength: end })
    decipher.setAuthTag(all.subarray(end))
    const plaintext = decipher.update(all.subarray(0, end))
    // Throws where the tag does not match; the plaintext is not handed on then.
    decipher.final()
    return plaintext
  },
}
