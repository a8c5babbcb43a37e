import 'reflect-metadata'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, type AttachmentsOptions, type DeleteJob, memoryStorage, type Storage, StorageError } from '../src'
import { s3Storage } from '../src/storage/s3'
import { copyRow } from './support/copies'
import { door, scribe, watched } from './support/doubles'
import { filesIn, heldBackground, newBucket, type World, world } from './support/world'

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

it('a removal succeeds although it cannot be written down beforehand, and says so', async () => {
  const said = warnings()
  const staging = memoryStorage()
  const { background, users, user, storage } = await start({
    staging: { ...staging, write: async (key, ...rest) => (key.startsWith('.deletes/') ? down() : staging.write(key, ...rest)) },
  })
  await users.remove(user)
  expect(said).toEqual([expect.stringMatching(/written down.*the storage is down/)])
  expect(await users.count()).toBe(0)
  await background.run()
  expect(storage.objects.size).toBe(0)
})

it('a removal writes nothing down in a staging that cannot be listed', async () => {
  const { list: _, ...staging } = memoryStorage()
  const { background, users, user, storage } = await start({ staging })
  await users.remove(user)
  expect(background.jobs).toMatchObject([{ kind: 'delete', note: null }])
  await background.run()
  expect(storage.objects.size).toBe(0)
  expect((staging as ReturnType<typeof memoryStorage>).objects.size).toBe(0)
})

it('a removal that is rolled back writes nothing down', async () => {
  const { dataSource, background, user, staging } = await start()
  const { id } = user
  for (const nested of [false, true]) {
    const rolledBack = dataSource.transaction(async (outer) => {
      const remove = () => outer.remove(Object.assign(new User(), { id }))
      await (nested ? outer.transaction(remove) : remove())
      throw new Error('no')
    })
    await expect(rolledBack).rejects.toThrow('no')
  }
  expect([await filesIn(staging), background.jobs]).toEqual([[], []])
})

async function refuseRemovals({ dataSource }: World): Promise<void> {
  await dataSource.query("CREATE FUNCTION no() RETURNS trigger AS $$ BEGIN RAISE 'refused'; END $$ LANGUAGE plpgsql")
  await dataSource.query('CREATE CONSTRAINT TRIGGER no AFTER DELETE ON "user" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()')
}

it('a removal whose COMMIT is refused withdraws what it has written down', async () => {
  const here = await start()
  await refuseRemovals(here)
  await expect(here.users.remove(here.user)).rejects.toThrow('refused')
  expect(here.background.jobs).toEqual([])
  expect(await filesIn(here.staging)).toEqual([])
  expect(here.storage.objects.size).toBe(2)
})

it('a removal whose COMMIT is refused deletes nothing, although what it has written down stays', async () => {
  const staging = memoryStorage()
  const notes = () => [...staging.objects.keys()]
  let broken = true
  const here = await start({
    staging: { ...staging, delete: async (keys) => (broken && keys[0]?.startsWith('.deletes/') ? down() : staging.delete(keys)) },
  })
  await refuseRemovals(here)
  await expect(here.users.remove(here.user)).rejects.toThrow('refused')
  expect(notes()).toEqual([expect.stringMatching(/^\.deletes\//)])
  broken = false
  await here.attachments.requeueLost({ olderThan: -1_000 })
  await here.background.run()
  expect(here.storage.objects.size).toBe(2)
  expect(notes()).toEqual([])
})

it('a removal of a file that is still being processed leaves nothing, whichever job is first', async () => {
  for (const first of ['the delete', 'the process'] as const) {
    const { dataSource, attachments, background, storage, staging } = await start()
    const other = new User()
    await attachments.attach(other, 'avatar', Buffer.from('text'))
    await dataSource.manager.save(other)
    const gate = door()
    storage.beforeWrite = gate.pass
    const late = background.run()
    await expect.poll(() => gate.came).toBe(2)
    await dataSource.manager.remove(await dataSource.manager.find(User))
    if (first === 'the process') gate.open()
    if (first === 'the process') await late
    await background.run()
    gate.open()
    await late
    expect([first, storage.objects.size, await filesIn(staging)]).toEqual([first, 0, []])
  }
})

it('a removal of a file whose job dies while it writes leaves nothing after a day', async () => {
  const { attachments, dataSource, background, storage, staging } = await start()
  const other = new User()
  await attachments.attach(other, 'avatar', Buffer.from('text'))
  await dataSource.manager.save(other)
  background.jobs.length = 0
  const key = other.avatar.path() as string
  await dataSource.manager.remove(other)
  await background.run()
  // a request of the dead process that arrives late
  await storage.write(key, Buffer.from('text'), { contentType: 'text/plain' })
  const [note = ''] = await notesIn(staging)
  const job: DeleteJob = JSON.parse(await readFile(join(staging, note), 'utf8'))
  await writeFile(join(staging, note), JSON.stringify({ ...job, at: new Date(Date.now() - 25 * 3600_000).toISOString() }))
  expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
  await background.run()
  expect(storage.objects.size).toBe(2)
  expect(await filesIn(staging)).toEqual([])
})

it('a removal of many rows at once makes few jobs, of at most a thousand keys each', async () => {
  const { attachments, dataSource, background, storage, staging, users } = await start()
  const keys = await copyRow(dataSource, User, 'avatar', 1_500, (key) => storage.write(key, Buffer.from('x'), { contentType: 'text/plain' }))
  expect(keys).toHaveLength(3_000)
  await users.remove(await users.find())
  const jobs = background.jobs as DeleteJob[]
  const counts = jobs.map(({ rows }) => rows.flatMap(({ files }) => files.flatMap((file) => file.keys)).length)
  expect(counts).toEqual([1_000, 1_000, 1_000])
  expect(await notesIn(staging)).toHaveLength(3)
  expect(await attachments.requeueLost()).toBe(0)
  await background.run()
  expect(storage.deleted.map((deleted) => deleted.length)).toEqual([1_000, 1_000, 1_000])
  expect(storage.objects.size).toBe(0)
  expect(await filesIn(staging)).toEqual([])
})

it('a removal of many rows asks S3 to delete them in batches', async () => {
  const { client, bucket } = await newBucket()
  const storage: Storage = s3Storage({ client, bucket })
  const { dataSource, background, users } = await start({ storage })
  await copyRow(dataSource, User, 'avatar', 520, (key) => storage.write(key, Buffer.from('x'), { contentType: 'text/plain' }))
  const batches: number[] = []
  client.middlewareStack.add((next, { commandName }) => async (request) => {
    if (commandName === DeleteObjectsCommand.name) batches.push((request.input as DeleteObjectsCommand['input']).Delete?.Objects?.length ?? 0)
    return next(request)
  })
  await users.remove(await users.find())
  await background.run()
  expect(batches.sort((a, b) => b - a)).toEqual([1_000, 40])
  expect(await storage.list?.('')[Symbol.asyncIterator]().next()).toMatchObject({ done: true })
})
