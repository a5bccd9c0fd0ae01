import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

/** Arrows of docs/ARCHITECTURE.md: what each room may import of the others; `types` only types. */
const ALLOWED: Record<string, Record<string, 'all' | 'types'>> = {
  protocol: {},
  storage: { protocol: 'types' },
  daemon: { storage: 'all', protocol: 'all' },
  cli: { daemon: 'all', storage: 'all', protocol: 'all' },
}
const ROOMS = Object.keys(ALLOWED)

test('rooms import only along the arrows', () => {
  let imports = 0
  for (const room of ROOMS) {
    for (const file of globSync(`${room}/**/*.ts`)) {
      const source = readFileSync(file, 'utf8')
      for (const [, kind, path] of source.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'/gms)) {
        const target = path.split('/').find((part) => part !== '.' && part !== '..')!
        if (!path.startsWith('..') || !ROOMS.includes(target) || target === room) continue
        imports++
        const allowed = ALLOWED[room][target]
        assert.ok(allowed !== undefined, `${file} imports ${path}: ${room} must not depend on ${target}`)
        if (allowed === 'types') assert.ok(kind !== undefined, `${file} may import only types from ${target}`)
      }
    }
  }
  assert.ok(imports > 50, 'the test sees the imports')
})

test('protocol is pure: no libp2p, no disk, no network', () => {
  for (const file of globSync('protocol/**/*.ts')) {
    const source = readFileSync(file, 'utf8')
    const foreign = [...source.matchAll(/from\s+'([^'.][^']*)'/g)].map((match) => match[1])
    for (const name of foreign)
      assert.doesNotMatch(name, /libp2p|^level$|node:(fs|net|http|child_process)/, `${file} imports ${name}`)
  }
})

test('randomness comes from node:crypto alone', () => {
  for (const room of ROOMS) {
    for (const file of globSync(`${room}/**/*.ts`))
      assert.doesNotMatch(readFileSync(file, 'utf8'), /Math\.random/, file)
  }
})
