import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { MODULUS, mod, PRIMES, power, primitiveRoot, shoup, Transforms } from '../../protocol/homomorphic/lattice.js'
import { DEGREE } from '../../protocol/homomorphic/packing.js'
import { Arena } from '../../protocol/kernels/arena.js'
import { cross, fills } from '../helpers/cross-kernels.js'

const word = (v: bigint) => Number(BigInt.asUintN(32, v))
const one = (p: number) => Math.floor(2 ** 32 / p)

/** An image whose first words are below a bound. */
const below =
  (fill: (memory: Uint8Array) => void, words: number, bound: number) =>
  (memory: Uint8Array): void => {
    fill(memory)
    const values = new Uint32Array(memory.buffer, 0, words)
    values.forEach((v, i) => {
      values[i] = v % bound
    })
  }

/** An image whose words are small signed numbers from word `from` on. */
const smallFrom =
  (image: (memory: Uint8Array) => void, from: number) =>
  (memory: Uint8Array): void => {
    image(memory)
    const values = new Int32Array(memory.buffer, 4 * from)
    values.forEach((v, i) => {
      values[i] = v % 22
    })
  }

test('the primes are the four that the security analysis names', () => {
  assert.ok(MODULUS < 1n << 109n && MODULUS > (1n << 109n) - (1n << 99n))
  for (const p of PRIMES) {
    assert.ok(p < 2 ** 28 && p % (2 * DEGREE) === 1)
    for (let d = 2; d * d <= p; d++) assert.notEqual(p % d, 0)
    assert.equal(power(primitiveRoot(BigInt(p)), BigInt(DEGREE), BigInt(p)), BigInt(p) - 1n)
  }
})

test('transforms equal the textbook ones, and undo each other', () => {
  Arena.with((tables) => {
    // The tables are the same in every arena: taken from one, laid into the image of both.
    const mark = tables.mark()
    new Transforms(tables)
    PRIMES.forEach((p, i) => {
      const size = 4 * DEGREE
      const from = mark + 4 * i * size
      const copy = (n: number) => tables.u8(from + n * size, size).slice()
      for (const [name, fill] of fills) {
        for (const [direction, bound] of [
          ['nttForward', 4 * p],
          ['nttInverse', 2 * p],
        ] as const) {
          const first = direction === 'nttForward' ? 0 : 2
          const image = (memory: Uint8Array) => {
            below(fill, DEGREE, bound)(memory)
            memory.set(copy(first), size)
            memory.set(copy(first + 1), 2 * size)
          }
          cross(`${direction} ${name}`, 3 * size, image, (run, at) => run[direction](at, at + size, at + 2 * size, p))
        }
      }
    })
  })
  Arena.with((arena) => {
    const transforms = new Transforms(arena)
    const at = arena.alloc(4 * DEGREE)
    PRIMES.forEach((p, i) => {
      const values = new Uint32Array(new Uint8Array(randomBytes(4 * DEGREE)).buffer).map((v) => v % p)
      arena.u32(at, DEGREE).set(values)
      transforms.forward(at, i)
      transforms.inverse(at, i)
      assert.deepEqual(
        arena.u32(at, DEGREE),
        values.map((v) => Number((BigInt(v) * BigInt(DEGREE)) % BigInt(p))),
      )
    })
  })
})

