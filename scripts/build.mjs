// Compiles TypeScript into dist/, from scratch where a source was deleted.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const orphan = globSync('dist/**/*.js', { cwd: root }).some(
  (file) => !existsSync(join(root, file.slice(5, -3).concat('.ts'))),
)
if (orphan) rmSync(join(root, 'dist'), { recursive: true, force: true })
const { status } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], {
  cwd: root,
  stdio: 'inherit',
})
process.exit(status ?? 1)
