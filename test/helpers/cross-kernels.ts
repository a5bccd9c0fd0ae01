/** Kernels crossed with their twins on one memory image. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Arena, type Kernels, useKernels } from '../../protocol/kernels/arena.js'
import { scalarKernels } from '../twins/scalar-kernels.js'

/** Runs `work` on kernels and on twins over the same memory image and compares the image, or its part from `from`. */
export function cross(
  name: string,
  bytes: number,
  fill: (memory: Uint8Array) => void,
  work: (run: Kernels, at: number) => void,
  from = 0,
): void {
  const start = new Uint8Array(bytes)
  fill(start)
  const images = [undefined, scalarKernels].map((factory) => {
    useKernels(factory)
    return Arena.with((arena) => {
      const at = arena.alloc(bytes)
      arena.u8(at, bytes).set(start)
      work(arena.run, at)
      return arena.u8(at + from, bytes - from).slice()
    })
  })
  useKernels(undefined)
  assert.deepEqual(images[0], images[1], name)
}

export const fills: [string, (memory: Uint8Array) => void][] = [
  ['random', (memory) => memory.set(randomBytes(memory.length))],
  ['zeros', (memory) => memory.fill(0)],
  ['ones', (memory) => memory.fill(255)],
  [
    'high bits',
    (memory) =>
      memory.forEach((_, i) => {
        memory[i] = i % 4 === 3 ? 0x80 : 0
      }),
  ],
]
