import { describe, expect, it } from 'vitest'
import { inlineBackground } from '../../src'
import { type Database, servers } from '../support/databases'
import { database, filesIn, heldBackground, type WorldOptions } from '../support/world'
import { keysOf, Pet, people, second, state, stored, User } from './people'

/** A pool of one connection: whoever takes a second one waits for ever. */
async function start(on: Database, options: WorldOptions = {}) {
  const dataSource = await database([User, Pet], { on, poolSize: 1 })
  return people(on, { ...options, dataSource })
}

describe.each(servers)('a pool of one connection on %s', (on) => {
  it('is enough to save, process, replace, detach and remove', async () => {
    const here = await start(on)
    const users = await Promise.all(Array.from({ length: 5 }, () => here.attached()))
    await Promise.all(users.map((user) => here.users.save(user)))
    await here.attachments.idle()
    expect((await here.users.find()).map(({ avatar }) => state(avatar))).toEqual(Array(5).fill('stored'))
    const [replaced, detached, removed, ...others] = await here.users.find()
    await here.attachments.attach(replaced as User, 'avatar', await second)
    await here.attachments.detach(detached as User, 'avatar')
    await Promise.all([here.users.save(replaced as User), here.users.save(detached as User), here.users.remove(removed as User)])
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars).toHaveLength(4)
    expect(stored(here)).toEqual(keysOf(...avatars))
    expect(stored(here)).toHaveLength(2 + 2 * others.length)
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('is enough for transactions beside jobs, for savepoints and for rollbacks', async () => {
    const here = await start(on)
    const users = await Promise.all(Array.from({ length: 4 }, () => here.attached()))
    const ends = users.map((user, index) =>
      here.dataSource.transaction(async (manager) => {
        await manager.transaction((nested) => nested.save(user))
        if (index % 2) throw new Error('no')
      }),
    )
    expect((await Promise.allSettled(ends)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map(state)).toEqual(['stored', 'stored'])
    expect(stored(here)).toEqual(keysOf(...avatars))
  })

  it('is enough for requeueLost() and a worker', async () => {
    const background = heldBackground()
    const here = await start(on, { background })
    const users = await here.users.save(await Promise.all(Array.from({ length: 3 }, () => here.attached())))
    background.jobs.splice(0)
    const [one, two] = await Promise.all([here.attachments.requeueLost({ olderThan: -2000 }), here.attachments.requeueLost({ olderThan: -2000 })])
    expect(one + two).toBeGreaterThanOrEqual(users.length)
    await background.run()
    expect((await here.users.find()).map(({ avatar }) => state(avatar))).toEqual(Array(3).fill('stored'))
    await (await here.attachments.work()).stop()
  })

  it('is enough where the job runs on the connection that commits', async () => {
    const here = await start(on, { background: inlineBackground() })
    const users = await Promise.all(Array.from({ length: 3 }, () => here.attached()))
    await here.dataSource.transaction(async (manager) => {
      await manager.save(users)
      expect(stored(here)).toEqual([])
    })
    expect((await here.users.find()).map(({ avatar }) => state(avatar))).toEqual(['stored', 'stored', 'stored'])
    await here.users.remove(users)
    expect(stored(here)).toEqual([])
  })
})
