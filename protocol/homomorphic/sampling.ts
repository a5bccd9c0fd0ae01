/** Random polynomials in an arena, from AES-128-CTR streams under seeds of node:crypto. */
import type { Arena } from '../kernels/arena.js'
import type { Prg } from '../random.js'
import { PLANE_BYTES, PRIMES } from './lattice.js'
import { DEGREE } from './packing.js'

/** Bytes drawn at once for a ternary polynomial, and words for a uniform one: nearly always enough, and drawn again where not. */
const TERNARY_BYTES = DEGREE + 128
const UNIFORM_WORDS = 4608

/** Scratch bytes that the samplers need. */
export const SAMPLING_BYTES = DEGREE * 8

function fill(
  arena: Arena,
  prg: Prg,
  scratch: number,
  bytes: number,
  draw: (done: number, want: number) => number,
): void {
  for (let done = 0; done < DEGREE; ) {
    prg.into(arena.u8(scratch, bytes))
    done += draw(done, DEGREE - done)
  }
}

/** DEGREE uniform signed values of -1, 0, 1. */
export function sampleTernary(arena: Arena, prg: Prg, scratch: number, out: number): void {
  fill(arena, prg, scratch, TERNARY_BYTES, (done, want) =>
    arena.run.ternary(scratch, TERNARY_BYTES, out + 4 * done, want),
  )
}

/** DEGREE signed values of the centred binomial distribution of 2 x 21 coins: standard deviation 3.24, as SEAL's. */
export function sampleNoise(arena: Arena, prg: Prg, scratch: number, out: number): void {
  prg.into(arena.u8(scratch, DEGREE * 8))
  arena.run.binomial(scratch, out, DEGREE)
}

/** A polynomial uniform modulo Q; the same stream yields the same on both sides. */
export function sampleUniform(arena: Arena, prg: Prg, scratch: number, polynomial: number): void {
  PRIMES.forEach((p, i) => {
    const plane = polynomial + i * PLANE_BYTES
    fill(arena, prg, scratch, UNIFORM_WORDS * 4, (done, want) =>
      arena.run.uniform(scratch, UNIFORM_WORDS, plane + 4 * done, want, p),
    )
  })
}
