/** config.yaml in the repo. Flags of `minionn daemon` come before it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { MinionnError } from '../protocol/errors.js'
import { ENGINES } from '../protocol/homomorphic/engine.js'

const configSchema = z.strictObject({
  /** Multiaddrs to listen on; port 0 takes a free one. */
  listen: z.array(z.string().startsWith('/')).default(['/ip4/127.0.0.1/tcp/0']),
  /** What this node's own bundles are prepared with; hosts answer to both. */
  engine: z.enum(ENGINES).default('lattice'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
})

export type Config = z.infer<typeof configSchema>

const path = (folder: string) => join(folder, 'config.yaml')

export function parseConfig(text: string, name: string): Config {
  let raw: unknown
  try {
    raw = parse(text) ?? {}
  } catch (cause) {
    throw new MinionnError('BAD_INPUT', `${name} is not YAML: ${(cause as Error).message}`, { cause })
  }
  const parsed = configSchema.safeParse(raw)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new MinionnError('BAD_INPUT', `${name} is wrong at "${issue.path.join('.') || 'top level'}": ${issue.message}`)
}

export function readConfig(folder: string): Config {
  return parseConfig(existsSync(path(folder)) ? readFileSync(path(folder), 'utf8') : '', path(folder))
}

export function writeConfig(folder: string, config: Config): void {
  writeFileSync(path(folder), stringify(config), { mode: 0o600 })
}