test('arithmetic modulo the primes equals its twins', () => {
  const n = 24
  for (const p of PRIMES) {
    const prime = BigInt(p)
    for (const [name, fill] of fills) {
      const residues = below(fill, 4 * n, p)
      cross(`residues ${name}`, 8 * n, fill, (run, at) => run.residues(at, at + 4 * n, n, p, one(p)))
      cross(`add ${name}`, 8 * n, below(fill, 2 * n, p), (run, at) => run.addResidues(at, at + 4 * n, n, p))
      const withQuotients = (memory: Uint8Array) => {
        residues(memory)
        const values = new Uint32Array(memory.buffer)
        for (let i = 0; i < n; i++) values[3 * n + i] = word(shoup(BigInt(values[2 * n + i]), prime))
      }
      cross(`subtract products ${name}`, 16 * n, withQuotients, (run, at) =>
        run.subtractProducts(at, at + 4 * n, at + 8 * n, at + 12 * n, n, p),
      )
      cross(`multiply ${name}`, 16 * n, withQuotients, (run, at) => run.multiplyBy(at, at + 8 * n, at + 12 * n, n, p))
      cross(`scaled noise ${name}`, 8 * n, smallFrom(below(fill, n, p), n), (run, at) =>
        run.addScaledNoise(at, at + 4 * n, n, p, p - 2, word(shoup(prime - 2n, prime))),
      )
      for (const k of [2, 20, 31, 32]) {
        const factor = (MODULUS >> BigInt(k)) % prime
        const messages = (memory: Uint8Array) => {
          smallFrom(fill, n)(memory)
          const values = new Uint32Array(memory.buffer, 0, n)
          values.forEach((v, i) => {
            values[i] = v % 2 ** k
          })
        }
        cross(`scale ${k} ${name}`, 12 * n, messages, (run, at) =>
          run.scaleMessages(
            at,
            at + 4 * n,
            at + 8 * n,
            n,
            k,
            word(MODULUS % (1n << BigInt(k))),
            p,
            word(factor),
            word(shoup(factor, prime)),
            one(p),
          ),
        )
      }
      for (const bits of [12, 30, 42, 44]) {
        const constants = Uint32Array.from(
          [
            prime,
            (1n << 32n) / prime,
            (1n << 32n) % prime,
            shoup((1n << 32n) % prime, prime),
            mod(-(1n << 44n), prime),
          ].map(word),
        )
        const image = (memory: Uint8Array) => {
          fill(memory)
          memory.set(new Uint8Array(constants.buffer))
          const values = new BigUint64Array(memory.buffer, 32, n)
          values.forEach((v, i) => {
            values[i] = BigInt.asUintN(bits, v)
          })
        }
        cross(`centre ${bits} ${name}`, 32 + 12 * n, image, (run, at) =>
          run.centredResidues(at + 32, at + 32 + 8 * n, n, bits, at),
        )
      }
    }
  }
})

test('sums of products equal their twin, up to the most that fit', () => {
  const tile = 512 * 4
  for (const p of PRIMES) {
    const prime = BigInt(p)
    const inverse = power(prime, (1n << 31n) - 1n, 1n << 32n)
    const constants = Uint32Array.from([prime, (1n << 32n) - inverse, 12345n, shoup(12345n, prime)].map(word))
    for (const terms of [0, 1, 2, 5, 255]) {
      const polynomials = Math.min(terms, 7)
      const end = 3 * tile * polynomials
      const lists = end + 16
      const scratch = lists + 2048
      const out = scratch + 8192
      const image = (memory: Uint8Array) => {
        memory.set(randomBytes(memory.length))
        const values = new Uint32Array(memory.buffer, 0, end / 4)
        values.forEach((v, i) => {
          // All at the largest residue where the sum is the largest.
          values[i] = terms === 255 ? p - 1 : v % p
        })
        memory.set(new Uint8Array(constants.buffer), end)
        const addresses = new Uint32Array(memory.buffer, lists, 512)
        for (let n = 0; n < terms; n++) {
          addresses[n] = 3 * tile * (n % polynomials)
          addresses[256 + n] = addresses[n] + tile
        }
      }
      cross(
        `sum of ${terms}`,
        out + 2 * tile,
        image,
        (run, at) =>
          run.sumOfProducts(
            at + out,
            at + out + tile,
            at + lists,
            at,
            at + lists + 1024,
            at,
            terms,
            at + end,
            at + scratch,
          ),
        out,
      )
    }
  }
})

