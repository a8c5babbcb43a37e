import 'reflect-metadata'
import { Readable } from 'node:stream'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, Attachments, diskStorage, inProcessBackground, memoryStorage, type Storage } from '../../src'
import { type Database, databases, mariadb, servers } from '../support/databases'
import { database, filesIn, heldBackground, world } from '../support/world'
import { first, keysOf, Pet, people, second, state, stored, User } from './people'

describe.each(databases)('connect() and close() on %s', (on) => {
  it('refuse a second Attachments on one data source, and take another after close()', async () => {
    const dataSource = await database([User, Pet], { on })
    const { attachments } = await people(on, { dataSource })
    await expect(people(on, { dataSource })).rejects.toMatchObject({ code: 'already_connected' })
    await attachments.close()
    const next = await people(on, { dataSource })
    expect(state((await next.saved()).avatar)).toBe('stored')
  })

  it('refuse a file that is attached while they close, and keep nothing of it', async () => {
    const { attachments, staging } = await people(on)
    const slow = Readable.from(
      (async function* () {
        yield await first
        await attachments.close()
      })(),
    )
    await expect(attachments.attach(new User(), 'avatar', slow)).rejects.toMatchObject({ code: 'not_connected' })
    expect(await filesIn(staging)).toEqual([])
  })
})

describe('what connect() refuses', () => {
  it('an attachment inside an embedded class', async () => {
    class Profile {
      @Attachment({ accept: 'any' })
      photo!: Attached
    }
    @Entity()
    class Account {
      @PrimaryGeneratedColumn()
      id!: number

      @Column(() => Profile)
      profile!: Profile
    }
    await expect(world([Account])).rejects.toMatchObject({ code: 'nested_attachment', message: expect.stringContaining('Account.profile.photo') })
  })

  it('two entities of one class name', async () => {
    const make = (table: string) => {
      @Entity(table)
      class Thing {
        @PrimaryGeneratedColumn()
        id!: number

        @Attachment({ accept: 'any' })
        doc!: Attached
      }
      return Thing
    }
    await expect(world([make('one'), make('two')])).rejects.toMatchObject({ code: 'same_name', message: expect.stringContaining('one and two') })
  })
})

const pairs: Array<[Database, Database]> = databases.flatMap((one, index) =>
  databases.slice(index).map((other): [Database, Database] => [one, other]),
)

describe.each(pairs)('two data sources, on %s and %s', (on, other) => {
  it('share entity classes, and each keeps to its own rows and storages', async () => {
    const both = [await people(on), await people(other)] as const
    const users = await Promise.all(both.map(async (here) => ({ here, user: await here.saved() })))
    for (const { here, user } of users) {
      await here.attachments.attach(user, 'avatar', await second)
      await here.users.save(user)
      await here.attachments.idle()
      const { avatar } = await here.fresh(user)
      expect(avatar).toMatchObject({ processing: false, width: 80 })
      expect(stored(here)).toEqual(keysOf(avatar))
    }
    const [one, two] = both
    const stranger = await one.users.findOneByOrFail({})
    await expect(two.users.save(Object.assign(new User(), { avatar: stranger.avatar }))).rejects.toMatchObject({ code: 'foreign_write' })
    const copy = new User()
    await two.attachments.attach(copy, 'avatar', stranger.avatar as NonNullable<User['avatar']>)
    await two.users.save(copy)
    await two.attachments.idle()
    expect((await two.fresh(copy)).avatar).toMatchObject({ processing: false, fingerprint: stranger.avatar?.fingerprint })
    await one.users.remove(stranger)
    await one.attachments.idle()
    expect(stored(one)).toEqual([])
    expect(stored(two)).toHaveLength(4)
  })
})

describe.each(servers)('dataSource.destroy() on %s', (on) => {
  it('while jobs run loses nothing: their rows stay processing, and requeueLost() finishes them after the next connect()', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => {
      process.off('unhandledRejection', unhandled)
      warned.mockRestore()
    })
    const inner = memoryStorage()
    let open = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const write = vi.fn<Storage['write']>((...all) => gate.then(() => inner.write(...all)))
    const here = await people(on, { storage: { ...inner, write } })
    const users = await here.users.save(await Promise.all(Array.from({ length: 4 }, () => here.attached())))
    await expect.poll(() => write.mock.calls.length).toBeGreaterThan(0)
    await here.dataSource.destroy()
    open()
    await here.attachments.idle()
    await here.attachments.close()
    await new Promise((resolve) => setImmediate(resolve))
    expect(unhandled).not.toHaveBeenCalled()

    await here.dataSource.setOptions({ synchronize: false }).initialize()
    expect((await here.users.find()).map(({ avatar }) => state(avatar))).toEqual(['processing', 'processing', 'processing', 'processing'])
    const next = new Attachments({ staging: diskStorage({ root: here.staging }), storage: inner, background: inProcessBackground() })
    await next.connect(here.dataSource)
    expect(await next.requeueLost({ olderThan: -2000 })).toBe(users.length)
    await next.idle()
    const avatars = (await here.dataSource.getRepository(User).find()).map(({ avatar }) => avatar)
    expect(avatars.map(state)).toEqual(Array(4).fill('stored'))
    expect([...inner.objects.keys()].sort()).toEqual(keysOf(...avatars))
    expect(await filesIn(here.staging)).toEqual([])
    await next.close()
  })
})

describe.skipIf(!servers.includes(mariadb))('MariaDB by the driver called mysql, which knows no RETURNING', () => {
  const mysql: Database = { ...mariadb, create: async () => ({ ...(await mariadb.create()), type: 'mysql' }) as never }

  it('saves, replaces, finds lost jobs and removes', async () => {
    const background = heldBackground()
    const here = await people(mysql, { background })
    const users = await here.users.save([await here.attached(), await here.attached()])
    background.jobs.splice(0)
    expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(2)
    await background.run()
    for (const user of users) await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(users)
    await background.run()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map((avatar) => [avatar?.processing, avatar?.width])).toEqual(Array(2).fill([false, 80]))
    expect(stored(here)).toEqual(keysOf(...avatars))
    await here.users.remove(users)
    await background.run()
    expect(stored(here)).toEqual([])
  })
})
