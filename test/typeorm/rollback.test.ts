import { describe, expect, it } from 'vitest'
import { databases, postgres } from '../support/databases'
import { heldBackground } from '../support/world'
import { keysOf, people, second, state, stored } from './people'

const no = () => {
  throw new Error('no')
}

describe.each(databases)('rollback on %s', (on) => {
  it('leaves the earlier file as it was, sends no job, and the same entity can be saved again', async () => {
    const here = await people(on)
    const user = await here.saved()
    const before = (await here.fresh(user)).avatar
    await here.attachments.attach(user, 'avatar', await second)
    const failing = here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      no()
    })
    await expect(failing).rejects.toThrow('no')
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toEqual(before)
    expect(stored(here)).toEqual(keysOf(before))
    await here.users.save(user)
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
  })

  it('of an insert leaves nothing, and the same entity can be saved again', async () => {
    const here = await people(on)
    const user = await here.attached()
    const failing = here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      no()
    })
    await expect(failing).rejects.toThrow('no')
    expect(await here.users.count()).toBe(0)
    await here.users.save(user)
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 60 })
    expect(stored(here)).toEqual(keysOf(avatar))
  })

  it('by hand is the same, also for what the query runner does next', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const [user, other] = [await here.attached(), await here.attached(second)]
    const runner = here.dataSource.createQueryRunner()
    await runner.startTransaction()
    await runner.manager.save([user, other])
    await runner.rollbackTransaction()
    await runner.startTransaction()
    await runner.manager.save(user)
    await runner.commitTransaction()
    await runner.release()
    expect(background.jobs).toHaveLength(1)
    await background.run()
    const all = await here.users.find()
    expect(all.map(({ avatar }) => [state(avatar), avatar?.width])).toEqual([['stored', 60]])
    expect(stored(here)).toEqual(keysOf(all[0]?.avatar))
  })

  it('sends nothing to the queue, neither for what was saved nor for what was removed', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const [one, two] = [await here.attached(), await here.attached()]
    await here.users.save(one)
    expect(background.jobs.splice(0)).toHaveLength(1)
    const failing = here.dataSource.transaction(async (manager) => {
      await manager.save(two)
      await manager.remove(one)
      no()
    })
    await expect(failing).rejects.toThrow('no')
    expect(background.jobs).toEqual([])
  })

  it('because the database refused one of many writes nothing of the others', async () => {
    const here = await people(on)
    const [existing, refused] = [await here.saved(), await here.saved()]
    const versions = [existing, refused].map(({ avatar }) => avatar?.version)
    for (const user of [existing, refused]) await here.attachments.attach(user, 'avatar', await second)
    await on.refuseUpdates(here.dataSource, 'user', `OLD.id = ${refused.id} AND NEW.avatar_meta <> OLD.avatar_meta`)
    await expect(here.users.save([refused, existing])).rejects.toThrow('no')
    await here.attachments.idle()
    const now = [await here.fresh(existing), await here.fresh(refused)]
    expect(now.map(({ avatar }) => avatar?.version)).toEqual(versions)
    expect(now.map(({ avatar }) => state(avatar))).toEqual(['stored', 'stored'])
    expect(stored(here)).toEqual(keysOf(...now.map(({ avatar }) => avatar)))
  })
})

it('PostgreSQL’s COMMIT of a transaction in which an error was swallowed is a rollback: earlier files stay, nothing new is left', async () => {
  const here = await people(postgres)
  const [replaced, removed] = [await here.saved(), await here.saved()]
  const before = await here.users.find({ order: { id: 'ASC' } })
  await here.attachments.attach(replaced, 'avatar', await second)
  await here.dataSource.transaction(async (manager) => {
    await manager.save([replaced, await here.attached()])
    await manager.remove(removed)
    await manager.query('SELECT 1 / 0').catch(() => undefined)
  })
  await here.attachments.idle()
  expect(await here.users.find({ order: { id: 'ASC' } })).toEqual(before)
  expect(stored(here)).toEqual(keysOf(...before.map(({ avatar }) => avatar)))
})