test('samplers and the bits of responses equal their twins', () => {
  const n = 40
  for (const [name, fill] of fills) {
    cross(`binomial ${name}`, 12 * n, fill, (run, at) => run.binomial(at, at + 8 * n, n))
    // As many values are kept as are drawn where `want` is small: none lies behind them then.
    for (const want of [1, 3]) {
      const made: number[] = []
      const usable = (memory: Uint8Array) => {
        fill(memory)
        memory.forEach((v, i) => {
          memory[i] = name === 'random' ? v : v & 0x7f
        })
      }
      cross(`ternary ${name}`, 4 * n + 80, usable, (run, at) => made.push(run.ternary(at + 4 * n, 80, at, want)))
      cross(`uniform ${name}`, 8 * n, usable, (run, at) => made.push(run.uniform(at + 4 * n, n, at, want, PRIMES[0])))
      assert.deepEqual(made, [want, want, want, want])
    }
    for (const bound of [1, 2 ** 31, 4294967295]) {
      const answers: number[] = []
      cross(`below ${name}`, 4 * n, fill, (run, at) => answers.push(run.allBelow(at, n, bound)))
      assert.equal(answers[0], answers[1])
    }
    const scales = BigUint64Array.from(
      PRIMES.flatMap((p) => {
        const scale = (1n << 96n) / BigInt(p)
        return [scale >> 32n, scale & 0xffffffffn]
      }),
    )
    const planes = 4 * 4 * DEGREE
    const image = (memory: Uint8Array) => {
      below(fill, 4 * DEGREE, PRIMES[3])(memory)
      memory.set(new Uint8Array(scales.buffer), planes)
      const at = new Uint32Array(memory.buffer, planes + 64, n)
      at.forEach((_, i) => {
        at[i] = (i * 1009) % DEGREE
      })
    }
    for (const drop of [22, 41, 61]) {
      for (const listed of [true, false]) {
        cross(`fractions ${drop} ${name}`, planes + 64 + 12 * n, image, (run, at) =>
          run.fractions(at, 4, at + planes, listed ? at + planes + 64 : 0, n, drop, at + planes + 64 + 4 * n),
        )
      }
    }
    for (const ring of [2, 27, 32]) {
      const prime = BigInt(PRIMES[2])
      const k = BigInt(ring)
      const flood = Math.min(105 - ring, 95)
      const constants = BigUint64Array.of(
        prime,
        (MODULUS >> k) % prime,
        MODULUS % (1n << k),
        mod(-(1n << BigInt(flood)), prime),
        (1n << 32n) % prime,
        (1n << 64n) % prime,
        77n,
        k,
      )
      const masked = (memory: Uint8Array) => {
        below(fill, DEGREE, PRIMES[2])(memory)
        memory.set(new Uint8Array(constants.buffer), 4 * DEGREE)
        const lists = new Uint32Array(memory.buffer, 4 * DEGREE + 64, 2 * n)
        for (let i = 0; i < n; i++) {
          lists[i] = (i * 1009) % DEGREE
          lists[n + i] %= 2 ** ring
        }
      }
      const lists = 4 * DEGREE + 64
      cross(`mask ${ring} ${name}`, lists + 20 * n, masked, (run, at) =>
        run.maskResponses(at, at + lists, at + lists + 4 * n, at + lists + 8 * n, n, flood + 1, at + 4 * DEGREE),
      )
      const [p0, p1] = PRIMES.slice(0, 2).map(BigInt)
      const decrypt = BigUint64Array.of(p0, p1, 3n, 5n, power(p0, p1 - 2n, p1))
      const response = (memory: Uint8Array) => {
        below(fill, 2 * DEGREE, PRIMES[1])(memory)
        memory.set(new Uint8Array(decrypt.buffer), 8 * DEGREE)
        const at = new Uint32Array(memory.buffer, 8 * DEGREE + 48, n)
        at.forEach((_, i) => {
          at[i] = (i * 1009) % DEGREE
        })
        const c0 = new BigUint64Array(memory.buffer, 8 * DEGREE + 48 + 4 * n, n)
        c0.forEach((v, i) => {
          c0[i] = BigInt.asUintN(ring + 3, v)
        })
      }
      const from = 8 * DEGREE + 48
      cross(`decrypt ${ring} ${name}`, from + 16 * n, response, (run, at) =>
        run.decryptAt(
          at,
          at + 4 * DEGREE,
          at + from + 4 * n,
          at + from,
          n,
          ring,
          ring + 10,
          3,
          at + from + 12 * n,
          at + 8 * DEGREE,
        ),
      )
    }
  }
})
