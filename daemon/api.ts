/**
 * The control API: what commands ask of a node. The same table serves the control socket of a running daemon and, for
 * the methods that need no network, a command that holds the repo itself.
 */
import { z } from 'zod'
import { MinionnError } from '../protocol/errors.js'
import { openManifest } from '../protocol/model/plan.js'
import { decodeWeights } from '../protocol/model/weights.js'
import type { Repo } from '../storage/repo.js'
import type { Client } from './client.js'
import type { Host } from './host.js'
import { readInputs } from './input-file.js'
import { summarisePlan } from './plan-summary.js'
import { SessionSteps } from './session-steps.js'

/** The running half of a daemon; absent where a command holds the repo. */
export interface Running {
  readonly host: Host
  readonly client: Client
  readonly addresses: () => string[]
  readonly connections: () => { peer: string; address: string }[]
  readonly startedAt: number
}

export interface Context {
  readonly repo: Repo
  readonly peerId: string
  readonly running: Running | undefined
}

export interface Call {
  readonly signal: AbortSignal
  /** Sends an event to the caller before the result. */
  readonly emit: (event: object) => void
}

type Method = (context: Context, params: unknown, call: Call) => Promise<unknown>

const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Throws BAD_INPUT for a name that could not be typed or stored. */
export function checkModelName(name: string): void {
  if (MODEL_NAME.test(name)) return
  throw new MinionnError(
    'BAD_INPUT',
    `"${name.slice(0, 80)}" cannot name a model: up to 64 letters, digits, ".", "_" and "-" are expected, a letter or digit first`,
  )
}

function method<T>(schema: z.ZodType<T>, run: (context: Context, params: T, call: Call) => Promise<unknown>): Method {
  return async (context, params, call) => {
    const parsed = schema.safeParse(params)
    if (!parsed.success) {
      const [issue] = parsed.error.issues
      throw new MinionnError('BAD_INPUT', `${issue.path.join('.') || 'the request'}: ${issue.message}`)
    }
    return await run(context, parsed.data, call)
  }
}

function running(context: Context): Running {
  if (context.running === undefined)
    throw new MinionnError(
      'NO_DAEMON',
      `no daemon runs on ${context.repo.folder}; start one with: minionn daemon --repo ${context.repo.folder}`,
    )
  return context.running
}

async function storedModel(context: Context, name: string) {
  const stored = await context.repo.models.get(name)
  if (stored === undefined) {
    const names = (await context.repo.models.names()).join(', ') || 'none'
    throw new MinionnError('UNKNOWN_MODEL', `there is no model "${name}" in this repo; there are: ${names}`)
  }
  return stored
}

/** How a model that foretells the next input did: -log of the probability of the one that came. */
function surprise(outputs: readonly number[] | undefined, next: number | undefined): { nats?: number } {
  if (outputs === undefined || next === undefined || next < 0 || next >= outputs.length) return {}
  const most = outputs.reduce((largest, v) => Math.max(largest, v), Number.NEGATIVE_INFINITY)
  const sum = outputs.reduce((total, v) => total + Math.exp(v - most), 0)
  return { nats: most + Math.log(sum) - outputs[next] }
}

const sessionName = z.string().regex(MODEL_NAME, 'up to 64 letters, digits, ".", "_" and "-" are expected')

const nothing = z.object({})
const text = z.string().min(1).max(1000)

