/** Records of the paper's experiments in docs/paper: numbers as JSON, a table as text, plots, each with the command that made it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'

const FOLDER = 'docs/paper'

export const machine = () => `${cpus().length} x ${cpus()[0].model.trim()}, Node ${process.versions.node}`

/** Writes NAME.json, NAME.md and the plots, by their names. */
export function recordExperiment(
  name: string,
  command: string,
  data: object,
  text: string,
  plots: Readonly<Record<string, string>> = {},
): void {
  mkdirSync(FOLDER, { recursive: true })
  const date = new Date().toISOString().slice(0, 10)
  writeFileSync(
    `${FOLDER}/${name}.json`,
    `${JSON.stringify({ date, command, machine: machine(), ...data }, null, 2)}\n`,
  )
  for (const [plot, svg] of Object.entries(plots)) writeFileSync(`${FOLDER}/${plot}.svg`, svg)
  const shown = Object.keys(plots).map((plot) => `\n![${plot}](${plot}.svg)\n`)
  writeFileSync(
    `${FOLDER}/${name}.md`,
    `Made ${date} by \`${command}\` on ${machine()}.\n\n\`\`\`\n${text}\n\`\`\`\n${shown.join('')}`,
  )
}
