/**
 * Two's complement arithmetic on wires, least significant first. One AND per carry
 * (Kolesnikov, Sadeghi, Schneider, CANS 2009, section 3).
 */
import { type CircuitBuilder, type Wire, ZERO } from './builder.js'

/** (a + b) mod 2^n for n-bit a and b, and the carry into bit `at`: n - 1 ANDs. */
export function addWithCarry(
  c: CircuitBuilder,
  a: readonly Wire[],
  b: readonly Wire[],
  at: number,
): { sum: Wire[]; carry: Wire } {
  const sum: Wire[] = []
  let carry = ZERO
  let wanted = ZERO
  for (let i = 0; i < a.length; i++) {
    if (i === at) wanted = carry
    if (i === a.length - 1) {
      sum.push(c.xor(c.xor(a[i], carry), b[i]))
      continue
    }
    const bit = c.fullAdder(a[i], b[i], carry)
    sum.push(bit.sum)
    carry = bit.carry
  }
  return { sum, carry: wanted }
}

/** (a + b) mod 2^n for n-bit a and b: n - 1 ANDs. */
export function add(c: CircuitBuilder, a: readonly Wire[], b: readonly Wire[]): Wire[] {
  return addWithCarry(c, a, b, 0).sum
}

/** 1 when a > b as signed n-bit numbers: n ANDs. */
export function greater(c: CircuitBuilder, a: readonly Wire[], b: readonly Wire[]): Wire {
  // The borrow out of b - a, with the sign bits exchanged, which turns signed order into unsigned.
  const top = a.length - 1
  let borrow: Wire = ZERO
  for (let i = 0; i < a.length; i++) {
    const [x, y] = i === top ? [b[i], a[i]] : [a[i], b[i]]
    // borrow = majority(x, not y, borrow)
    borrow = c.fullAdder(x, c.not(y), borrow).carry
  }
  return borrow
}

/** The larger of two signed n-bit numbers: 2n ANDs. */
export function maximum(c: CircuitBuilder, a: readonly Wire[], b: readonly Wire[]): Wire[] {
  const select = greater(c, a, b)
  return a.map((wire, i) => c.mux(select, wire, b[i]))
}

/** OR of all wires. */
export function any(c: CircuitBuilder, wires: readonly Wire[]): Wire {
  return wires.reduce((left, right) => c.or(left, right), ZERO)
}
