import 'reflect-metadata'
import { Readable } from 'node:stream'
import { BeforeInsert, ChildEntity, Column, Entity, ManyToOne, OneToMany, PrimaryColumn, PrimaryGeneratedColumn, TableInheritance } from 'typeorm'
import { expect, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, type Attachments } from '../src'
import { jpeg } from './support/pictures'
import { database, filesIn, heldBackground, world } from './support/world'

let greeted: Attachments | undefined

@Entity()
class Greeter {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ accept: 'any' })
  card!: Attached

  @BeforeInsert()
  async greet() {
    await greeted?.attach(this as Greeter, 'card', Buffer.from('hello'))
  }
}

// each line of docs/pitfalls.md that save.test.ts does not show

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'>
}

async function start() {
  const here = await world([User])
  const users = here.dataSource.getRepository(User)
  const user = users.create()
  await here.attachments.attach(user, 'avatar', await jpeg())
  return { ...here, users, user, fresh: () => users.findOneByOrFail({ id: user.id }) }
}

it('save() without listeners does not save the file, and a save() with them still can', async () => {
  const { users, user, attachments, fresh } = await start()
  await users.save(user, { listeners: false })
  await attachments.idle()
  expect((await fresh()).avatar.present).toBe(false)
  await users.save(user)
  await attachments.idle()
  expect((await fresh()).avatar).toMatchObject({ present: true, processing: false })
})

it('save() without a transaction works', async () => {
  const { users, user, attachments, fresh, storage } = await start()
  await users.save(user, { transaction: false })
  await attachments.idle()
  expect((await fresh()).avatar).toMatchObject({ present: true, processing: false })
  await users.remove(user, { transaction: false })
  await attachments.idle()
  expect(storage.objects.size).toBe(0)
})

it('delete(id) and raw SQL leave the files, and break nothing', async () => {
  const { users, user, attachments, storage } = await start()
  await users.save(user)
  await attachments.idle()
  await users.delete(user.id)
  await attachments.idle()
  expect(storage.objects.size).toBe(2)
})

it('a row that is deleted past us while its job waits ends the job quietly', async () => {
  const background = heldBackground()
  const { dataSource, attachments, storage } = await world([User], { background })
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg())
  await dataSource.manager.save(user)
  await dataSource.query('DELETE FROM "user"')
  await background.run()
  expect(storage.objects.size).toBe(0)
})

it('a plain object with null detaches nothing', async () => {
  const { users, user, attachments, fresh } = await start()
  await users.save(user)
  await attachments.idle()
  await users.save({ id: user.id, name: 'x', avatar: null } as never)
  expect(await fresh()).toMatchObject({ name: 'x', avatar: { present: true } })
})

