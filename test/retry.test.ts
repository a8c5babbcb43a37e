import 'reflect-metadata'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Attached, Attachment, type Attachments, inlineBackground, inProcessBackground, StorageError } from '../src'
import { scribe, watched } from './support/doubles'
import { filesIn, heldBackground, type World, world } from './support/world'

const pen = scribe()

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1', b: '2x2' }, accept: 'any', processors: [pen] })
  avatar!: Attached<'a' | 'b'>

  @Attachment({ accept: 'any' })
  paper!: Attached
}

@Entity()
class Pet {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ accept: 'any' })
  photo!: Attached
}

const fresh = ({ dataSource }: Pick<World, 'dataSource'>, { id }: User) => dataSource.getRepository(User).findOneByOrFail({ id })

/** A storage that takes everything but the keys which hold this. */
function refusing(part: string) {
  const storage = watched()
  storage.beforeWrite = (key) => {
    if (key.includes(part)) throw new StorageError('down', 'the storage is down')
  }
  return storage
}

async function user({ attachments, dataSource }: Pick<World, 'attachments' | 'dataSource'>) {
  const user = new User()
  await attachments.attach(user, 'avatar', Buffer.from('text'))
  await dataSource.manager.save(user)
  await attachments.idle()
  return user
}

beforeEach(() => pen.reset())

