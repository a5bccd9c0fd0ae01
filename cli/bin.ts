#!/usr/bin/env node
/**
 * Starts the command on a Node.js that can run it. Older ones hand over to the Node 24 that the npm package `node`
 * brings; the child ends with this process, however that ends.
 */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DAEMON_FLAGS } from '../daemon/flags.js'

const [major, minor] = process.versions.node.split('.').map(Number)
const flags = process.argv[2] === 'daemon' ? DAEMON_FLAGS : []

if (major > 22 || (major === 22 && minor >= 20)) {
  // Becomes the same command with the flags, in the same process; there is no such call on Windows.
  if (
    flags.some((flag) => !process.execArgv.includes(flag)) &&
    process.platform !== 'win32' &&
    process.channel === undefined
  )
    process.execve?.(process.execPath, [process.execPath, ...flags, ...process.execArgv, ...process.argv.slice(1)])
  const { main } = await import('./main.js')
  await main(process.argv)
} else {
  const packageFile = createRequire(import.meta.url).resolve('node/package.json')
  const node = join(dirname(packageFile), 'bin', 'node')
  const child = spawn(node, [...flags, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, MINIONN_PARENT: '1' },
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    console.error(
      `minionn needs Node 22.20 or newer; this is ${process.versions.node}, and ${node} does not start: ${error.message}`,
    )
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal !== null) process.kill(process.pid, signal)
    else process.exit(code ?? 1)
  })
}
