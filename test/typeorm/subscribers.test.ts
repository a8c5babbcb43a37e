import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { databases } from '../support/databases'
import { listen, peopleWithNotes as start } from './notes'
import { keysOf, second, state, stored, type User } from './people'

describe.each(databases)('a subscriber of the user’s on %s', (on) => {
  it.each([
    [
      'at once',
      () => {
        throw new Error('theirs')
      },
    ],
    [
      'later',
      async () => {
        throw new Error('theirs')
      },
    ],
  ])('that throws %s after a write takes ours back with its own', async (_when, afterUpdate) => {
    const here = await start(on)
    const users = await Promise.all([here.attached(), here.attached(), here.attached()])
    await here.users.save(users)
    await here.attachments.idle()
    const [before, objects] = [await here.all(), stored(here)]
    listen(here.dataSource, { afterUpdate })
    for (const [index, user] of users.entries()) {
      if (index === 0) await here.attachments.detach(user, 'avatar')
      else await here.attachments.attach(user, 'avatar', await second)
    }
    await expect(here.users.save(users)).rejects.toThrow('theirs')
    await expect(here.dataSource.transaction((manager) => manager.save(users))).rejects.toThrow('theirs')
    await here.attachments.idle()
    expect(await here.all()).toEqual(before)
    expect(stored(here)).toEqual(objects)
    here.dataSource.subscribers.pop()
    await here.users.save(users)
    await here.attachments.idle()
    expect((await here.all()).map(({ avatar }) => avatar?.width)).toEqual([null, 80, 80])
    expect(stored(here)).toHaveLength(4)
  })

  it('that throws at once at an insert leaves no rejection behind', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => void process.off('unhandledRejection', unhandled))
    const here = await start(on)
    listen(here.dataSource, {
      afterInsert: () => {
        throw new Error('theirs')
      },
    })
    await expect(here.users.save([await here.attached(), here.users.create()])).rejects.toThrow('theirs')
    here.dataSource.subscribers.pop()
    await here.attachments.idle()
    await new Promise((resolve) => setImmediate(resolve))
    expect(unhandled).not.toHaveBeenCalled()
    expect(await here.users.count()).toBe(0)
  })

  it('that attaches in beforeInsert has its file saved', async () => {
    const here = await start(on)
    const { attachments } = here
    listen(here.dataSource, { beforeInsert: async ({ entity }) => attachments.attach(entity, 'avatar', await second) })
    const user = await here.users.save(here.users.create())
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toMatchObject({ processing: false, width: 80 })
  })

  it('that attaches or detaches in beforeUpdate is obeyed', async () => {
    const here = await start(on)
    const [one, two] = [await here.saved(), await here.saved()]
    const { attachments } = here
    listen(here.dataSource, {
      async beforeUpdate({ entity }) {
        const user = entity as User
        if (user.id === one.id) await attachments.attach(user, 'avatar', await second)
        else await attachments.detach(user, 'avatar')
      },
    })
    await here.users.save([one, two].map((user) => Object.assign(user, { name: 'changed' })))
    await attachments.idle()
    const avatars = (await here.all()).map(({ avatar }) => avatar)
    expect(avatars.map((avatar) => [state(avatar), avatar?.width])).toEqual([
      ['stored', 80],
      ['none', null],
    ])
    expect(stored(here)).toEqual(keysOf(...avatars))
  })

  it('that sets the property to null in beforeUpdate detaches', async () => {
    const here = await start(on)
    const user = await here.saved()
    listen(here.dataSource, { beforeUpdate: ({ entity }) => void Object.assign(entity ?? {}, { avatar: null }) })
    await here.users.save(Object.assign(user, { name: 'changed' }))
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect([state(avatar), avatar?.updatedAt]).toEqual(['none', null])
    expect(stored(here)).toEqual([])
  })
})
