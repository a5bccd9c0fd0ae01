/** One node of the graph, with checked access to its attributes. */
import { MinionnError } from '../../errors.js'
import type { OnnxNode } from '../onnx.js'

/** A node under translation, with checked access to its attributes. */
export class NodeReader {
  readonly node: OnnxNode
  readonly #used = new Set<string>()

  constructor(node: OnnxNode) {
    this.node = node
  }

  fail(problem: string): never {
    throw new MinionnError('BAD_MODEL', `node "${this.node.name}" (${this.node.op}): ${problem}`)
  }

  ints(name: string, fallback: readonly number[]): readonly number[] {
    this.#used.add(name)
    const value = this.node.attributes.get(name)
    if (value === undefined) return fallback
    if (!Array.isArray(value)) this.fail(`attribute ${name} is not a list of integers`)
    return value as readonly number[]
  }

  pair(name: string, fallback: readonly [number, number]): readonly [number, number] {
    const given = this.ints(name, fallback)
    // Along a line: an image of one row.
    const value = given.length === 1 ? [1, ...given] : given
    if (value.length !== 2 || value.some((v) => v < 1)) {
      this.fail(
        `attribute ${name} is [${value}]; one or two positive numbers are expected: only lines and images are supported`,
      )
    }
    return [value[0], value[1]]
  }

  number(name: string, fallback: number): number {
    this.#used.add(name)
    const value = this.node.attributes.get(name) ?? fallback
    if (typeof value !== 'number') this.fail(`attribute ${name} is not a number`)
    return value
  }

  string(name: string, fallback: string): string {
    this.#used.add(name)
    const value = this.node.attributes.get(name) ?? fallback
    if (typeof value !== 'string') this.fail(`attribute ${name} is not a string`)
    return value
  }

  strings(name: string, fallback: readonly string[]): readonly string[] {
    this.#used.add(name)
    const value = this.node.attributes.get(name) ?? fallback
    if (!Array.isArray(value) || value.some((v) => typeof v !== 'string'))
      this.fail(`attribute ${name} is no list of names`)
    return value as string[]
  }

  has(name: string): boolean {
    return this.node.attributes.has(name)
  }

  /** Declares attributes that change nothing here. */
  ignore(...names: string[]): void {
    for (const name of names) this.#used.add(name)
  }

  /** Refuses attributes that nothing looked at. */
  finish(): void {
    for (const name of this.node.attributes.keys()) {
      if (!this.#used.has(name)) this.fail(`attribute ${name} is not supported; export the model without it`)
    }
  }
}
