/**
 * Hot loops over big arrays run as WebAssembly SIMD (kernels/assembly, AssemblyScript) on memories of their own. An Arena
 * is one such memory with a bump allocator; whoever holds it may use it across awaits, nobody else does.
 */
import { WASM_BASE64 } from './wasm.js'

/** What kernels/assembly exports; pointers are byte offsets into the arena's memory, 16-aligned. */
export interface Kernels {
  xorLabels(a: number, b: number, out: number, bytes: number): void
  garbleKeys(
    a: number,
    b: number,
    delta: number,
    na: number,
    nb: number,
    tweak: number,
    keys: number,
    bytes: number,
  ): void
  garbleCombine(
    a: number,
    b: number,
    delta: number,
    na: number,
    nb: number,
    keys: number,
    hash: number,
    table: number,
    out: number,
    bytes: number,
  ): void
  garbleAdderKeys(
    a: number,
    b: number,
    c: number,
    delta: number,
    na: number,
    nb: number,
    tweak: number,
    keys: number,
    bytes: number,
  ): void
  garbleAdderCombine(
    a: number,
    b: number,
    c: number,
    delta: number,
    na: number,
    nb: number,
    keys: number,
    hash: number,
    table: number,
    out: number,
    sum: number,
    bytes: number,
  ): void
  evaluateAdderKeys(a: number, b: number, c: number, tweak: number, keys: number, bytes: number): void
  evaluateAdderCombine(
    a: number,
    b: number,
    c: number,
    keys: number,
    hash: number,
    table: number,
    out: number,
    sum: number,
    bytes: number,
  ): void
  evaluateKeys(a: number, b: number, tweak: number, keys: number, bytes: number): void
  evaluateCombine(a: number, b: number, keys: number, hash: number, table: number, out: number, bytes: number): void
  activate(labels: number, bits: number, delta: number, count: number): void
  colours(labels: number, out: number, count: number, flip: number): void
  projectGarbler(
    labels: number,
    keys: number,
    hash: number,
    count: number,
    flip: number,
    weights: number,
    shares: number,
    corrections: number,
  ): void
  projectEvaluator(keys: number, hash: number, count: number, shares: number): void
  addChosen(shares: number, bits: number, corrections: number, count: number): void
  fold16(streams: number, rows: number, sum: number, bytes: number): void
  xorMasked(target: number, source: number, mask: number, bytes: number): void
  transpose128(rows: number, out: number, count: number): void
  convolvePlane(
    x: number,
    height: number,
    width: number,
    weights: number,
    kh: number,
    kw: number,
    out: number,
    outHeight: number,
    outWidth: number,
    sy: number,
    sx: number,
    padTop: number,
    padLeft: number,
    dy: number,
    dx: number,
  ): void
  matrixVector(weights: number, x: number, out: number, inputs: number, outputs: number): void
  expandBits(
    share: number,
    inputs: number,
    out: number,
    first: number,
    size: number,
    window: number,
    ring: number,
  ): void
  packBytes(bytes: number, packed: number, count: number): void
  packWords(words: number, packed: number, count: number, bits: number): void
  unpackWords(packed: number, words: number, count: number, bits: number): void
  unpackWide(packed: number, out: number, count: number, bits: number): void
  packWide(words: number, packed: number, count: number, bits: number, drop: number): void
  widen(words: number, count: number, drop: number, q: bigint): void
  addNoise(words: number, random: number, count: number, q: bigint): void
  maskResidues(
    words: number,
    at: number,
    masks: number,
    random: number,
    count: number,
    floodBits: number,
    constants: number,
  ): void
  nttForward(a: number, roots: number, shoup: number, prime: number): void
  nttInverse(a: number, roots: number, shoup: number, prime: number): void
  sumOfProducts(
    out0: number,
    out1: number,
    weights: number,
    weightOffset: number,
    inputs: number,
    inputOffset: number,
    n: number,
    constants: number,
    sums: number,
  ): void
  subtractProducts(x: number, a: number, s: number, shoup: number, count: number, prime: number): void
  residues(values: number, out: number, count: number, prime: number, one: number): void
  scaleMessages(
    messages: number,
    noise: number,
    out: number,
    count: number,
    k: number,
    low: number,
    prime: number,
    factor: number,
    factorShoup: number,
    one: number,
  ): void
  binomial(random: number, out: number, count: number): void
  ternary(random: number, count: number, out: number, want: number): number
  uniform(random: number, count: number, out: number, want: number, prime: number): number
  addScaledNoise(values: number, noise: number, count: number, prime: number, factor: number, shoup: number): void
  maskResponses(
    values: number,
    at: number,
    masks: number,
    random: number,
    count: number,
    floodBits: number,
    constants: number,
  ): void
  fractions(values: number, primes: number, scales: number, at: number, count: number, drop: number, out: number): void
  centredResidues(words: number, out: number, count: number, bits: number, constants: number): void
  multiplyBy(x: number, s: number, shoup: number, count: number, prime: number): void
  addResidues(x: number, y: number, count: number, prime: number): void
  allBelow(values: number, count: number, bound: number): number
  decryptAt(
    x0: number,
    x1: number,
    c0: number,
    at: number,
    count: number,
    k: number,
    b: number,
    c0Extra: number,
    out: number,
    constants: number,
  ): void
}

