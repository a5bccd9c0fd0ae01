/** The entry of a worker thread: jobs of protocol/offload.ts, one after the other. threads.ts is at the other end. */
import { parentPort } from 'node:worker_threads'
import { asMinionnError } from '../protocol/errors.js'
import { type EvaluateJob, garbleChunks, StageEvaluation } from '../protocol/garbling/stage.js'
import { respondSet } from '../protocol/homomorphic/respond.js'
import { type FromThread, ITEMS_AHEAD, type ToThread } from './thread-messages.js'

const port = parentPort!
const inbox: ToThread[] = []
let wake: () => void = () => {}
port.on('message', (message: ToThread) => {
  inbox.push(message)
  wake()
})

async function next(): Promise<ToThread> {
  while (inbox.length === 0) {
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
  return inbox.shift()!
}

const send = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

/** Hands over what a job yields, ITEMS_AHEAD at a time; undefined where the caller gave up. */
async function handOver<R>(
  items: Iterator<Uint8Array | number, R> | AsyncIterator<Uint8Array, R>,
): Promise<{ result: R } | undefined> {
  let ahead = 0
  for (;;) {
    const step = await items.next()
    if (step.done) return { result: step.value }
    // Labels were all there before the job came.
    if (typeof step.value === 'number') continue
    const whole = step.value.byteLength === step.value.buffer.byteLength ? step.value : step.value.slice()
    send({ kind: 'item', item: whole }, [whole.buffer as ArrayBuffer])
    ahead++
    while (inbox.length > 0 || ahead === ITEMS_AHEAD) {
      if ((await next()).kind === 'end') {
        await items.return?.()
        return undefined
      }
      ahead--
    }
  }
}

async function evaluate(job: EvaluateJob): Promise<{ result: unknown } | undefined> {
  const evaluation = new StageEvaluation(job)
  try {
    for (;;) {
      // Labels were all there before the job came.
      if (evaluation.needs > 0) {
        evaluation.advance(undefined)
        continue
      }
      const message = await next()
      if (message.kind === 'end') return evaluation.finished ? { result: evaluation.result } : undefined
      if (message.kind !== 'tables') continue
      evaluation.advance(message.tables)
      send({ kind: 'taken' })
    }
  } finally {
    evaluation.release()
  }
}

async function run(message: ToThread): Promise<{ result: unknown } | undefined> {
  if (message.kind === 'respond') return await handOver(respondSet(message.job))
  if (message.kind === 'garble') return await handOver(garbleChunks(message.job))
  if (message.kind === 'evaluate') return await evaluate(message.job)
  return undefined
}

for (;;) {
  const message = await next()
  // What was under way when a caller gave up may still arrive.
  if (message.kind === 'taken' || message.kind === 'end' || message.kind === 'tables') continue
  try {
    const outcome = await run(message)
    if (outcome !== undefined) send({ kind: 'done', result: outcome.result })
    else send({ kind: 'failed', code: 'CANCELLED', message: 'cancelled' })
  } catch (thrown) {
    const { code, message: text } = asMinionnError(thrown)
    send({ kind: 'failed', code, message: text })
  }
}
