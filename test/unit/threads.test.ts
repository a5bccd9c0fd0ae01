import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Threads } from '../../daemon/threads.js'
import { MinionnError } from '../../protocol/errors.js'
import { latticeEngine } from '../../protocol/homomorphic/lattice-engine.js'
import { checkCard } from '../../protocol/model/card.js'
import { compileNetwork } from '../../protocol/model/compile.js'
import { quantiseInput, runReference } from '../../protocol/model/reference.js'
import { Prg } from '../../protocol/random.js'
import { Chain } from '../helpers/chain.js'
import { TwoParties } from '../helpers/two-party.js'

const prg = new Prg(new Uint8Array(16).fill(5))
const random = (count: number) => Float64Array.from(prg.ring(count, 24), (v) => v / 2 ** 23 - 1)

/** Two stages of which the first is large enough for a thread. */
function wide() {
  const b = new Chain([1, 160, 160])
  const geometry = {
    kind: 'conv',
    input: [1, 160, 160],
    output: [1, 160, 160],
    kernel: [3, 3],
    strides: [1, 1],
    pads: [1, 1, 1, 1],
    dilations: [1, 1],
    groups: 1,
  } as const
  b.linear('conv', geometry, random(9), random(25600))
  b.relu('relu')
  b.reshape([25600])
  b.linear('fc', { kind: 'dense', inputs: 25600, outputs: 2 }, random(51200), random(2))
  const network = b.finish()
  return compileNetwork(network, checkCard({ input: { kind: 'tensor', range: [-1, 1] } }, network.inputShape, 2))
}

describe('worker threads', () => {
  const threads = new Threads(2)
  after(() => threads.stop())

  test('both parties on threads equal the reference bit for bit, several sessions at a time', async () => {
    const model = wide()
    const parties = [new TwoParties(model, threads), new TwoParties(model, threads)]
    await Promise.all(
      parties.map(async (party) => {
        const bundles = await party.prepare(2)
        for (const bundle of bundles) {
          const input = quantiseInput(party.plan, random(25600))
          const { outputs } = await party.infer(bundle, input)
          assert.deepEqual(outputs, runReference(party.plan, model.secret, input))
        }
      }),
    )
  })

  test('an error in a thread is the error of the job, and the thread goes on', async () => {
    const client = latticeEngine.newClient()
    const job = {
      engine: 'lattice' as const,
      key: 'test',
      geometry: { kind: 'dense' as const, inputs: 4, outputs: 2 },
      batch: 1,
      weights: Int32Array.from({ length: 8 }, (_, i) => i),
      ring: 20,
      widestRing: 20,
      encryptionOfZero: client.encrypt(new Uint32Array(4096), 20),
      inputs: [client.encrypt(new Uint32Array(4096), 20).fill(255, 0, 100)],
      outputs: [{ at: Int32Array.of(3, 7), masks: Uint32Array.of(5, 6) }],
    }
    const collect = async (inputs: Uint8Array[]) => {
      const responses: Uint8Array[] = []
      for await (const response of threads.respond({ ...job, inputs })) responses.push(response)
      return responses
    }
    await assert.rejects(collect(job.inputs), { code: 'BAD_PEER' })
    const [response] = await collect([client.encrypt(new Uint32Array(4096), 20)])
    assert.deepEqual(client.decrypt(response, job.outputs[0].at, 20), Uint32Array.of(5, 6))
    client.dispose()
  })

  test('a caller that gives up in the middle frees the thread', async () => {
    const model = wide()
    const party = new TwoParties(model, {
      respond: (job) => threads.respond(job),
      evaluate: (job, fill, receive) => threads.evaluate(job, fill, receive),
      garble: (job, fill, send) => {
        let sent = 0
        return threads.garble(job, fill, async (tables) => {
          if (++sent === 3) throw new MinionnError('CONNECTION', 'gone')
          await send(tables)
        })
      },
    })
    const [bundle] = await party.prepare(1)
    const input = quantiseInput(party.plan, random(25600))
    await assert.rejects(party.infer(bundle, input), { code: 'CONNECTION' })
    const next = new TwoParties(model, threads)
    const [fresh] = await next.prepare(1)
    assert.deepEqual((await next.infer(fresh, input)).outputs, runReference(next.plan, model.secret, input))
  })
})
