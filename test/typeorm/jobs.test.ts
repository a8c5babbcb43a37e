import { buffer } from 'node:stream/consumers'
import { describe, expect, it, vi } from 'vitest'
import { type Attached, Attachments, diskStorage, inProcessBackground, memoryStorage, type Storage, StorageError } from '../../src'
import { type Database, databases } from '../support/databases'
import { filesIn, heldBackground } from '../support/world'
import { first, keysOf, type People, people, second, state, stored } from './people'

/** Letters, which are quick to attach, saved, and their jobs lost. */
async function lost(on: Database, count: number): Promise<People> {
  const background = heldBackground()
  const here = await people(on, { background })
  const users = Array.from({ length: count }, (_, index) => here.users.create({ name: `${index}` }))
  for (const user of users) await here.attachments.attach(user, 'letter', Buffer.from(user.name))
  await here.users.save(users)
  background.jobs.splice(0)
  return here
}

const letters = async ({ users }: People) => (await users.find({ order: { id: 'ASC' } })).map(({ letter }) => letter)

/** Sets back when the letters were last attempted. */
const age = ({ dataSource }: People, where = '1 = 1') =>
  dataSource.query(`UPDATE ${dataSource.driver.escape('user')} SET letter_attempted_at = '2001-01-01 00:00:00' WHERE ${where}`)

describe.each(databases)('jobs on %s', (on) => {
  it('that fail say on the row why, and keep the original', async () => {
    const storage = { ...memoryStorage(), write: () => Promise.reject(new StorageError('down', 'the storage is "down" – 😀')) }
    const here = await people(on, { storage })
    const { avatar } = await here.saved()
    expect(avatar).toMatchObject({ processing: false, error: { code: 'down', message: 'the storage is "down" – 😀', attempts: 2 } })
    expect((await buffer(await (avatar as Attached).stream())).equals(await first)).toBe(true)
    expect(await here.users.countBy({ avatar: { processing: true } })).toBe(0)
  })

  it.each([
    ['replaced', 'processing', 2],
    ['detached', 'none', 0],
  ] as const)('that end after their file was %s change nothing of the row, and take their own files along', async (what, now, files) => {
    const inner = memoryStorage()
    let open = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const write = vi.fn<Storage['write']>((...all) => gate.then(() => inner.write(...all)))
    const background = heldBackground()
    const here = await people(on, { background, storage: { ...inner, write } })
    const user = await here.users.save(await here.attached())
    const late = background.run()
    await expect.poll(() => write.mock.calls.length).toBeGreaterThan(0)
    if (what === 'replaced') await here.attachments.attach(user, 'avatar', await second)
    else await here.attachments.detach(user, 'avatar')
    await here.users.save(user)
    const before = (await here.fresh(user)).avatar
    open()
    await late
    const { avatar } = await here.fresh(user)
    // but for the word that nobody writes the replaced files any more
    expect({ ...avatar, attemptedAt: null, meta: avatar?.meta?.styles }).toEqual({ ...before, attemptedAt: null, meta: before?.meta?.styles })
    expect(state(avatar)).toBe(now)
    expect(inner.objects.size).toBe(0)
    await background.run()
    expect(inner.objects.size).toBe(files)
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('that were lost are found by the next process, when they are old enough', async () => {
    const here = await lost(on, 3)
    const [oldest] = await here.users.find({ order: { id: 'ASC' } })
    await here.attachments.close()
    const next = new Attachments({ staging: diskStorage({ root: here.staging }), storage: here.storage, background: inProcessBackground() })
    await next.connect(here.dataSource)
    expect(await next.requeueLost()).toBe(0)
    await age(here, `id = ${oldest?.id}`)
    expect(await next.requeueLost()).toBe(1)
    await next.idle()
    expect((await letters(here)).map(state)).toEqual(['stored', 'processing', 'processing'])
    await age(here)
    expect(await next.requeueLost()).toBe(2)
    await next.idle()
    expect(stored(here)).toEqual(keysOf(...(await letters(here))))
    expect(await filesIn(here.staging)).toEqual([])
    await next.close()
  })

  it('that were lost are found once by several that look at once, also more than fit into one look', async () => {
    const here = await lost(on, 230)
    await age(here)
    const found = await Promise.all([here.attachments.requeueLost(), here.attachments.requeueLost(), here.attachments.requeueLost()])
    expect(found.reduce((sum, count) => sum + count)).toBe(230)
    expect(await here.attachments.requeueLost()).toBe(0)
  })

  it('that were lost are found by a worker when it starts', async () => {
    const here = await lost(on, 2)
    await age(here)
    await here.attachments.close()
    const next = new Attachments({ staging: diskStorage({ root: here.staging }), storage: here.storage, background: inProcessBackground() })
    await next.connect(here.dataSource)
    const worker = await next.work()
    await expect.poll(async () => (await letters(here)).map(state)).toEqual(['stored', 'stored'])
    await worker.stop()
    await next.close()
  })
})
