import 'reflect-metadata'
import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  type Attached,
  Attachment,
  Attachments,
  type AttachmentsOptions,
  diskStorage,
  memoryStorage,
  ProcessingError,
  type Storage,
  type StoredObject,
} from '../src'
import { s3Storage } from '../src/storage/s3'
import { scribe, watched } from './support/doubles'
import { database, filesIn, folder, heldBackground, newBucket } from './support/world'

const pen = scribe()

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1', b: '2x2' }, accept: 'any', processors: [pen], processInBackground: { only: ['b'] } })
  avatar!: Attached<'a' | 'b'>

  @Attachment({ accept: 'any' })
  paper!: Attached
}

const hours = 3600_000

/** A process with this staging; the next one shares its database, its storage and its queue, and knows nothing of its intents. */
async function start(staging: Storage, options: Partial<AttachmentsOptions> = {}) {
  const dataSource = await database([User])
  const users = dataSource.getRepository(User)
  const background = heldBackground()
  const storage = watched()
  const set = () => new Attachments({ staging, storage, background, retry: { attempts: 1 }, ...options })
  const attachments = set()
  await attachments.connect(dataSource)
  return {
    dataSource,
    users,
    background,
    storage,
    attachments,
    async attached(property: 'avatar' | 'paper' = 'avatar', user = new User()) {
      await attachments.attach(user, property, Buffer.from('text'))
      return user
    },
    fresh: (user: User) => users.findOneByOrFail({ id: user.id }),
    async restart() {
      await attachments.close()
      const next = set()
      await next.connect(dataSource)
      return next
    },
  }
}

/** A staging on the disk, and a way to make all that lies in it so many hours old. */
async function disk() {
  const root = await folder()
  const files = async () => (await filesIn(root)).filter((file) => /\w\.\w+$|original$|README$/.test(file))
  const age = async (old: number) => {
    const then = new Date(Date.now() - old * hours)
    for (const file of await files()) await utimes(join(root, file), then, then)
  }
  return { root, staging: diskStorage({ root }), files, age }
}

beforeEach(() => pen.reset())