export type KernelFactory = (memory: WebAssembly.Memory) => Kernels

const PAGE = 65536
/** AssemblyScript keeps the lowest addresses for itself; these kernels have no static data. */
const BASE = 1024
/** Idle arenas that are kept. */
const MAX_IDLE = 8
/** Larger arenas are not kept: a memory never shrinks. */
const MAX_IDLE_BYTES = 64 * 1024 * 1024

let module_: WebAssembly.Module | undefined
const wasmKernels: KernelFactory = (memory) => {
  module_ ??= new WebAssembly.Module(Buffer.from(WASM_BASE64, 'base64'))
  return new WebAssembly.Instance(module_, { env: { memory } }).exports as unknown as Kernels
}

let factory = wasmKernels
const idle: Arena[] = []

/** Runs everything on another implementation, such as the twins in test/; undefined goes back to WebAssembly. */
export function useKernels(other: KernelFactory | undefined): void {
  factory = other ?? wasmKernels
  idle.length = 0
}

export class Arena {
  readonly #memory: WebAssembly.Memory
  readonly run: Kernels
  #top = BASE

  private constructor() {
    this.#memory = new WebAssembly.Memory({ initial: 16 })
    this.run = factory(this.#memory)
  }

  /** An empty arena, to be given back with release(). */
  static take(): Arena {
    const arena = idle.pop() ?? new Arena()
    arena.#top = BASE
    return arena
  }

  /** For synchronous work: takes an arena, runs, gives it back. */
  static with<T>(work: (arena: Arena) => T): T {
    const arena = Arena.take()
    try {
      return work(arena)
    } finally {
      arena.release()
    }
  }

  /** Gives the arena back; what it held may be overwritten. */
  release(): void {
    if (idle.length < MAX_IDLE && this.#memory.buffer.byteLength <= MAX_IDLE_BYTES) idle.push(this)
  }

  /** Uninitialised bytes, 16-aligned. Views made before may be detached: allocate first, then view. */
  alloc(bytes: number): number {
    const at = this.#top
    this.#top = (at + bytes + 15) & ~15
    const missing = this.#top - this.#memory.buffer.byteLength
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE))
    return at
  }

  /** What is allocated from here on goes with reset(). */
  mark(): number {
    return this.#top
  }

  reset(mark: number): void {
    this.#top = mark
  }

  /** Bytes of memory held. */
  get size(): number {
    return this.#memory.buffer.byteLength
  }

  u8(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, length)
  }

  u32(at: number, length: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, at, length)
  }
}
