import 'reflect-metadata'
import { Column, Entity, ManyToOne, OneToMany, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { databases } from '../support/databases'
import { filesIn, heldBackground, world } from '../support/world'
import { first, keysOf, type People, people, second, stored, type User } from './people'

@Entity()
class Label {
  @PrimaryColumn({ type: String, length: 10 })
  code!: string

  @Attachment({ accept: ['image/*'] })
  image!: Attached
}

@Entity()
class Shelf {
  @PrimaryGeneratedColumn()
  id!: number

  @OneToMany(
    () => Book,
    (book) => book.shelf,
    { cascade: true },
  )
  books!: Book[]
}

@Entity()
class Book {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @ManyToOne(
    () => Shelf,
    (shelf) => shelf.books,
    { onDelete: 'CASCADE' },
  )
  shelf!: Shelf

  @Attachment({ accept: 'any' })
  text!: Attached
}

@Entity()
class Leaf {
  @PrimaryColumn({ type: Number })
  id!: number

  @Attachment({ accept: 'any' })
  text!: Attached
}

type Act = (here: People, user: User) => Promise<unknown>

/** What takes rows away without telling which. */
const deletions: Array<[string, Act]> = [
  ['delete(id)', ({ users }, { id }) => users.delete(id)],
  ['a query builder’s delete', ({ users }, { id }) => users.createQueryBuilder().delete().where({ id }).execute()],
  ['raw SQL', ({ dataSource }, { id }) => dataSource.query(`DELETE FROM ${dataSource.driver.escape('user')} WHERE id = ${id}`)],
  ['deleteAll()', ({ users }) => users.deleteAll()],
]

/** What changes a row, and no file. */
const changes: Array<[string, Act]> = [
  ['update()', ({ users }, { id }) => users.update(id, { name: 'changed' })],
  ['upsert()', ({ users }, { id }) => users.upsert({ id, name: 'changed' }, ['id'])],
  ['a query builder’s update', ({ users }, { id }) => users.createQueryBuilder().update().set({ name: 'changed' }).where({ id }).execute()],
  ['increment() and decrement()', ({ users }, { id }) => users.increment({ id }, 'visits', 3).then(() => users.decrement({ id }, 'visits', 1))],
  ['softDelete(id) and restore(id)', ({ users }, { id }) => users.softDelete(id).then(() => users.restore(id))],
  ['softRemove() and recover()', ({ users }, user) => users.softRemove(user).then((gone) => users.recover(gone))],
  ['raw SQL', ({ dataSource }, { id }) => dataSource.query(`UPDATE ${dataSource.driver.escape('user')} SET name = 'changed' WHERE id = ${id}`)],
]

describe.each(databases)('behind the library’s back, on %s', (on) => {
  it.each(deletions)('rows that go by %s leave the files, and break nothing', async (_name, remove) => {
    const here = await people(on)
    const user = await here.saved()
    await remove(here, user)
    await here.attachments.idle()
    expect(await here.users.count()).toBe(0)
    expect(stored(here)).toEqual(keysOf(user.avatar))
    expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(0)
  })

  it.each(deletions)('rows that go by %s while their job waits end the job quietly', async (_name, remove) => {
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.users.save(await here.attached())
    await remove(here, user)
    await background.run()
    expect(stored(here)).toEqual([])
  })

  it('rows that go by ON DELETE CASCADE leave the files, and end their jobs quietly', async () => {
    const background = heldBackground()
    const here = await world([Shelf, Book], { on, background })
    const [done, waiting] = [new Book(), new Book()]
    for (const book of [done, waiting]) await here.attachments.attach(book, 'text', Buffer.from('text'))
    const shelf = await here.dataSource.manager.save(Object.assign(new Shelf(), { books: [done] }))
    await background.run()
    await here.dataSource.manager.save(Object.assign(waiting, { shelf }))
    await here.dataSource.manager.remove(await here.dataSource.manager.findOneByOrFail(Shelf, { id: shelf.id }))
    expect(await here.dataSource.manager.count(Book)).toBe(0)
    await background.run()
    expect(stored(here)).toEqual(keysOf(done.text))
  })

  it('a table that is emptied by clear() ends the jobs quietly, also where an id comes again', async () => {
    const background = heldBackground()
    const here = await world([Leaf], { on, background })
    const leaves = here.dataSource.getRepository(Leaf)
    const make = async () => {
      const leaf = Object.assign(new Leaf(), { id: 7 })
      await here.attachments.attach(leaf, 'text', Buffer.from('text'))
      return leaves.save(leaf)
    }
    await make()
    await leaves.clear()
    const { text } = await make()
    await background.run()
    const left = await leaves.find()
    expect(left).toMatchObject([{ id: 7, text: { version: text.version, processing: false } }])
    expect(stored(here)).toEqual(keysOf(left[0]?.text))
  })

  it.each(changes)('%s of a row changes nothing of its file, done or waiting', async (_name, change) => {
    const background = heldBackground()
    const here = await people(on, { background })
    const done = await here.users.save(await here.attached())
    await background.run()
    const waiting = await here.users.save(await here.attached(second))
    const before = (await here.fresh(done)).avatar
    for (const user of [done, waiting]) await change(here, await here.fresh(user))
    expect((await here.fresh(done)).avatar).toEqual(before)
    expect((await here.fresh(waiting)).avatar).toMatchObject({ processing: true, version: waiting.avatar?.version })
    await background.run()
    const after = (await here.fresh(waiting)).avatar
    expect(after).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(before, after))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('a row made by insert() or upsert() has no file, and takes one', async () => {
    const here = await people(on)
    await here.users.insert({ name: 'inserted' })
    await here.users.upsert({ id: 77, name: 'upserted' }, ['id'])
    for (const user of await here.users.find()) {
      expect(user.avatar).toMatchObject({ present: false, processing: false })
      await here.attachments.attach(user, 'avatar', await second)
      await here.users.save(user)
    }
    await here.attachments.idle()
    const avatars = (await here.users.find()).map(({ avatar }) => avatar)
    expect(avatars.map((avatar) => [avatar?.processing, avatar?.width])).toEqual(Array(2).fill([false, 80]))
  })

  it('upsert() with an attached file replaces that of the row, whose files go', async () => {
    const here = await world([Label], { on })
    const labels = here.dataSource.getRepository(Label)
    const label = labels.create({ code: 'a' })
    await here.attachments.attach(label, 'image', await first)
    await labels.save(label)
    await here.attachments.idle()
    await here.attachments.attach(label, 'image', await second)
    await labels.upsert({ code: 'a', image: label.image } as never, ['code'])
    await here.attachments.idle()
    const { image } = await labels.findOneByOrFail({ code: 'a' })
    expect(image).toMatchObject({ processing: false, error: null, width: 80 })
    expect(stored(here)).toEqual(keysOf(image))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('a job ends well on a row that is soft-deleted', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const user = await here.users.save(await here.attached())
    await here.users.softRemove(user)
    await background.run()
    const [gone] = await here.users.find({ withDeleted: true })
    expect(gone?.avatar).toMatchObject({ present: true, processing: false, error: null })
    expect(await here.users.count()).toBe(0)
    expect(stored(here)).toEqual(keysOf(gone?.avatar))
  })
})
