import { describe, expect, it } from 'vitest'
import { sqlite } from '../support/databases'
import { filesIn, heldBackground } from '../support/world'
import { keysOf, people, second, state, stored } from './people'

describe('SQLite, whose one connection everything shares', () => {
  it('replaces, detaches and removes that come at once', async () => {
    const here = await people(sqlite)
    const users = [await here.saved(), await here.saved(), await here.saved(), await here.saved()] as const
    await here.attachments.attach(users[0], 'avatar', await second)
    await here.attachments.attach(users[1], 'avatar', await second)
    await here.attachments.detach(users[2], 'avatar')
    await Promise.all([here.users.save(users[0]), here.users.save(users[1]), here.users.save(users[2]), here.users.remove(users[3])])
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map((avatar) => [state(avatar), avatar?.width])).toEqual([
      ['stored', 80],
      ['stored', 80],
      ['none', null],
    ])
    expect(stored(here)).toEqual(keysOf(...avatars))
    expect(await filesIn(here.staging)).toEqual([])
  })

  // TypeORM's doing: docs/pitfalls.md says to have one at a time
  it('two transaction() calls at once both reject, while one row stays; its file is whole', async () => {
    const here = await people(sqlite)
    const users = await Promise.all([here.attached(), here.attached(second)])
    const ends = await Promise.allSettled(users.map((user) => here.dataSource.transaction((manager) => manager.save(user))))
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map(state)).toEqual(['stored'])
    expect(stored(here)).toEqual(keysOf(...avatars))
  })

  it.each([true, false])('a job waits until a transaction has ended, whether that commits (%s) or not', async (commits) => {
    const background = heldBackground()
    const here = await people(sqlite, { background })
    const user = await here.users.save(await here.attached())
    let done: Promise<void> | undefined
    const transaction = here.dataSource.transaction(async (manager) => {
      await manager.save(here.users.create())
      done = background.run()
      for (let turn = 0; turn < 50; turn++) await manager.query('SELECT 1')
      expect(stored(here)).toEqual([])
      if (!commits) throw new Error('no')
    })
    await transaction.catch(() => undefined)
    await done
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ present: true, processing: false, error: null })
    expect(stored(here)).toEqual(keysOf(avatar))
    expect(await filesIn(here.staging)).toEqual([])
    expect(await here.users.count()).toBe(commits ? 2 : 1)
  })
})
