import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { initRepo, openRepo } from '../../daemon/repo-access.js'
import { Repo } from '../../storage/repo.js'

const folders: string[] = []
async function freshRepo(): Promise<string> {
  const folder = join(mkdtempSync(join(tmpdir(), 'minionn-storage-')), 'repo')
  folders.push(join(folder, '..'))
  await initRepo(folder)
  return folder
}
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

const bundle = (id: string) => ({ id, bytes: new TextEncoder().encode(`secret of ${id}`) })
const cost = { seconds: 1, sent: 2, received: 3 }

test('a bundle is taken once, by one of many takers, and stays spent after a restart', async () => {
  const folder = await freshRepo()
  const repo = await Repo.open(folder)
  await repo.clientPool.add('m', 'p', [bundle('a'), bundle('b')], cost)
  const taken = await Promise.all(Array.from({ length: 8 }, () => repo.clientPool.claimAny('m', 'p')))
  await Promise.all(taken.map((claimed) => claimed?.burned))
  assert.deepEqual(
    taken
      .filter((t) => t !== undefined)
      .map((t) => t.id)
      .sort(),
    ['a', 'b'],
  )
  assert.deepEqual(taken.find((t) => t !== undefined)?.cost, cost)
  await repo.close()
  const again = await Repo.open(folder)
  assert.equal(await again.clientPool.claimAny('m', 'p'), undefined)
  assert.equal(await again.clientPool.isSpent('a'), true)
  // Even a copy of a spent bundle put back is refused by the ledger.
  await again.clientPool.add('m', 'p', [bundle('a')], cost)
  assert.equal(await again.clientPool.take('m', 'p', 'a'), undefined)
  await again.close()
})

test('host bundles belong to one peer and model; the oldest give way beyond the limit', async () => {
  const repo = await Repo.open(await freshRepo())
  await repo.hostPool.add('m', 'p', [bundle('a'), bundle('b')], 3)
  assert.equal(await repo.hostPool.take('m', 'other', 'a'), undefined)
  assert.equal(await repo.hostPool.take('other', 'p', 'a'), undefined)
  await repo.hostPool.add('m', 'p', [bundle('c'), bundle('d')], 3)
  assert.equal(await repo.hostPool.count('m', 'p'), 3)
  assert.deepEqual(await repo.hostPool.sizes(), [{ model: 'm', peer: 'p', count: 3 }])
  assert.equal(await repo.hostPool.drop('m', undefined), 3)
  assert.equal(await repo.hostPool.count('m', 'p'), 0)
  await repo.close()
})

test('one process holds a repo; folder and errors as promised', async () => {
  const folder = await freshRepo()
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  const repo = await openRepo(folder)
  await assert.rejects(openRepo(folder), { code: 'REPO_LOCKED' })
  await repo.close()
  await assert.rejects(openRepo(join(folder, 'nowhere')), { code: 'NO_REPO' })
  await assert.rejects(initRepo(folder), { code: 'BAD_INPUT' })
})

test('states of sessions come back as they were stored, over a restart; beyond the limit the oldest give way', async () => {
  const folder = await freshRepo()
  const repo = await Repo.open(folder)
  const session = (step: number) => ({ step, states: [Uint32Array.of(step, 2 ** 32 - 1, 0), Uint32Array.of(7)] })
  for (const [n, name] of ['a', 'b', 'c'].entries()) {
    await repo.clientSessions.put('m', 'p', [name], session(n), 3)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await repo.clientSessions.put('m', 'p', ['a'], session(9), 3)
  await repo.clientSessions.put('m', 'q', ['z'], session(5), 3)
  await new Promise((resolve) => setTimeout(resolve, 2))
  await repo.clientSessions.put('m', 'p', ['d'], session(4), 3)
  await repo.close()
  const again = await Repo.open(folder)
  const kept = await Promise.all(['a', 'b', 'c', 'd'].map((name) => again.clientSessions.get('m', 'p', name)))
  assert.deepEqual(kept, [session(9), undefined, session(2), session(4)])
  assert.deepEqual(await again.clientSessions.get('m', 'q', 'z'), session(5))
  assert.equal(await again.hostSessions.get('m', 'p', 'a'), undefined)
  await again.clientSessions.drop('m', 'p', 'd')
  await again.clientSessions.dropModel('m')
  assert.equal(await again.clientSessions.get('m', 'q', 'z'), undefined)
  await again.close()
})
