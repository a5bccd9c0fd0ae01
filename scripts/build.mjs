// Compiles the kernels (AssemblyScript) into protocol/kernels/wasm.ts and TypeScript into dist/, from scratch where a source
// was deleted.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const path = (name) => join(root, name)

function node(script, ...args) {
  const { status } = spawnSync(process.execPath, [path(script), ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const KERNELS = 'protocol/kernels/wasm.ts'
const sources = globSync('protocol/kernels/assembly/*.ts', { cwd: root })
const stale =
  !existsSync(path(KERNELS)) || sources.some((file) => statSync(path(file)).mtimeMs > statSync(path(KERNELS)).mtimeMs)
if (stale) {
  mkdirSync(path('dist'), { recursive: true })
  node(
    'node_modules/assemblyscript/bin/asc.js',
    'protocol/kernels/assembly/index.ts',
    ...[
      '-O3',
      // Names of functions: profiles show them.
      '--debug',
      '--noAssert',
      '--runtime',
      'stub',
      '--enable',
      'simd',
      '--use',
      'abort=',
      '--importMemory',
      '--memoryBase',
      '1024',
    ],
    ...['-o', 'dist/kernels.wasm'],
  )
  const base64 = readFileSync(path('dist/kernels.wasm')).toString('base64')
  writeFileSync(
    path(KERNELS),
    `// Made by scripts/build.mjs from protocol/kernels/assembly.\nexport const WASM_BASE64 =\n  '${base64}'\n`,
  )
}

const STAMP = 'dist/.built'
const watched = [
  ...globSync('{cli,daemon,protocol,storage,scripts,test,bench}/**/*.{ts,json,mjs}', {
    cwd: root,
    exclude: ['**/node_modules/**'],
  }),
  'tsconfig.json',
  'package-lock.json',
]
const built = existsSync(path(STAMP)) ? statSync(path(STAMP)).mtimeMs : 0
if (watched.every((file) => statSync(path(file)).mtimeMs < built)) process.exit(0)

const orphan = globSync('dist/**/*.js', { cwd: root }).some(
  (file) => !existsSync(path(file.slice(5, -3).concat('.ts'))),
)
if (orphan) rmSync(path('dist'), { recursive: true, force: true })
node('node_modules/typescript/bin/tsc', '-p', '.')
writeFileSync(path(STAMP), '')
