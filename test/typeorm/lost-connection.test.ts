import type { DataSourceOptions } from 'typeorm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type CutProxy, cutProxy } from '../support/cut-proxy'
import { type Database, servers } from '../support/databases'
import { database, filesIn, heldBackground, type WorldOptions } from '../support/world'
import { keysOf, Pet, people, second, stored, User } from './people'

/** People whose database is reached through a proxy that can cut connections. */
async function start(on: Database, options: WorldOptions = {}) {
  let proxy = undefined as CutProxy | undefined
  const create = async () => {
    const given = (await on.create()) as { url?: string; host?: string; port?: number }
    const { hostname, port } = new URL(given.url ?? `x://${given.host}:${given.port}`)
    proxy = await cutProxy(hostname, Number(port))
    const url = given.url && Object.assign(new URL(given.url), { hostname: '127.0.0.1', port: proxy.port }).href
    return { ...given, ...(url ? { url } : { host: '127.0.0.1', port: proxy.port }) } as DataSourceOptions
  }
  const dataSource = await database([User, Pet], { on: { ...on, create } })
  // the pools say what they lose
  const quiet = vi.spyOn(dataSource.logger, 'log').mockImplementation(() => undefined)
  onTestFinished(() => quiet.mockRestore())
  return { ...(await people(on, { dataSource, ...options })), proxy: proxy as CutProxy }
}

describe.each(servers)('a connection lost on %s', (on) => {
  it('before COMMIT: the earlier file is as it was, and no job is sent; nobody can tell that from after, so the files are attached again', async () => {
    const background = heldBackground()
    const here = await start(on, { background })
    const user = await here.users.save(await here.attached())
    await background.run()
    const before = (await here.fresh(user)).avatar
    const added = await here.attached()
    await here.attachments.attach(user, 'avatar', await second)
    here.proxy.cut('before', 'COMMIT')
    await expect(here.users.save([user, added])).rejects.toThrow()
    expect(here.proxy.happened).toBe(true)
    expect(background.jobs).toEqual([])
    expect((await here.users.find()).map(({ avatar }) => avatar)).toEqual([before])
    await expect(here.users.save(user)).rejects.toMatchObject({ code: 'attach_again' })
    expect((await here.users.find()).map(({ avatar }) => avatar)).toEqual([before])
    const [again, more] = [await here.fresh(user), await here.attached()]
    await here.attachments.attach(again, 'avatar', await second)
    await here.users.save([again, more])
    await background.run()
    const avatars = (await here.users.find({ order: { id: 'ASC' } })).map(({ avatar }) => avatar)
    expect(avatars.map((avatar) => [avatar?.processing, avatar?.width])).toEqual([
      [false, 80],
      [false, 60],
    ])
    expect(stored(here)).toEqual(keysOf(...avatars))
    await here.attachments.sweepStaging({ olderThan: -60_000 })
    expect((await filesIn(here.staging)).filter((file) => file.endsWith('original'))).toHaveLength(2)
  })

  it('after COMMIT, so that its answer is lost: the rows stay processing, and requeueLost() finishes them', async () => {
    const background = heldBackground()
    const here = await start(on, { background })
    const user = await here.users.save(await here.attached())
    await background.run()
    await here.attachments.attach(user, 'avatar', await second)
    here.proxy.cut('after', 'COMMIT')
    await expect(here.users.save(user)).rejects.toThrow()
    expect(here.proxy.happened).toBe(true)
    expect(background.jobs).toEqual([])
    expect((await here.fresh(user)).avatar).toMatchObject({ processing: true, width: 80 })
    // a program that tries again does no harm
    await here.users.save(user)
    expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(1)
    await background.run()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ present: true, processing: false, error: null, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it.each(['before', 'after'] as const)('%s a statement of the job: it is tried again, and ends well', async (when) => {
    const here = await start(on, { retry: { attempts: 3, backoff: () => 1 } })
    const column = (name: string) => `${here.dataSource.driver.escape(name)} = `
    // its claim, its look at the row, and its last word
    for (const statement of [column('avatar_attempted_at'), 'SELECT', column('avatar_error')]) {
      const user = await here.attached()
      await here.dataSource.transaction(async (manager) => {
        await manager.save(user)
        here.proxy.cut(when, statement)
      })
      await here.attachments.idle()
      expect([statement, here.proxy.happened]).toEqual([statement, true])
      expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: false, error: null })
    }
    expect(stored(here)).toEqual(keysOf(...(await here.users.find()).map(({ avatar }) => avatar)))
    expect(await filesIn(here.staging)).toEqual([])
  })
})