export const METHODS = {
  id: method(nothing, async (context) => ({ id: context.peerId, addresses: context.running?.addresses() ?? [] })),

  status: method(nothing, async (context) => {
    const { host, addresses, connections, startedAt } = running(context)
    return {
      id: context.peerId,
      addresses: addresses(),
      uptimeSeconds: Math.round((Date.now() - startedAt) / 1000),
      models: await context.repo.models.names(),
      peers: connections(),
      sessions: host.sessions,
      pools: { host: await context.repo.hostPool.sizes(), client: await context.repo.clientPool.sizes() },
    }
  }),

  'model.add': method(
    z.object({ name: z.string(), id: text, manifest: z.base64(), weights: z.base64() }),
    async (context, { name, id, manifest, weights }) => {
      checkModelName(name)
      if ((await context.repo.models.get(name)) !== undefined) {
        throw new MinionnError(
          'BAD_INPUT',
          `there is a model "${name}" already; remove it first with: minionn model rm ${name}`,
        )
      }
      const stored = {
        name,
        id,
        addedAt: Date.now(),
        manifest: Buffer.from(manifest, 'base64'),
        weights: Buffer.from(weights, 'base64'),
      }
      const published = openManifest(stored.manifest, id)
      decodeWeights(stored.weights, published.manifest.plan.stages)
      await context.repo.models.add(stored)
      await context.running?.host.serve(stored)
      return { name, id }
    },
  ),

  'model.ls': method(nothing, async (context) => {
    const names = await context.repo.models.names()
    return await Promise.all(
      names.map(async (name) => {
        const stored = await storedModel(context, name)
        const { card, input, output } = openManifest(stored.manifest, stored.id).manifest.plan
        return {
          name,
          id: stored.id,
          input: input.shape,
          outputs: output.size,
          reveal: card.reveal,
          description: card.description ?? '',
        }
      }),
    )
  }),

  'model.show': method(z.object({ name: text }), async (context, { name }) => {
    const stored = await storedModel(context, name)
    const published = openManifest(stored.manifest, stored.id)
    return { name, ...summarisePlan(published), card: published.manifest.plan.card }
  }),

  'model.rm': method(z.object({ name: text }), async (context, { name }) => {
    const { id } = await storedModel(context, name)
    await context.running?.host.withdraw(id)
    await context.repo.models.remove(name, id)
    const bundles = await context.repo.hostPool.drop(id, undefined)
    await context.repo.hostSessions.dropModel(id)
    return { name, id, bundles }
  }),

  catalog: method(
    z.object({ peer: text }),
    async (context, { peer }, { signal }) => await running(context).client.catalog(peer, signal),
  ),

  'pool.ls': method(nothing, async (context) => ({
    client: await context.repo.clientPool.sizes(),
    host: await context.repo.hostPool.sizes(),
  })),

  'pool.fill': method(
    z.object({ peer: text, model: text, count: z.int().min(1).max(100_000) }),
    async (context, { peer, model, count }, { signal, emit }) => {
      const { client } = running(context)
      const remote = await client.find(peer, model, signal)
      const { seconds, bytes } = await client.fill(remote, count, signal, emit)
      const pooled = await context.repo.clientPool.count(remote.published.id, remote.peer)
      return {
        model: { name: remote.name, id: remote.published.id },
        peer: remote.peer,
        made: count,
        pooled,
        seconds,
        bytes,
      }
    },
  ),

  'pool.drop': method(z.object({ peer: text.optional(), model: text.optional() }), async (context, { peer, model }) => {
    const stored = model === undefined ? undefined : await context.repo.models.get(model)
    const id = stored?.id ?? model
    return { client: await context.repo.clientPool.drop(id, peer), host: await context.repo.hostPool.drop(id, peer) }
  }),

  'session.ls': method(nothing, async (context) => ({ sessions: await context.repo.clientSessions.all() })),

  'session.rm': method(z.object({ name: sessionName, peer: text.optional() }), async (context, { name, peer }) => {
    const all = await context.repo.clientSessions.all()
    const found = all.filter((s) => s.name === name && (peer === undefined || s.peer === peer))
    if (found.length === 0) {
      const names = [...new Set(all.map((s) => s.name))].join(', ') || 'none'
      throw new MinionnError('BAD_INPUT', `there is no session "${name}"; there are: ${names}`)
    }
    for (const { model, peer: of } of found) await context.repo.clientSessions.drop(model, of, name)
    return { name, removed: found.length }
  }),

  query: method(
    z.object({
      peer: text,
      model: text,
      files: z.array(z.object({ name: z.string().max(4096), bytes: z.base64() })).min(1),
      session: z.object({ name: sessionName, begin: z.boolean() }).optional(),
    }),
    async (context, { peer, model, files, session }, { signal, emit }) => {
      const { client } = running(context)
      const remote = await client.find(peer, model, signal)
      const { plan } = remote.published.manifest
      // All files are read before the first bundle is spent.
      const inputs: { input: string; values: Float64Array }[] = []
      for (const { name, bytes } of files) {
        const rows = await readInputs(name, Buffer.from(bytes, 'base64'), plan)
        rows.forEach((values, row) => {
          inputs.push({ input: rows.length === 1 ? name : `${name}#${row}`, values })
        })
      }
      const steps = plan.states.length === 0 ? undefined : new SessionSteps(context.repo, remote, session)
      if (session !== undefined && steps === undefined)
        throw new MinionnError('BAD_INPUT', `model "${model}" keeps no states: it has no sessions`)
      await steps?.open()
      try {
        for (const [n, { input, values }] of inputs.entries()) {
          const progress = (event: object) => emit({ input, ...event })
          const left = inputs.length - n
          const answer = await client.query(remote, values, left, signal, progress, steps?.current)
          await steps?.advance(answer.session)
          const next = plan.input.oneHot ? inputs[n + 1]?.values.indexOf(1) : undefined
          emit({ result: { input, ...answer.result, ...surprise(answer.result.outputs, next) } })
        }
      } finally {
        steps?.close()
      }
      return { count: inputs.length }
    },
  ),
} satisfies Record<string, Method>

export type MethodName = keyof typeof METHODS

/** Runs a method by name. Rejects with MinionnErrors. */
export async function callMethod(context: Context, name: string, params: unknown, call: Call): Promise<unknown> {
  if (!Object.hasOwn(METHODS, name)) throw new MinionnError('BAD_INPUT', `there is no method "${name.slice(0, 80)}"`)
  return await METHODS[name as MethodName](context, params, call)
}