describe('sweepStaging()', () => {
  it('deletes what was attached and never saved, after a day and not earlier', async () => {
    const { root, staging, files, age } = await disk()
    const { attached, restart } = await start(staging)
    await attached()
    await attached('paper')
    const next = await restart()
    expect(await files()).toHaveLength(3)
    await age(23)
    expect(await next.sweepStaging()).toBe(0)
    expect(await files()).toHaveLength(3)
    await age(25)
    expect(await next.sweepStaging()).toBe(3)
    expect(await filesIn(root)).toEqual([])
    await next.close()
  })

  it('leaves what this process may still save', async () => {
    const { staging, files, age } = await disk()
    const { attachments, attached, users, background, fresh } = await start(staging)
    const user = await attached()
    await users.manager
      .transaction(async (manager) => {
        await manager.save(user)
        throw new Error('no')
      })
      .catch(() => undefined)
    await age(25)
    expect(await attachments.sweepStaging()).toBe(0)
    expect(await files()).toHaveLength(2)
    await users.save(user)
    await background.run()
    expect((await fresh(user)).avatar).toMatchObject({ processing: false, error: null })
    await attachments.close()
  })

  it('leaves what rows refer to, whether they are processing or have failed', async () => {
    const { root, staging, age } = await disk()
    const { attached, users, background, storage, fresh, restart } = await start(staging)
    const [failed, processing, replaced] = [await attached(), await attached(), await attached()]
    await users.save(failed)
    storage.beforeWrite = () => {
      throw new ProcessingError('refused', 'it takes nothing')
    }
    await background.run()
    storage.beforeWrite = () => undefined
    await users.save([processing, replaced])
    await users.save(await attached('avatar', replaced))
    const next = await restart()
    await age(24 * 30)
    await next.sweepStaging()
    for (const user of [failed, processing, replaced])
      expect(await buffer(await (await fresh(user)).avatar.stream('original'))).toEqual(Buffer.from('text'))
    await next.retry(await fresh(failed), 'avatar')
    await background.run()
    for (const user of [failed, processing, replaced]) expect((await fresh(user)).avatar).toMatchObject({ processing: false, error: null })
    expect(storage.objects.size).toBe(9)
    expect(await filesIn(root)).toEqual([])
    await next.close()
  })

  it.each(['of which nothing was written', 'of which one style cannot be made'])(
    'leaves what a failed file %s needs after a reprocess()',
    async (how) => {
      const { root, staging, age } = await disk()
      const { attached, users, background, storage, fresh, restart } = await start(staging)
      const user = await attached()
      await users.save(user)
      const refuse = () => {
        throw new ProcessingError('refused', 'not now')
      }
      if (how.includes('nothing')) storage.beforeWrite = refuse
      else pen.before = refuse
      await background.run()
      const next = await restart()
      const again = next.reprocess(await fresh(user), 'avatar', ['b'])
      if (how.includes('nothing')) await expect(again).rejects.toMatchObject({ code: 'not_stored' })
      else expect(await again).toBe(true)
      await background.run()
      expect((await fresh(user)).avatar.error).toMatchObject({ code: 'refused' })
      await age(25)
      await next.sweepStaging()
      expect(await buffer(await (await fresh(user)).avatar.stream('original'))).toEqual(Buffer.from('text'))
      storage.beforeWrite = () => undefined
      pen.reset()
      await next.retry(await fresh(user), 'avatar')
      await background.run()
      expect((await fresh(user)).avatar).toMatchObject({ processing: false, error: null })
      expect(storage.objects.size).toBe(3)
      expect(await filesIn(root)).toEqual([])
      await next.close()
    },
  )

  it('leaves folders and files that it does not know, and notes', async () => {
    const { root, staging, files, age } = await disk()
    const { attachments, background } = await start(staging)
    const version = 'ab'.repeat(16)
    const strangers = [
      'README',
      `Elsewhere/avatar/ab/${version}/original`,
      `User/elsewhere/ab/${version}/original`,
      `other/User/avatar/ab/${version}/original`,
      `User/avatar/ab/${version}/more/original`,
      'User/avatar/README',
      'User/avatar/ab/mine/x.txt',
      '.deletes/x.json',
    ]
    for (const file of strangers) {
      await mkdir(dirname(join(root, file)), { recursive: true })
      await writeFile(join(root, file), 'x')
    }
    await age(24 * 365)
    expect(await attachments.sweepStaging()).toBe(0)
    expect(await files()).toEqual(strangers.sort())
    expect(background.jobs).toEqual([])
    await attachments.close()
  })

  it('deletes parts of writes that were killed, once they are a day old', async () => {
    const { root, staging } = await disk()
    const { attachments } = await start(staging)
    for (const [name, old] of [
      ['old', 25],
      ['young', 23],
    ] as const) {
      await writeFile(join(root, `.part-${name}`), 'x')
      const then = new Date(Date.now() - old * hours)
      await utimes(join(root, `.part-${name}`), then, then)
    }
    await attachments.sweepStaging()
    expect(await filesIn(root)).toEqual(['.part-young'])
    await attachments.close()
  })

  it('finds them among any number of others', async () => {
    const { staging, files, age } = await disk()
    const { attached, users, background, restart } = await start(staging)
    const saved = await Promise.all(Array.from({ length: 130 }, () => attached('paper')))
    await users.save(saved)
    await Promise.all(Array.from({ length: 230 }, () => attached('paper')))
    const next = await restart()
    await age(25)
    expect(await next.sweepStaging()).toBe(230)
    expect(await files()).toHaveLength(130)
    await background.run()
    expect(await files()).toEqual([])
    await next.close()
  })

  it('goes by the clock of the storage, not of this machine', async () => {
    for (const wrong of [-30 * 24, 30 * 24]) {
      const { staging, files, age } = await disk()
      async function* list(prefix: string): AsyncIterable<StoredObject> {
        for await (const object of staging.list?.(prefix) ?? []) yield { ...object, modified: new Date(object.modified.getTime() + wrong * hours) }
      }
      const { attached, restart } = await start({ ...staging, list })
      await attached('paper')
      const next = await restart()
      await age(23)
      expect(await next.sweepStaging()).toBe(0)
      await age(25)
      expect(await next.sweepStaging()).toBe(1)
      expect(await files()).toEqual([])
      await next.close()
    }
  })

  it('is what a worker does when it starts', async () => {
    const { root, staging, age } = await disk()
    const { attached, restart } = await start(staging)
    await attached()
    const next = await restart()
    await age(25)
    const worker = await next.work()
    await expect.poll(() => filesIn(root)).toEqual([])
    await worker.stop()
    await next.close()
  })

  it('does nothing where the staging cannot be listed', async () => {
    const { list: _, ...staging } = memoryStorage()
    const { attached, restart } = await start(staging)
    await attached()
    const next = await restart()
    expect(await next.sweepStaging({ olderThan: -60_000 })).toBe(0)
    await next.close()
  })
})

describe.each([
  ['memory', async () => memoryStorage()],
  [
    'S3',
    async () => {
      const { client, bucket } = await newBucket()
      return s3Storage({ client, bucket, prefix: 'staged/' })
    },
  ],
])('a staging in %s', (_where, make) => {
  it('is swept as well: what nobody saved goes, and nothing else', async () => {
    const staging = await make()
    const { attachments, attached, users, background, fresh, restart } = await start(staging)
    const keys = async () => {
      const found: string[] = []
      for await (const { key } of staging.list?.('') ?? []) found.push(key)
      return found.sort()
    }
    const [saved, unsaved] = [await attached(), await attached()]
    await users.save(saved)
    await staging.write('README', Buffer.from('x'), { contentType: 'text/plain' })
    const all = await keys()
    expect(all).toHaveLength(5)
    // all of it is old then
    const olderThan = -60_000
    expect(await attachments.sweepStaging({ olderThan })).toBe(0)
    const next = await restart()
    expect(await next.sweepStaging()).toBe(0)
    expect(await keys()).toEqual(all)
    expect(await next.sweepStaging({ olderThan })).toBe(2)
    expect(await keys()).toEqual(all.filter((key) => !key.includes(unsaved.avatar.version as string)))
    await background.run()
    expect((await fresh(saved)).avatar).toMatchObject({ processing: false, error: null })
    expect(await keys()).toEqual(['README'])
    await next.close()
  })
})
