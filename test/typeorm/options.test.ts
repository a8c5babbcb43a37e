import { Column, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { databases } from '../support/databases'
import { filesIn, world } from '../support/world'
import { keysOf, people, second, state, stored } from './people'

@Entity()
class Ticket {
  @PrimaryColumn({ type: String })
  code!: string

  @Column({ type: String, default: '' })
  name!: string

  @Attachment({ accept: 'any' })
  scan!: Attached
}

@Entity()
class Token {
  @PrimaryGeneratedColumn('uuid')
  id!: string

  @Attachment({ accept: 'any' })
  scan!: Attached
}

describe.each(databases)('options of save() and remove() on %s', (on) => {
  it('{ listeners: false } does not save the file, and a save() with listeners still can', async () => {
    const here = await people(on)
    const user = await here.attached()
    await here.users.save(user, { listeners: false })
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar?.present).toBe(false)
    await here.users.save(user)
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: false })
  })

  it('{ listeners: false } leaves the earlier file as it is', async () => {
    const here = await people(on)
    const user = await here.saved()
    const before = user.avatar?.version
    await here.attachments.attach(user, 'avatar', await second)
    user.name = 'quiet'
    await here.users.save(user, { listeners: false })
    await here.attachments.idle()
    const now = await here.fresh(user)
    expect(now).toMatchObject({ name: 'quiet', avatar: { version: before, processing: false, width: 60 } })
    expect(stored(here)).toEqual(keysOf(now.avatar))
  })

  it('{ transaction: false } saves, replaces, detaches and removes', async () => {
    const here = await people(on)
    const user = await here.attached()
    const save = async () => {
      await here.users.save(user, { transaction: false })
      await here.attachments.idle()
      return (await here.fresh(user)).avatar
    }
    expect(await save()).toMatchObject({ processing: false, width: 60 })
    await here.attachments.attach(user, 'avatar', await second)
    const replaced = await save()
    expect(replaced).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(replaced))
    await here.attachments.detach(user, 'avatar')
    expect((await save())?.present).toBe(false)
    expect(stored(here)).toEqual([])
    await here.attachments.attach(user, 'avatar', await second)
    await save()
    await here.users.remove(user, { transaction: false })
    await here.attachments.idle()
    expect(stored(here)).toEqual([])
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('{ reload: false } of a new row with a generated id is refused, and nothing is saved', async () => {
    const here = await people(on)
    const user = await here.attached()
    await expect(here.users.save(user, { reload: false })).rejects.toMatchObject({ code: 'id_unknown' })
    expect(await here.users.count()).toBe(0)
  })

  it('{ reload: false } of a row whose id is known saves and replaces', async () => {
    const here = await world([Ticket], { on })
    const tickets = here.dataSource.getRepository(Ticket)
    const ticket = tickets.create({ code: 'A 1' })
    for (const text of ['one', 'two two']) {
      await here.attachments.attach(ticket, 'scan', Buffer.from(text))
      await tickets.save(ticket, { reload: false })
      await here.attachments.idle()
      const { scan } = await tickets.findOneByOrFail({ code: 'A 1' })
      expect(scan).toMatchObject({ processing: false, fileSize: text.length })
      expect(stored(here)).toEqual(keysOf(scan))
    }
  })

  it('{ chunk } saves and removes all of many', async () => {
    const here = await people(on)
    const users = await Promise.all(Array.from({ length: 7 }, () => here.attached()))
    await here.users.save(users, { chunk: 3 })
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map(state)).toEqual(Array(7).fill('stored'))
    expect(stored(here)).toEqual(keysOf(...avatars))
    await here.users.remove(users, { chunk: 2 })
    await here.attachments.idle()
    expect(stored(here)).toEqual([])
  })

  it('{ data }, and a row that is given twice, change nothing', async () => {
    const here = await people(on)
    const user = await here.saved()
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save([user, user], { data: { by: 'me' } })
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
  })
})

it('{ reload: false } of a uuid that the database makes is refused too', async () => {
  const here = await world([Token])
  const token = new Token()
  await here.attachments.attach(token, 'scan', Buffer.from('x'))
  await expect(here.dataSource.manager.save(token, { reload: false })).rejects.toMatchObject({ code: 'id_unknown' })
  expect(await here.dataSource.manager.count(Token)).toBe(0)
})
