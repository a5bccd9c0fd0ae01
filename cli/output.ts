/** What a person sees: tables and progress on a terminal, JSON for machines. */
import type { MinionnError } from '../protocol/errors.js'

/** Rows under headings, columns padded, numbers as given. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const all = [headings, ...rows.map((row) => row.map(String))]
  const widths = headings.map((_, c) => Math.max(...all.map((row) => row[c].length)))
  return all
    .map((row) =>
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`
  if (count < 1e6) return `${(count / 1e3).toFixed(1)} kB`
  return count < 1e9 ? `${(count / 1e6).toFixed(2)} MB` : `${(count / 1e9).toFixed(2)} GB`
}

export function seconds(value: number): string {
  return value < 0.1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(2)} s`
}

/** A line on stderr that is rewritten as work goes on; silent where stderr is no terminal. */
export class ProgressLine {
  #shown = ''

  update(what: string, done: number, total: number): void {
    if (!process.stderr.isTTY) return
    const share = Math.min(1, done / total)
    const filled = Math.round(share * 24)
    const line = `${what} [${'#'.repeat(filled)}${'.'.repeat(24 - filled)}] ${Math.floor(share * 100)}%`
    if (line === this.#shown) return
    this.#shown = line
    process.stderr.write(`\r\x1b[K${line}`)
  }

  clear(): void {
    if (this.#shown !== '') process.stderr.write('\r\x1b[K')
    this.#shown = ''
  }
}

export function printError(error: MinionnError, json: boolean): void {
  if (json) console.error(JSON.stringify({ error: { code: error.code, message: error.message } }))
  else console.error(`error: ${error.message}`)
}
