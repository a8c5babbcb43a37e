import type { EntityManager } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { databases } from '../support/databases'
import { filesIn, heldBackground } from '../support/world'
import { keysOf, people, second, stored } from './people'

/** A transaction that ends in a rollback, whoever is around it. */
async function rolledBack(manager: EntityManager, work: (nested: EntityManager) => Promise<unknown>): Promise<void> {
  const failing = manager.transaction(async (nested) => {
    await work(nested)
    throw new Error('inner')
  })
  await expect(failing).rejects.toThrow('inner')
}

describe.each(databases)('savepoints on %s', (on) => {
  it('send their jobs after the outermost commit', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.attached()
    await here.dataSource.transaction(async (manager) => {
      await manager.transaction((nested) => nested.transaction((innermost) => innermost.save(user)))
      expect(background.jobs).toEqual([])
    })
    expect(background.jobs).toHaveLength(1)
    await background.run()
    expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: false, error: null })
  })

  it('that are rolled back drop their own jobs and keep those around them', async () => {
    const here = await people(on)
    const [outer, inner] = [await here.attached(), await here.attached(second)]
    await here.dataSource.transaction(async (manager) => {
      await manager.save(outer)
      await rolledBack(manager, (nested) => nested.save(inner))
    })
    await here.attachments.idle()
    const all = await here.users.find()
    expect(all.map(({ avatar }) => [avatar?.processing, avatar?.width])).toEqual([[false, 60]])
    expect(stored(here)).toEqual(keysOf(all[0]?.avatar))
  })

  it('that are rolled back send nothing, whatever becomes of what is around them', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const [one, two] = [await here.attached(), await here.attached()]
    await here.users.save(one)
    background.jobs.splice(0)
    await rolledBack(here.dataSource.manager, (manager) => manager.transaction((nested) => nested.save(two)))
    await here.dataSource.transaction(async (manager) => {
      await manager.save(here.users.create({ name: 'around' }))
      await rolledBack(manager, (nested) => nested.save(two))
      await rolledBack(manager, (nested) => nested.remove(one))
    })
    expect(background.jobs).toEqual([])
  })

  it('that are rolled back leave the entity to be saved again around them', async () => {
    const here = await people(on)
    const user = await here.saved()
    await here.attachments.attach(user, 'avatar', await second)
    await here.dataSource.transaction(async (manager) => {
      await rolledBack(manager, (nested) => nested.save(user))
      await manager.save(user)
    })
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('replace what was saved around them, or leave it when they are rolled back', async () => {
    const here = await people(on)
    const [kept, replaced] = [await here.attached(), await here.attached()]
    await here.dataSource.transaction(async (manager) => {
      await manager.save([kept, replaced])
      const copies = [await manager.findOneByOrFail(here.users.target, { id: kept.id }), replaced]
      for (const copy of copies) await here.attachments.attach(copy as typeof kept, 'avatar', await second)
      await rolledBack(manager, (nested) => nested.save(copies[0]))
      await manager.transaction((nested) => nested.save(replaced))
    })
    await here.attachments.idle()
    const avatars = [(await here.fresh(kept)).avatar, (await here.fresh(replaced)).avatar]
    expect(avatars.map((avatar) => [avatar?.processing, avatar?.width])).toEqual([
      [false, 60],
      [false, 80],
    ])
    expect(stored(here)).toEqual(keysOf(...avatars))
  })
})