describe('retry()', () => {
  it('sets a failed file going again, shows that to the entity, and makes only what is missing', async () => {
    const storage = refusing('/b/')
    const background = heldBackground()
    const here = await world([User, Pet], { storage, background, retry: { attempts: 1 } })
    const { id } = await user(here)
    await background.run()
    const failed = await fresh(here, { id } as User)
    expect(failed.avatar).toMatchObject({ processing: false, error: { code: 'down' } })
    expect(background.jobs).toEqual([])
    const done = [pen.made.length, storage.written.length]

    storage.beforeWrite = () => undefined
    expect(await here.attachments.retry(failed, 'avatar')).toBe(true)
    expect(failed.avatar).toMatchObject({ present: true, processing: true, error: null })
    expect((await fresh(here, failed)).avatar).toEqual(failed.avatar)
    expect(background.jobs).toMatchObject([{ kind: 'process', version: failed.avatar.version, keys: [failed.avatar.path('b')] }])
    await background.run()
    expect((await fresh(here, failed)).avatar).toMatchObject({ processing: false, error: null })
    expect(pen.made.slice(done[0])).toEqual(['b'])
    expect(storage.written.slice(done[1])).toEqual([failed.avatar.path('b')])
    expect(storage.objects.size).toBe(3)
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('gives it all of its attempts anew', async () => {
    const storage = refusing('/b/')
    const here = await world([User, Pet], { storage, retry: { attempts: 3, backoff: () => 1 } })
    const failed = await user(here)
    const tries = () => storage.written.filter((key) => key.includes('/b/')).length
    expect(tries()).toBe(3)
    expect(await here.attachments.retry(failed, 'avatar')).toBe(true)
    await here.attachments.idle()
    expect(tries()).toBe(6)
    expect((await fresh(here, failed)).avatar).toMatchObject({ processing: false, error: { attempts: 3 } })
  })

  it('shows the entity how it ended, where that is done on the spot', async () => {
    const storage = refusing('/b/')
    const here = await world([User, Pet], { storage, background: inlineBackground() })
    const failed = await user(here)
    expect(failed.avatar.error).toMatchObject({ code: 'down' })
    storage.beforeWrite = () => undefined
    expect(await here.attachments.retry(failed, 'avatar')).toBe(true)
    expect(failed.avatar).toMatchObject({ processing: false, error: null })
    expect(failed.avatar).toEqual((await fresh(here, failed)).avatar)
  })

  it('may be asked by many at once, and does it once', async () => {
    const background = heldBackground()
    const here = await world([User, Pet], { storage: refusing('/b/'), background, retry: { attempts: 1 } })
    const failed = await user(here)
    await background.run()
    const asked = await Promise.all(Array.from({ length: 5 }, () => here.attachments.retry(failed, 'avatar')))
    expect(asked.sort()).toEqual([false, false, false, false, true])
    expect(background.jobs).toHaveLength(1)
  })

  it.each([
    ['is done', async () => undefined],
    ['is processing', async ({ dataSource }: World) => dataSource.query('UPDATE "user" SET avatar_processing = true')],
    [
      'was detached',
      async ({ dataSource, attachments }: World, user: User) => {
        await attachments.detach(user, 'avatar')
        await dataSource.manager.save(user)
        await attachments.idle()
      },
    ],
    ['was removed', async ({ dataSource }: World) => dataSource.query('DELETE FROM "user"')],
  ])('of a file that %s is false, and changes nothing', async (_what, make) => {
    const background = inProcessBackground()
    const here = await world([User, Pet], { background })
    const other = await user(here)
    await make(here, other)
    const rows = await here.dataSource.query('SELECT * FROM "user"')
    const entity = Object.assign(new User(), { id: other.id })
    expect(await here.attachments.retry(entity, 'avatar')).toBe(false)
    expect(await here.attachments.retry(other, 'paper')).toBe(false)
    await here.attachments.idle()
    expect(await here.dataSource.query('SELECT * FROM "user"')).toEqual(rows)
    expect(entity.avatar).toBeUndefined()
  })

  it('of an entity that was never saved is false', async () => {
    const { attachments } = await world([User, Pet])
    expect(await attachments.retry(new User(), 'avatar')).toBe(false)
  })
})

describe('retryAll()', () => {
  /** So many users without success, and one each of what must be left alone. */
  async function failures(count: number, { attachments, dataSource }: World, work: () => Promise<void>, mend: () => void) {
    const users = Array.from({ length: count }, () => new User())
    for (const user of users) await attachments.attach(user, 'avatar', Buffer.from('text'))
    const [pet, papers] = [new Pet(), new User()]
    await attachments.attach(pet, 'photo', Buffer.from('text'))
    await attachments.attach(papers, 'paper', Buffer.from('text'))
    await dataSource.manager.save([...users, pet, papers])
    await work()
    mend()
    const [good, empty] = [new User(), new User()]
    await attachments.attach(good, 'avatar', Buffer.from('text'))
    await dataSource.manager.save([good, empty])
    await work()
  }
  const failed = async ({ dataSource }: World) =>
    (await dataSource.query('SELECT id FROM "user" WHERE avatar_error IS NOT NULL AND NOT avatar_processing')).length

  it('tries every failed file of the attachment again, however many there are, and no other', async () => {
    const storage = refusing('/')
    const background = heldBackground()
    const here = await world([User, Pet], { storage, background, retry: { attempts: 1 } })
    await failures(230, here, background.run, () => {
      storage.beforeWrite = () => undefined
    })
    expect(await failed(here)).toBe(230)
    expect(await here.attachments.retryAll(User, 'avatar')).toBe(230)
    expect(await failed(here)).toBe(0)
    expect(background.jobs).toHaveLength(230)
    await background.run()
    const repository = here.dataSource.getRepository(User)
    expect(await repository.countBy({ avatar: { processing: false } })).toBe(233)
    expect(await here.dataSource.query('SELECT count(*)::int FROM "user" WHERE avatar_error IS NOT NULL')).toEqual([{ count: 0 }])
    expect(await here.dataSource.query('SELECT count(*)::int FROM pet WHERE photo_error IS NOT NULL')).toEqual([{ count: 1 }])
    expect(await here.dataSource.query('SELECT count(*)::int FROM "user" WHERE paper_error IS NOT NULL')).toEqual([{ count: 1 }])
    expect(await here.attachments.retryAll(User, 'avatar')).toBe(0)
  })

  it('ends although all of them fail again at once', async () => {
    const storage = refusing('/')
    const here = await world([User, Pet], { storage, background: inlineBackground() })
    await failures(
      110,
      here,
      async () => undefined,
      () => undefined,
    )
    expect(await failed(here)).toBe(111)
    expect(await here.attachments.retryAll(User, 'avatar')).toBe(111)
    expect(await failed(here)).toBe(111)
  })

  it('asks for an attachment that there is', async () => {
    const { attachments } = await world([User, Pet])
    const untyped = attachments as { retryAll(entity: unknown, property: string): ReturnType<Attachments['retryAll']> }
    await expect(untyped.retryAll(User, 'avatr')).rejects.toMatchObject({
      code: 'unknown_attachment',
      message: expect.stringContaining('User.avatar'),
    })
  })
})
