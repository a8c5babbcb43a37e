import 'reflect-metadata'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type Attached,
  Attachment,
  AttachmentError,
  Attachments,
  type BackgroundAdapter,
  diskStorage,
  inProcessBackground,
  type Job,
  memoryStorage,
  type Perform,
  StorageError,
} from '../src'
import { door, scribe, watched } from './support/doubles'
import { filesIn, world } from './support/world'

const pen = scribe()

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processors: [pen] })
  avatar!: Attached<'a'>
}

const hour = 3600_000

async function start() {
  const storage = watched()
  const here = await world([User], { storage, background: inProcessBackground({ concurrency: 1 }), retry: { attempts: 3, backoff: () => hour } })
  const users = here.dataSource.getRepository(User)
  return {
    ...here,
    storage,
    users,
    async save(count: number) {
      const saved = Array.from({ length: count }, () => new User())
      for (const user of saved) await here.attachments.attach(user, 'avatar', Buffer.from('text'))
      return users.save(saved)
    },
    states: async () =>
      (await users.find({ order: { id: 'ASC' } })).map(({ avatar }) => (avatar.processing ? 'processing' : (avatar.error?.code ?? 'done'))),
    /** Another process, with what it finds by itself. */
    async next() {
      const attachments = new Attachments({ staging: diskStorage({ root: here.staging }), storage, background: inProcessBackground() })
      await attachments.connect(here.dataSource)
      onTestFinished(() => attachments.close())
      return attachments
    },
  }
}

beforeEach(() => pen.reset())

describe('close()', () => {
  it('finishes the job that runs, and hands back those that have not begun: the next worker finds them at once', async () => {
    const { attachments, save, states, next, storage, staging } = await start()
    const gate = door()
    storage.beforeWrite = gate.pass
    await save(4)
    await expect.poll(() => gate.came).toBe(2)
    const closed = attachments.close()
    gate.open()
    await closed
    expect(await states()).toEqual(['done', 'processing', 'processing', 'processing'])
    expect(pen.made).toEqual(['a'])

    const following = await next()
    expect(await following.requeueLost()).toBe(3)
    await following.idle()
    expect(await states()).toEqual(['done', 'done', 'done', 'done'])
    expect(storage.objects.size).toBe(8)
    expect(await filesIn(staging)).toEqual([])
  })

  it('hands back a job that waits for its next attempt', async () => {
    const { attachments, save, states, next, storage } = await start()
    storage.beforeWrite = () => {
      throw new StorageError('down', 'the storage is down')
    }
    await save(1)
    await expect.poll(() => storage.written.length).toBe(2)
    await attachments.close()
    expect(await states()).toEqual(['processing'])
    storage.beforeWrite = () => undefined
    const following = await next()
    expect(await following.requeueLost()).toBe(1)
    await following.idle()
    expect(await states()).toEqual(['done'])
  })

  it('does not touch what was replaced, detached or removed since its job was sent', async () => {
    const { attachments, save, users, storage, staging, states, next } = await start()
    const gate = door()
    pen.before = gate.pass
    const [, replaced, detached, removed] = await save(4)
    await expect.poll(() => gate.came).toBe(1)
    await attachments.attach(replaced as User, 'avatar', Buffer.from('another'))
    await users.save(replaced as User)
    await attachments.detach(detached as User, 'avatar')
    await users.save(detached as User)
    await users.remove(removed as User)
    const closed = attachments.close()
    gate.open()
    await closed
    const rows = await users.find({ order: { id: 'ASC' } })
    expect(rows.map(({ avatar }) => [avatar.fileSize, avatar.processing])).toEqual([
      [4, false],
      [7, true],
      [null, false],
    ])
    const following = await next()
    expect(await following.requeueLost()).toBe(1)
    await following.idle()
    expect(await states()).toEqual(['done', 'done', 'done'])
    expect(storage.objects.size).toBe(4)
    expect((await filesIn(staging)).filter((file) => file.endsWith('original'))).toEqual([])
  })

  it('deletes at once what waits for another try to be deleted', async () => {
    const { attachments, save, users, storage, staging } = await start()
    await save(2)
    await attachments.idle()
    storage.beforeDelete = () => {
      if (storage.deleted.length === 1) throw new StorageError('down', 'the storage is down')
    }
    await users.remove(await users.find())
    await expect.poll(() => storage.deleted.length).toBe(1)
    await attachments.close()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
  })

  it('lets what it could not delete be found by the next process', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => warned.mockRestore())
    const { attachments, save, users, storage, staging, next } = await start()
    await save(1)
    await attachments.idle()
    storage.beforeDelete = () => {
      throw new StorageError('down', 'the storage is down')
    }
    await users.remove(await users.find())
    await attachments.close()
    expect(storage.objects.size).toBe(2)
    storage.beforeDelete = () => undefined
    const following = await next()
    expect(await following.requeueLost({ olderThan: -1_000 })).toBe(1)
    await following.idle()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
  })

  it('refuses what is no job, as at other times', async () => {
    let perform: Perform | undefined
    const outcomes: unknown[] = []
    const background: BackgroundAdapter = {
      start: (given) => {
        perform = given
      },
      enqueue: async () => undefined,
      work: async () => ({ stop: async () => undefined }),
      async close() {
        for (const bad of [null, undefined, {}, { kind: 'process' }]) await perform?.(bad as unknown as Job, 1).catch((error) => outcomes.push(error))
      },
    }
    const { attachments } = await world([User], { background })
    await attachments.close()
    expect(outcomes).toHaveLength(4)
    for (const outcome of outcomes) expect(outcome).toBeInstanceOf(AttachmentError)
  })
})

it('stream() of an entity that was loaded before its file moved still finds the original', async () => {
  for (const staging of [undefined, memoryStorage()]) {
    const { dataSource, attachments } = await world([User], staging ? { staging } : {})
    const user = new User()
    await attachments.attach(user, 'avatar', Buffer.from('text'))
    await dataSource.manager.save(user)
    const early = structuredClone(user.avatar.meta?.styles['original'])
    await attachments.idle()
    expect(early).toMatchObject({ written: false, staged: expect.any(String) })
    expect(user.avatar.processing).toBe(true)
    expect(Buffer.concat(await (await user.avatar.stream('original')).toArray())).toEqual(Buffer.from('text'))
    await dataSource.manager.remove(user)
    await attachments.idle()
    await expect(user.avatar.stream('original')).rejects.toMatchObject({ code: 'object_missing' })
  }
})
