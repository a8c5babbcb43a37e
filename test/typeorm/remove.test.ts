import { describe, expect, it } from 'vitest'
import { databases } from '../support/databases'
import { filesIn } from '../support/world'
import { keysOf, type People, people, second, stored, type User } from './people'

/** The ways to take a file off its entity. */
const ways: Array<[string, (here: People, user: User) => Promise<void>]> = [
  ['detach()', ({ attachments }, user) => attachments.detach(user, 'avatar')],
  ['null', async (_here, user) => void Object.assign(user, { avatar: null })],
]

describe.each(databases)('detach and remove on %s', (on) => {
  it.each(ways)('by %s deletes the files after the commit, and the value is empty', async (_name, take) => {
    const here = await people(on)
    const user = await here.saved()
    await take(here, user)
    expect(stored(here)).toHaveLength(2)
    await here.users.save(user)
    expect(user.avatar).toMatchObject({ present: false, version: null, processing: false })
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toMatchObject({ present: false, version: null, updatedAt: null, meta: null })
    expect(stored(here)).toEqual([])
    expect(await filesIn(here.staging)).toEqual([])
  })

  it.each(ways)('by %s in a transaction that is rolled back keeps the files, and saving again detaches', async (_name, take) => {
    const here = await people(on)
    const user = await here.saved()
    await take(here, user)
    const failing = here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      user.name = 'twice'
      await manager.save(user)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar?.present).toBe(true)
    expect(stored(here)).toHaveLength(2)
    await here.users.save(user)
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar?.present).toBe(false)
    expect(user.avatar?.present).toBe(false)
    expect(stored(here)).toEqual([])
  })

  it('a file that is attached after a detach is the one that stays', async () => {
    const here = await people(on)
    const user = await here.saved()
    await here.attachments.detach(user, 'avatar')
    await here.users.save(user)
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(user)
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
  })

  it('remove() deletes the files, of one and of many', async () => {
    const here = await people(on)
    const users = [await here.saved(), await here.saved(), await here.saved()]
    await here.users.remove(users.slice(1))
    await here.attachments.idle()
    expect(stored(here)).toEqual(keysOf(users[0]?.avatar))
    await here.users.remove(users[0] as User)
    await here.attachments.idle()
    expect(stored(here)).toEqual([])
  })

  it('remove() deletes what was still processing, and its staged file', async () => {
    const here = await people(on)
    const user = await here.attached()
    await here.users.save(user)
    await here.users.remove(user)
    await here.attachments.idle()
    expect(stored(here)).toEqual([])
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('remove() in a transaction that is rolled back keeps the files', async () => {
    const here = await people(on)
    const user = await here.saved()
    const failing = here.dataSource.transaction(async (manager) => {
      await manager.remove(user)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await here.attachments.idle()
    expect(stored(here)).toHaveLength(2)
  })

  it('save() and remove() of one row in one transaction leave nothing', async () => {
    const here = await people(on)
    const user = await here.saved()
    await here.attachments.attach(user, 'avatar', await second)
    await here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      await manager.remove(user)
    })
    await here.attachments.idle()
    expect(await here.users.count()).toBe(0)
    expect(stored(here)).toEqual([])
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('does nothing to a new entity whose property is null', async () => {
    const { users } = await people(on)
    const user = users.create()
    user.avatar = null
    await users.save(user)
    expect(user.avatar).toMatchObject({ present: false })
  })

  it('a plain object with null detaches nothing, and changes nothing', async () => {
    const here = await people(on)
    const user = await here.saved()
    await here.users.save({ id: user.id, name: 'x', avatar: null })
    expect(await here.fresh(user)).toEqual({ ...user, name: 'x' })
  })
})
