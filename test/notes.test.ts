import 'reflect-metadata'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type Attached,
  Attachment,
  type AttachmentsOptions,
  type BackgroundAdapter,
  type DeleteJob,
  diskStorage,
  inProcessBackground,
  StorageError,
} from '../src'
import { scribe, watched } from './support/doubles'
import { filesIn, folder, heldBackground, world } from './support/world'

const pen = scribe()

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processors: [pen] })
  avatar!: Attached<'a'>
}

const down = () => {
  throw new StorageError('down', 'the storage is down')
}

function warnings(): string[] {
  const said: string[] = []
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void said.push(String(warning)))
  onTestFinished(() => spy.mockRestore())
  return said
}

/** One user with a file that is done, and jobs that are held back from here on. */
async function start(options: Partial<AttachmentsOptions> = {}) {
  const background = heldBackground()
  const storage = watched()
  const here = await world([User], { background, storage, retry: { attempts: 1 }, ...options })
  const users = here.dataSource.getRepository(User)
  const user = new User()
  await here.attachments.attach(user, 'avatar', Buffer.from('text'))
  await users.save(user)
  await background.run()
  return { ...here, background, storage, users, user }
}

const notesIn = async (staging: string) => (await filesIn(staging)).filter((file) => file.startsWith('.deletes/'))

beforeEach(() => pen.reset())

describe('a delete job that is lost', () => {
  it('is found by requeueLost() when it is old enough, and leaves an empty staging when it is done', async () => {
    const { attachments, background, users, user, storage, staging } = await start()
    await users.remove(user)
    expect(background.jobs.splice(0)).toHaveLength(1)
    expect(await notesIn(staging)).toHaveLength(1)
    expect(await attachments.requeueLost()).toBe(0)
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
    expect(storage.objects.size).toBe(2)
    await background.run()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(0)
  })

  it('because the queue did not take it is found as well, and that is said', async () => {
    const said = warnings()
    const working = heldBackground()
    let broken = false
    const background: BackgroundAdapter = {
      ...working,
      enqueue: (job, sending) => (broken ? Promise.reject(new Error('no queue')) : working.enqueue(job, sending)),
    }
    const { attachments, dataSource, storage, staging } = await start({ background })
    await working.run()
    broken = true
    await dataSource.manager.remove(await dataSource.manager.find(User))
    expect(said).toEqual([expect.stringMatching(/delete job of User\.avatar could not be sent, requeueLost\(\) will find it again: no queue/)])
    broken = false
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
    await working.run()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
  })

  it('and comes again after it was done does no harm', async () => {
    const { attachments, background, users, user, storage, staging } = await start()
    await users.remove(user)
    const again = [...background.jobs]
    await background.run()
    background.jobs.push(...again)
    await background.run()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(0)
  })
})

describe('a delete that keeps failing', () => {
  it('names its keys where somebody sees it, keeps its note, and is done by a later requeueLost()', async () => {
    const said = warnings()
    const { attachments, dataSource, storage, staging } = await start({ background: inProcessBackground(), retry: { attempts: 3, backoff: () => 1 } })
    await attachments.idle()
    const keys = [...storage.objects.keys()]
    storage.beforeDelete = down
    await dataSource.manager.remove(await dataSource.manager.find(User))
    await attachments.idle()
    expect(storage.deleted).toHaveLength(3)
    for (const key of keys) expect(said).toEqual([expect.stringContaining(`default: ${key}`)])
    expect(await notesIn(staging)).toHaveLength(1)
    storage.beforeDelete = () => undefined
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
    await attachments.idle()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
  })

  it('rejects with the keys for a queue that keeps what failed', async () => {
    const { background, users, user, storage } = await start()
    const key = user.avatar.path('a') as string
    storage.beforeDelete = down
    await users.remove(user)
    await expect(background.run()).rejects.toMatchObject({ name: 'StorageError', code: 'not_deleted', message: expect.stringContaining(key) })
  })
})

it('a damaged note is spoken of, left, and keeps no other from being found', async () => {
  const said = warnings()
  const root = await folder()
  const staging = diskStorage({ root })
  const { attachments, background, users, user, storage } = await start({ staging })
  const valid: DeleteJob = {
    kind: 'delete',
    entity: 'User',
    attachment: 'avatar',
    rows: [],
    note: '.deletes/other.json',
    at: new Date(0).toISOString(),
  }
  const damaged = { 'a.json': '{', 'b.json': '[]', 'c.json': JSON.stringify(valid), 'z.json': JSON.stringify({ ...valid, kind: 'process' }) }
  for (const [name, text] of Object.entries(damaged)) await staging.write(`.deletes/${name}`, Buffer.from(text), { contentType: 'application/json' })
  await users.remove(user)
  background.jobs.length = 0
  expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
  await background.run()
  expect(storage.objects.size).toBe(0)
  for (const name of Object.keys(damaged)) expect(said).toContainEqual(expect.stringContaining(`the note '.deletes/${name}'`))
  expect(await notesIn(root)).toEqual(Object.keys(damaged).map((name) => `.deletes/${name}`))
})

it('a file that was replaced while its job may still write has a note, until it can no longer be written', async () => {
  const { attachments, background, users, user, storage, staging } = await start()
  const replace = async (text: string) => {
    await attachments.attach(user, 'avatar', Buffer.from(text))
    await users.save(user)
  }
  await replace('second')
  const key = user.avatar.path() as string
  // its process dies
  background.jobs.length = 0
  await replace('third')
  await background.run()
  const [note = '', ...others] = await notesIn(staging)
  expect(others).toEqual([])
  // what it has sent arrives now
  await storage.write(key, Buffer.from('second'), { contentType: 'text/plain' })
  expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
  await background.run()
  expect([storage.objects.has(key), storage.objects.size]).toEqual([false, 2])
  const job: DeleteJob = JSON.parse(await readFile(join(staging, note), 'utf8'))
  await writeFile(join(staging, note), JSON.stringify({ ...job, at: new Date(Date.now() - 25 * 3600_000).toISOString() }))
  expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
  await background.run()
  expect(await filesIn(staging)).toEqual([])
  expect(storage.objects.size).toBe(2)
})
