import { BeforeInsert, BeforeUpdate, Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it, vi } from 'vitest'
import { type Attached, Attachment, type Attachments } from '../../src'
import { databases, postgres, servers } from '../support/databases'
import { filesIn, heldBackground, world } from '../support/world'
import { first, keysOf, Pet, people, second, state, stored, type User } from './people'

let greeted: Attachments | undefined

@Entity()
class Greeter {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @Attachment({ accept: 'any' })
  card!: Attached | null

  @BeforeInsert()
  @BeforeUpdate()
  async greet() {
    if (this.name === 'nobody') this.card = null
    else await greeted?.attach(this as Greeter, 'card', Buffer.from(`hello ${this.name}`))
  }
}

describe.each(databases)('save on %s', (on) => {
  it('touches no file inside the transaction, and sends the job after the commit', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.attached()
    const staged = await filesIn(here.staging)
    await here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      expect(await filesIn(here.staging)).toEqual(staged)
      expect(background.jobs).toEqual([])
    })
    expect(background.jobs).toHaveLength(1)
    expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: true })
    await background.run()
    expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: false, error: null })
  })

  it('saves many at once, cascades, and reaches copies made by create()', async () => {
    const here = await people(on)
    const pet = new Pet()
    await here.attachments.attach(pet, 'photo', await first)
    const many = await Promise.all(Array.from({ length: 20 }, () => here.attached(second)))
    const copy = here.users.create(many[0] as User)
    await here.users.save([copy, ...many.slice(1)])
    copy.pets = [pet]
    await here.users.save(copy)
    await here.attachments.idle()
    const all = await here.users.find({ relations: { pets: true } })
    const pets = all.flatMap((user) => user.pets)
    expect(all.map(({ avatar }) => state(avatar))).toEqual(Array(20).fill('stored'))
    expect(pets.map(({ photo }) => state(photo))).toEqual(['stored'])
    expect(stored(here)).toEqual(keysOf(...all.map(({ avatar }) => avatar), ...pets.map(({ photo }) => photo)))
    expect(await here.dataSource.getRepository(Pet).findOneBy({ photo: { version: pet.photo.version as string } })).not.toBeNull()
  })

  it('saves several attachments of one entity at once', async () => {
    const here = await people(on)
    const user = await here.attached()
    await here.attachments.attach(user, 'letter', Buffer.from('Dear Ada'), { fileName: 'letter.txt' })
    await here.users.save(user)
    await here.attachments.idle()
    const { avatar, letter } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 60 })
    expect(letter).toMatchObject({ processing: false, fileName: 'letter.txt', contentType: 'text/plain' })
    expect(stored(here)).toEqual(keysOf(avatar, letter))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('keeps the same file through a repeated save in one transaction', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.attached()
    await here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      user.name = 'again'
      await manager.save(user)
      await manager.save(user)
    })
    expect(background.jobs).toHaveLength(1)
    await background.run()
    expect(await here.fresh(user)).toMatchObject({ name: 'again', avatar: { processing: false, version: user.avatar?.version } })
  })

  it('keeps the last of several files that are attached and saved in one transaction', async () => {
    const here = await people(on)
    const user = await here.attached()
    await here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      await here.attachments.attach(user, 'avatar', await second)
      await manager.save(user)
    })
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('of another column leaves what the entity shows of its file', async () => {
    const here = await people(on)
    const user = await here.attached()
    await here.users.save(user)
    await here.attachments.idle()
    for (const entity of [user, await here.fresh(user)]) {
      const updatedAt = entity.avatar?.updatedAt
      expect(updatedAt).toBeInstanceOf(Date)
      entity.name = `changed ${entity.name}`
      await here.users.save(entity)
      expect(entity.avatar?.updatedAt).toEqual(updatedAt)
    }
  })

  it('takes along what a listener of the entity attaches before the insert, or attaches or detaches before the update', async () => {
    const here = await world([Greeter], { on })
    greeted = here.attachments
    const greeters = here.dataSource.getRepository(Greeter)
    for (const [name, size] of Object.entries({ Ada: 9, Charles: 13, nobody: null })) {
      const greeter = (await greeters.findOneBy({})) ?? new Greeter()
      await greeters.save(Object.assign(greeter, { name }))
      await here.attachments.idle()
      const { card } = await greeters.findOneByOrFail({ id: greeter.id })
      expect([state(card), card?.fileSize]).toEqual([size ? 'stored' : 'none', size])
      expect(stored(here)).toEqual(keysOf(card))
    }
  })
})

describe.each(servers)('save beside other connections on %s', (on) => {
  it('shows nobody the row before the commit, and runs no job', async () => {
    const here = await people(on)
    const user = await here.attached()
    await here.dataSource.transaction(async (manager) => {
      await manager.save(user)
      await here.attachments.idle()
      expect(stored(here)).toEqual([])
      expect(await here.users.count()).toBe(0)
    })
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: false, error: null })
  })

  it('by many, beside replaces, detaches, removes and all their jobs, asks nobody to try again', async () => {
    const here = await people(on, { retry: { attempts: 10, backoff: () => 1 } })
    const rows = await here.users.save(await Promise.all(Array.from({ length: 8 }, () => here.attached())))
    const work = async (turn: number) => {
      const user = await here.fresh(rows[turn % rows.length] as User)
      if (turn % 5 === 0) await here.users.remove(await here.users.save([await here.attached(), await here.attached()]))
      else if (turn % 5 === 1) await here.attachments.detach(user, 'avatar')
      else await here.attachments.attach(user, 'avatar', await second)
      await here.users.save(user)
    }
    const workers = Array.from({ length: 7 }, async (_, worker) => {
      for (let turn = 0; turn < 15; turn++) await work(worker * 5 + turn * 3)
    })
    await Promise.all(workers)
    await here.attachments.idle()
    const all = await here.users.find()
    expect(all).toHaveLength(rows.length)
    for (const { avatar } of all) expect(state(avatar)).toMatch(/^(stored|none)$/)
    expect(stored(here)).toEqual(keysOf(...all.map(({ avatar }) => avatar)))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('by many of one row at once leaves the file of one of them, and nothing else', async () => {
    const here = await people(on)
    const user = await here.saved()
    const copies = await Promise.all(Array.from({ length: 12 }, () => here.fresh(user)))
    for (const copy of copies) await here.attachments.attach(copy, 'avatar', await second)
    await Promise.all(copies.map((copy) => here.users.save(copy)))
    await here.attachments.idle()
    const { avatar } = await here.fresh(user)
    expect(avatar).toMatchObject({ present: true, processing: false, error: null, width: 80 })
    expect(stored(here)).toEqual(keysOf(avatar))
    expect(await filesIn(here.staging)).toEqual([])
  })
})

it.each([
  ['rejects', () => Promise.reject(new Error('the queue is down'))],
  [
    'throws',
    () => {
      throw new Error('the queue is down')
    },
  ],
  ['does not answer', () => new Promise<void>(() => undefined)],
])('lets save() succeed when the queue %s', async (_how, enqueue) => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const here = await people(postgres, { background: { enqueue, work: async () => ({ stop: async () => undefined }) } })
  const user = await here.attached()
  await here.users.save(user)
  expect(user.avatar?.processing).toBe(true)
  expect(warned).toHaveBeenCalledWith(
    expect.stringMatching(/User\.avatar could not be sent, requeueLost\(\) .*the queue (is down|did not answer)/),
    'AttachmentWarning',
  )
  warned.mockRestore()
})
