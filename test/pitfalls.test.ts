import 'reflect-metadata'
import { ChildEntity, Column, Entity, ManyToOne, OneToMany, PrimaryColumn, PrimaryGeneratedColumn, TableInheritance } from 'typeorm'
import { expect, it } from 'vitest'
import { type Attached, Attachment } from '../src'
import { jpeg } from './support/pictures'
import { database, heldBackground, world } from './support/world'

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
