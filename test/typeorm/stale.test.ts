import { describe, expect, it } from 'vitest'
import { databases } from '../support/databases'
import { heldBackground } from '../support/world'
import { keysOf, people, second, state, stored } from './people'

describe.each(databases)('a stale entity on %s', (on) => {
  it('that is saved later brings nothing back, and is shown what is true', async () => {
    const here = await people(on)
    const user = await here.saved()
    const [stale, staleEmpty] = [await here.fresh(user), here.users.create({ id: user.id })]
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(user)
    const processing = await here.fresh(user)
    await here.attachments.idle()
    const truth = (await here.fresh(user)).avatar
    for (const [index, entity] of [stale, processing, staleEmpty].entries()) {
      entity.name = `stale ${index}`
      await here.users.save(entity)
      await here.attachments.idle()
      expect(await here.fresh(user)).toMatchObject({ name: `stale ${index}`, avatar: truth })
    }
    expect(stale.avatar?.version).toBe(truth?.version)
    expect(stored(here)).toEqual(keysOf(truth))
  })

  it('of the time of processing does not bring processing back', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const saved = await here.users.save(await here.attached())
    const [processing, plain] = [await here.fresh(saved), JSON.parse(JSON.stringify(await here.fresh(saved)))]
    await background.run()
    const truth = (await here.fresh(saved)).avatar
    for (const entity of [saved, processing]) await here.users.save(Object.assign(entity, { name: 'later' }))
    await here.users.save({ id: plain.id, name: 'latest' })
    expect(await here.fresh(saved)).toMatchObject({ name: 'latest', avatar: truth })
    expect(state(truth)).toBe('stored')
  })

  it('saved while its file is processed takes nothing from the job', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.users.save(await here.attached())
    const [job] = background.jobs
    await here.users.save(Object.assign(user, { name: 'meanwhile' }))
    expect(background.jobs).toEqual([job])
    await background.run()
    expect(await here.fresh(user)).toMatchObject({ name: 'meanwhile', avatar: { present: true, processing: false, error: null } })
  })

  it('from before a detach does not attach the file again', async () => {
    const here = await people(on)
    const user = await here.saved()
    const stale = await here.fresh(user)
    await here.attachments.detach(user, 'avatar')
    await here.users.save(user)
    await here.attachments.idle()
    await here.users.save(Object.assign(stale, { name: 'stale' }))
    expect(await here.fresh(user)).toMatchObject({ name: 'stale', avatar: { present: false, version: null } })
    expect(stale.avatar?.present).toBe(false)
  })

  it('from before a remove is inserted again without the file that is gone', async () => {
    const here = await people(on)
    const user = await here.saved()
    const stale = await here.fresh(user)
    await here.users.remove(user)
    await here.attachments.idle()
    await expect(here.users.save(Object.assign(stale, { name: 'back' }))).rejects.toMatchObject({ code: 'foreign_write' })
    expect(await here.users.count()).toBe(0)
  })
})

describe.each(databases)('a partial select on %s', (on) => {
  it('of other columns leaves the file alone when it is saved', async () => {
    const here = await people(on)
    const user = await here.saved()
    const before = (await here.fresh(user)).avatar
    const partial = await here.users.findOneOrFail({ where: { id: user.id }, select: { id: true } })
    expect(partial.avatar).toBeUndefined()
    await here.users.save(Object.assign(partial, { name: 'changed' }))
    expect(await here.fresh(user)).toMatchObject({ name: 'changed', avatar: before })
  })

  it('of some of its columns reads them, and leaves the file alone when it is saved', async () => {
    const here = await people(on)
    const user = await here.saved()
    const before = (await here.fresh(user)).avatar
    for (const avatar of [{ fileName: true, fileSize: true }, { version: true }, { processing: true, updatedAt: true }]) {
      const partial = await here.users.findOneOrFail({ where: { id: user.id }, select: { id: true, avatar } })
      expect(Object.keys(avatar).map((name) => Reflect.get(partial.avatar ?? {}, name))).toEqual(
        Object.keys(avatar).map((name) => Reflect.get(before ?? {}, name)),
      )
      await here.users.save(Object.assign(partial, { name: JSON.stringify(avatar) }))
      expect(await here.fresh(user)).toMatchObject({ name: JSON.stringify(avatar), avatar: before })
    }
    expect(stored(here)).toEqual(keysOf(before))
  })

  it('takes a new file, and the old ones go', async () => {
    const here = await people(on)
    const user = await here.saved()
    for (const select of [{ id: true }, { id: true, avatar: { fileName: true } }] as const) {
      const partial = await here.users.findOneOrFail({ where: { id: user.id }, select })
      await here.attachments.attach(partial, 'avatar', await second)
      await here.users.save(partial)
      await here.attachments.idle()
      const { avatar, name } = await here.fresh(user)
      expect(avatar).toMatchObject({ processing: false, width: 80, version: partial.avatar?.version })
      expect(name).toBe('Ada')
      expect(stored(here)).toEqual(keysOf(avatar))
    }
  })

  it('can be detached and removed', async () => {
    const here = await people(on)
    const [one, two] = [await here.saved(), await here.saved()]
    const select = { id: true } as const
    const detached = await here.users.findOneOrFail({ where: { id: one.id }, select })
    await here.attachments.detach(detached, 'avatar')
    await here.users.save(detached)
    await here.users.remove(await here.users.findOneOrFail({ where: { id: two.id }, select }))
    await here.attachments.idle()
    expect((await here.fresh(one)).avatar?.present).toBe(false)
    expect(stored(here)).toEqual([])
  })
})
