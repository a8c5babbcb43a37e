import 'reflect-metadata'
import { Entity, PrimaryColumn } from 'typeorm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { databases, mariadb, servers } from '../support/databases'
import { heldBackground, world } from '../support/world'
import { first, keysOf, people, second, state, stored } from './people'

@Entity()
class Moment {
  @PrimaryColumn({ type: Date })
  at!: Date

  @Attachment({ accept: 'any' })
  photo!: Attached
}

/** The process in another time zone, until the test ends. */
function zone(name: string): void {
  process.env['TZ'] = name
}

const { TZ } = process.env

afterEach(() => {
  vi.useRealTimers()
  if (TZ === undefined) delete process.env['TZ']
  else process.env['TZ'] = TZ
})

/** Stops the clock for what asks for the date. */
function freeze(at: string): void {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date(at) })
}

// TypeORM's driver for SQLite takes a stopped clock's dates for something else
describe.each(servers)('the clock on %s', (on) => {
  it('standing still keeps no file from being saved, replaced or detached', async () => {
    const here = await people(on)
    freeze('2026-11-21T10:00:00.000Z')
    const user = await here.attached()
    for (const [bytes, width] of [[first, 60] as const, [second, 80] as const, [first, 60] as const]) {
      await here.attachments.attach(user, 'avatar', await bytes)
      await here.users.save(user)
      const loaded = await here.fresh(user)
      expect(loaded.avatar).toMatchObject({ present: true, width, version: user.avatar?.version })
      await here.attachments.idle()
    }
    expect(stored(here)).toEqual(keysOf((await here.fresh(user)).avatar))
    await here.attachments.detach(user, 'avatar')
    await here.users.save(user)
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar?.present).toBe(false)
    expect(stored(here)).toEqual([])
  })

  it('two files within one second are both saved, and the second stays', async () => {
    const here = await people(on)
    const users = [await here.saved(), await here.saved()]
    freeze('2026-11-21T10:00:00.100Z')
    for (const user of users) await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(users)
    vi.setSystemTime(new Date('2026-11-21T10:00:00.900Z'))
    for (const user of users) await here.attachments.attach(user, 'avatar', await first)
    await here.users.save(users)
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map((avatar) => [avatar?.processing, avatar?.width])).toEqual(Array(2).fill([false, 60]))
    expect(stored(here)).toEqual(keysOf(...avatars))
  })

  it('going back does not keep a new file from being saved', async () => {
    const here = await people(on)
    const user = await here.saved()
    freeze('2001-01-01T00:00:00.000Z')
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(user)
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toMatchObject({ processing: false, width: 80, updatedAt: new Date() })
  })

  // datetime without a fraction: what was found a moment ago still looks as old as it did
  it('standing still within its second, requeueLost({ olderThan: 0 }) finds each row of a full batch once', async () => {
    let sent = 0
    const enqueue = async () => {
      if (++sent === 300) vi.useRealTimers()
    }
    const here = await people(on, { background: { enqueue, work: async () => ({ stop: async () => undefined }) } })
    freeze('2001-01-01T00:00:00.100Z')
    const users = Array.from({ length: 100 }, () => here.users.create())
    for (const user of users) await here.attachments.attach(user, 'letter', Buffer.from('x'))
    await here.users.save(users)
    sent = 0
    vi.setSystemTime(new Date('2001-01-01T00:00:00.500Z'))
    expect(await here.attachments.requeueLost({ olderThan: 0 })).toBe(100)
    expect(sent).toBe(100)
  })
})

describe.each(databases)('time zones on %s', (on) => {
  it.each(['Pacific/Kiritimati', 'America/St_Johns', 'UTC'])('%s: what is read is what was written', async (name) => {
    zone(name)
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.users.save(await here.attached())
    const loaded = await here.fresh(user)
    expect(Math.abs(Number(loaded.avatar?.updatedAt) - Number(user.avatar?.updatedAt))).toBeLessThan(1000)
    expect(await here.attachments.requeueLost()).toBe(0)
    expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(1)
    await background.run()
    expect((await here.fresh(user)).avatar).toMatchObject({ processing: false, updatedAt: loaded.avatar?.updatedAt })
  })

  it('a web and a worker in different ones: requeueLost() finds rows early or late, and loses none', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    zone('America/New_York')
    const user = await here.users.save(await here.attached())
    zone('Asia/Tokyo')
    const found = await here.attachments.requeueLost()
    expect(found).toBe(servers.includes(on as never) ? 1 : 0)
    await background.run()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ present: true, processing: false, error: null })
    expect(stored(here)).toEqual(keysOf(avatar))
  })
})

describe.skipIf(!servers.includes(mariadb))('MariaDB, whose dates have no fractions unless they are declared so', () => {
  it('keeps updatedAt to the millisecond', async () => {
    const here = await people(mariadb)
    freeze('2026-11-21T10:00:00.900Z')
    const user = await here.users.save(await here.attached())
    expect((await here.fresh(user)).avatar?.updatedAt).toEqual(new Date('2026-11-21T10:00:00.900Z'))
  })

  it('refuses a file for a row whose key is a date with a fraction that the column does not keep', async () => {
    const here = await world([Moment], { on: mariadb })
    const moment = Object.assign(new Moment(), { at: new Date('2026-11-21T10:00:00.123Z') })
    await here.attachments.attach(moment, 'photo', Buffer.from('x'))
    await expect(here.dataSource.manager.save(moment)).rejects.toMatchObject({ code: 'row_missing' })
    expect(await here.dataSource.manager.count(Moment)).toBe(0)
    moment.at = new Date('2026-11-21T10:00:00.000Z')
    await here.dataSource.manager.save(moment)
    await here.attachments.idle()
    expect(state((await here.dataSource.manager.findOneByOrFail(Moment, {})).photo)).toBe('stored')
  })
})