it('an attachment inside an embedded class is refused by connect()', async () => {
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

it('works with single-table inheritance, composite keys and foreign keys', async () => {
  @Entity()
  @TableInheritance({ column: { type: 'varchar', name: 'kind' } })
  class Content {
    @PrimaryGeneratedColumn('identity', { type: 'bigint' })
    id!: string

    @Attachment({ styles: { small: '10x10#' }, accept: ['image/*'] })
    picture!: Attached<'small'>
  }
  @ChildEntity()
  class Story extends Content {
    @Attachment({ accept: 'any' })
    text!: Attached
  }
  @ChildEntity()
  class Gallery extends Content {}
  @Entity()
  class Page {
    @ManyToOne(() => Content, { eager: true })
    @PrimaryColumn({ name: 'contentId', type: 'bigint' })
    content!: Content

    @PrimaryColumn('text')
    lang!: string

    @Attachment({ accept: 'any', path: ':class/:id/:filename' })
    scan!: Attached
  }
  const background = heldBackground()
  const { dataSource, attachments, storage } = await world([Content, Story, Gallery, Page], { background })
  const [story, gallery] = [new Story(), new Gallery()]
  await attachments.attach(story, 'picture', await jpeg())
  await attachments.attach(story, 'text', Buffer.from('once upon a time'), { fileName: 'story.txt' })
  await attachments.attach(gallery, 'picture', await jpeg())
  await dataSource.manager.save([story, gallery])
  expect(await attachments.requeueLost({ olderThan: -1000 })).toBe(3)
  await background.run()
  const contents = await dataSource.getRepository(Content).find({ order: { id: 'ASC' } })
  expect(contents.map(({ picture }) => [picture.processing, picture.path('small')])).toEqual([
    [false, expect.stringMatching(/^stories\/pictures\/000\/000\/001\//)],
    [false, expect.stringMatching(/^galleries\/pictures\/000\/000\/002\//)],
  ])
  expect((contents[0] as Story).text).toMatchObject({ processing: false, contentType: 'text/plain' })
  expect(storage.objects.size).toBe(5)
})

it('deletes the files of a child that is removed because it lost its parent', async () => {
  @Entity()
  class Album {
    @PrimaryGeneratedColumn()
    id!: number

    @OneToMany(
      () => Photo,
      (photo) => photo.album,
      { cascade: true },
    )
    photos!: Photo[]
  }
  @Entity()
  class Photo {
    @PrimaryGeneratedColumn()
    id!: number

    @ManyToOne(
      () => Album,
      (album) => album.photos,
      { orphanedRowAction: 'delete' },
    )
    album!: Album

    @Attachment({ accept: ['image/*'] })
    picture!: Attached
  }
  const { dataSource, attachments, storage } = await world([Album, Photo])
  const [one, two] = [new Photo(), new Photo()]
  for (const photo of [one, two]) await attachments.attach(photo, 'picture', await jpeg())
  const album = await dataSource.manager.save(Object.assign(new Album(), { photos: [one, two] }))
  await attachments.idle()
  expect(storage.objects.size).toBe(2)
  album.photos = [one]
  await dataSource.manager.save(album)
  await attachments.idle()
  expect(await dataSource.getRepository(Photo).count()).toBe(1)
  expect([...storage.objects.keys()]).toEqual([one.picture.path()])
})

it('refuses a second Attachments on one data source, and takes another after close()', async () => {
  const dataSource = await database([User])
  const { attachments } = await world([User], { dataSource })
  await expect(world([User], { dataSource })).rejects.toMatchObject({ code: 'already_connected' })
  await attachments.close()
  const next = await world([User], { dataSource })
  const user = new User()
  await next.attachments.attach(user, 'avatar', await jpeg())
  await dataSource.manager.save(user)
  await next.attachments.idle()
  expect((await dataSource.getRepository(User).findOneByOrFail({ id: user.id })).avatar.processing).toBe(false)
})

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
])('another subscriber that throws %s after a write takes ours back with its own', async (_when, afterUpdate) => {
  const { dataSource, users, attachments, storage, user } = await start()
  const others = [user, users.create(), users.create()]
  for (const other of others.slice(1)) await attachments.attach(other, 'avatar', await jpeg())
  await users.save(others)
  await attachments.idle()
  const before = await users.find({ order: { id: 'ASC' } })
  const objects = [...storage.objects.keys()].sort()
  dataSource.subscribers.push({ afterUpdate })
  for (const [index, other] of others.entries()) {
    if (index === 0) await attachments.detach(other, 'avatar')
    else await attachments.attach(other, 'avatar', await jpeg(70, 70))
  }
  await expect(users.save(others)).rejects.toThrow('theirs')
  await expect(dataSource.transaction((manager) => manager.save(others))).rejects.toThrow('theirs')
  await attachments.idle()
  expect(await users.find({ order: { id: 'ASC' } })).toEqual(before)
  expect([...storage.objects.keys()].sort()).toEqual(objects)
  dataSource.subscribers.pop()
  await users.save(others)
  await attachments.idle()
  expect((await users.find({ order: { id: 'ASC' } })).map(({ avatar }) => avatar.width)).toEqual([null, 70, 70])
  expect(storage.objects.size).toBe(4)
})

it('another subscriber that throws at once at an insert leaves no rejection behind', async () => {
  const unhandled = vi.fn()
  process.on('unhandledRejection', unhandled)
  onTestFinished(() => void process.off('unhandledRejection', unhandled))
  const { dataSource, users, attachments, user } = await start()
  dataSource.subscribers.push({
    afterInsert: () => {
      throw new Error('theirs')
    },
  })
  await expect(users.save([user, users.create()])).rejects.toThrow('theirs')
  dataSource.subscribers.pop()
  await attachments.idle()
  await new Promise((resolve) => setImmediate(resolve))
  expect(unhandled).not.toHaveBeenCalled()
  expect(await users.count()).toBe(0)
})

it('what a listener of the entity attaches before the insert is saved', async () => {
  const here = await world([Greeter])
  greeted = here.attachments
  const greeter = await here.dataSource.manager.save(new Greeter())
  await here.attachments.idle()
  expect((await here.dataSource.getRepository(Greeter).findOneByOrFail({ id: greeter.id })).card).toMatchObject({ present: true, processing: false })
})

it('saving another column leaves what the entity shows of its file', async () => {
  const { users, user, attachments } = await start()
  await users.save(user)
  await attachments.idle()
  for (const entity of [user, await users.findOneByOrFail({ id: user.id })]) {
    const { updatedAt } = entity.avatar
    expect(updatedAt).toBeInstanceOf(Date)
    entity.name = `changed ${entity.name}`
    await users.save(entity)
    expect(entity.avatar.updatedAt).toEqual(updatedAt)
  }
})

it('two entities of one class name are refused by connect()', async () => {
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

it('many savers of one row at once leave the file of one of them, and nothing else', async () => {
  const { users, user, attachments, storage, staging, fresh } = await start()
  await users.save(user)
  const copies = await Promise.all(Array.from({ length: 12 }, fresh))
  for (const [index, copy] of copies.entries()) await attachments.attach(copy, 'avatar', await jpeg(20 + index, 20))
  await Promise.all(copies.map((copy) => users.save(copy)))
  await attachments.idle()
  const { avatar } = await fresh()
  expect(avatar).toMatchObject({ processing: false, error: null })
  expect([...storage.objects.keys()].sort()).toEqual([avatar.path(), avatar.path('thumb')].sort())
  expect(await filesIn(staging)).toEqual([])
})

it('close() while a file is attached refuses it, and keeps nothing', async () => {
  const { attachments, staging } = await world([User])
  const slow = Readable.from(
    (async function* () {
      yield await jpeg()
      await attachments.close()
    })(),
  )
  await expect(attachments.attach(new User(), 'avatar', slow)).rejects.toMatchObject({ code: 'not_connected' })
  expect(await filesIn(staging)).toEqual([])
})

it('two data sources share an entity class', async () => {
  const [one, two] = [await world([User]), await world([User])]
  for (const { dataSource, attachments, storage } of [one, two]) {
    const user = new User()
    await attachments.attach(user, 'avatar', await jpeg())
    await dataSource.manager.save(user)
    await attachments.idle()
    const { avatar } = await dataSource.getRepository(User).findOneByOrFail({ id: user.id })
    expect(avatar.processing).toBe(false)
    expect([...storage.objects.keys()]).toContain(avatar.path('thumb'))
  }
})
