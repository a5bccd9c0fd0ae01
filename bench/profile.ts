/** Where CPU time goes: V8's profiles of a process, added up by phase of the protocol. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface CallFrame {
  readonly functionName: string
  readonly url: string
}

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: CallFrame
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Phases by what is in the address of the code, or in the name of a kernel; what is in none belongs to its caller's. */
const PHASES: readonly (readonly [phase: string, pattern: RegExp])[] = [
  ['homomorphic', /protocol\/homomorphic|protocol\/offline|assembly\/(lattice|homomorphic)|node-seal/],
  ['oblivious transfer', /protocol\/transfer|assembly\/transfer|@noble/],
  ['garbling', /protocol\/garbling|assembly\/labels|protocol\/circuits/],
  ['linear maps', /protocol\/ring\/linear|protocol\/model|assembly\/linear/],
  ['packing of shares', /protocol\/ring\/bits|assembly\/bits|online\/garbled-stage/],
  ['Noise', /libp2p-noise|noise-crypto/],
  ['yamux, libp2p, channel', /libp2p|multiformats|uint8array|stream-channel|wire\/|socket-meter/],
  ['storage', /level|\/storage\//],
  ['start-up', /compileSourceTextModule|internal\/modules|internalModuleStat|bootstrap/],
]

function phaseOf({ functionName, url }: CallFrame): string | undefined {
  if (functionName === '(garbage collector)') return 'garbage collection'
  if (functionName === '(idle)') return 'idle'
  const where = `${url} ${functionName}`
  return PHASES.find(([, pattern]) => pattern.test(where))?.[0]
}

/** Milliseconds per phase, idle left out, of all threads of the process whose profiles are in the folder. */
export function phases(folder: string, pid: number): Map<string, number> {
  const total = new Map<string, number>()
  for (const file of readdirSync(folder)) {
    if (file.split('.')[3] !== String(pid)) continue
    const profile: Profile = JSON.parse(readFileSync(join(folder, file), 'utf8'))
    const phase = new Map<number, string>()
    const byId = new Map(profile.nodes.map((node) => [node.id, node]))
    const visit = (id: number, inherited: string) => {
      const node = byId.get(id)!
      const own = phaseOf(node.callFrame) ?? inherited
      phase.set(id, own)
      for (const child of node.children ?? []) visit(child, own)
    }
    visit(profile.nodes[0].id, 'other')
    profile.samples.forEach((id, i) => {
      const name = phase.get(id)!
      if (name !== 'idle') total.set(name, (total.get(name) ?? 0) + profile.timeDeltas[i] / 1000)
    })
  }
  return total
}
