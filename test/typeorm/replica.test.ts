import { DataSource, type DataSourceOptions } from 'typeorm'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Database, servers } from '../support/databases'
import { database, filesIn, heldBackground } from '../support/world'
import { keysOf, Pet, people, second, state, stored, User } from './people'

/** A primary with a replica that never catches up: a database of its own, with the same tables. */
async function lagging(on: Database): Promise<DataSource> {
  const [primary, replica] = [await database([User, Pet], { on }), await database([User, Pet], { on })]
  const { type, ...master } = primary.options as DataSourceOptions & Record<string, unknown>
  const both = { type, entities: [User, Pet], replication: { master, slaves: [replica.options] } }
  const dataSource = await new DataSource(both as unknown as DataSourceOptions).initialize()
  onTestFinished(() => dataSource.destroy())
  return dataSource
}

describe.each(servers)('a replica that lags, on %s', (on) => {
  it('is asked by nothing of ours: save, job, replace, requeueLost() and remove know the primary', async () => {
    const background = heldBackground()
    const here = await people(on, { dataSource: await lagging(on), background })
    const primary = here.dataSource.createQueryRunner('master')
    onTestFinished(() => primary.release())
    const avatars = async () => (await primary.manager.find(User)).map(({ avatar }) => avatar)

    const user = await here.users.save(await here.attached())
    expect(await here.users.count()).toBe(0)
    await background.run()
    expect((await avatars()).map(state)).toEqual(['stored'])
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(user)
    background.jobs.splice(0)
    expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(1)
    await background.run()
    expect((await avatars()).map((avatar) => [state(avatar), avatar?.width])).toEqual([['stored', 80]])
    expect(stored(here)).toEqual(keysOf(...(await avatars())))
    await here.users.remove(user)
    await background.run()
    expect(stored(here)).toEqual([])
    expect(await filesIn(here.staging)).toEqual([])
  })
})
