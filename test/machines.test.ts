import 'reflect-metadata'
import { rename } from 'node:fs/promises'
import { Client, type Pool } from 'pg'
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, inject, it, onTestFinished } from 'vitest'
import { createDatabase, startPostgres } from '../examples/services/postgres'
import { type Attached, Attachment, diskStorage, memoryStorage, type Storage } from '../src'
import { jpeg } from './support/pictures'
import { filesIn, folder, heldBackground, type World, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'>
}

const photo = jpeg(200, 100)

async function saved({ dataSource, attachments }: Pick<World, 'dataSource' | 'attachments'>): Promise<User> {
  const user = new User()
  await attachments.attach(user, 'avatar', await photo)
  await dataSource.manager.save(user)
  return user
}

const avatarOf = async ({ dataSource }: Pick<World, 'dataSource'>, { id }: User) => (await dataSource.manager.findOneByOrFail(User, { id })).avatar

/** What a disk says that has no room left. */
const noSpace = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' })

it('a staging without room refuses the file, keeps nothing of it, and takes the next when there is room', async () => {
  const root = await folder()
  const disk = diskStorage({ root })
  let full = true
  const staging: Storage = {
    ...disk,
    write: (key, body, info) =>
      disk.write(
        key,
        (async function* () {
          yield* body instanceof Uint8Array ? [body] : body
          if (full) throw noSpace()
        })() as never,
        info,
      ),
  }
  const here = await world([User], { staging })
  await expect(saved(here)).rejects.toThrow('no space left')
  expect(await filesIn(root)).toEqual([])
  full = false
  const user = await saved(here)
  await here.attachments.idle()
  expect(await avatarOf(here, user)).toMatchObject({ processing: false, error: null })
})

it('a storage without room fails the file and keeps its original; when there is room again it is retried', async () => {
  const inner = memoryStorage()
  let full = true
  const storage: Storage = { ...inner, write: async (...all) => (full ? Promise.reject(noSpace()) : inner.write(...all)) }
  const here = await world([User], { storage })
  const user = await saved(here)
  await here.attachments.idle()
  expect((await avatarOf(here, user)).error).toMatchObject({ message: expect.stringContaining('no space left'), attempts: 2 })
  full = false
  expect(await here.attachments.retry(user, 'avatar')).toBe(true)
  await here.attachments.idle()
  expect(await avatarOf(here, user)).toMatchObject({ processing: false, error: null })
  expect(await filesIn(here.staging)).toEqual([])
})

it('a staging folder that has vanished fails the file with its path; when it is back it is retried', async () => {
  const background = heldBackground()
  const here = await world([User], { background, retry: { attempts: 1 } })
  const user = await saved(here)
  await rename(here.staging, `${here.staging}-away`)
  await background.run()
  const { error, version } = await avatarOf(here, user)
  expect(error).toMatchObject({ code: 'object_missing', message: expect.stringContaining(here.staging) })
  await rename(`${here.staging}-away`, here.staging)
  expect(await here.attachments.retry(user, 'avatar')).toBe(true)
  await background.run()
  expect(await avatarOf(here, user)).toMatchObject({ processing: false, error: null, version })
  expect(await filesIn(here.staging)).toEqual([])
})

it('connections that the database cuts, at whatever moment of a job, cost an attempt and nothing else', async () => {
  const root = await folder()
  const here = await world([User], { staging: diskStorage({ root }), retry: { attempts: 50, backoff: () => 20 } })
  // pg tells a client that is cut in the moment of its first answer before TypeORM listens
  const { master } = here.dataSource.driver as unknown as { master: Pool }
  master.on('connect', (client) => client.on('error', () => undefined))
  const admin = new Client({ connectionString: inject('postgres') })
  await admin.connect()
  const database = here.dataSource.driver.database as string
  const users = await Promise.all(Array.from({ length: 10 }, () => saved(here)))
  let idle = false
  const ended = here.attachments.idle().then(() => {
    idle = true
  })
  let cut = 0
  while (!idle) {
    const { rowCount } = await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database])
    cut += rowCount ?? 0
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
  await ended
  await admin.end()
  expect(cut).toBeGreaterThan(0)
  // an attempt may have lost even the word that it failed
  await expect
    .poll(async () => {
      await here.attachments.requeueLost({ olderThan: -1_000 })
      await here.attachments.idle()
      return (await Promise.all(users.map((user) => avatarOf(here, user)))).filter(({ processing, error }) => processing || error).length
    })
    .toBe(0)
  expect(here.storage.objects.size).toBe(20)
  expect((await filesIn(root)).filter((file) => file.endsWith('original'))).toEqual([])
})

it('a database that crashes and comes back in the middle of a job loses nothing', async () => {
  const postgres = await startPostgres()
  onTestFinished(async () => void (await postgres.stop()))
  await createDatabase(postgres.url('postgres'), 'crashing')
  const admin = new Client({ connectionString: postgres.url('postgres') })
  await admin.connect()
  // the tests' server is in a hurry otherwise
  await admin.query('ALTER DATABASE crashing SET synchronous_commit = on')
  await admin.end()
  const dataSource = await new DataSource({ type: 'postgres', url: postgres.url('crashing'), entities: [User], synchronize: true }).initialize()
  onTestFinished(() => dataSource.destroy())
  const inner = memoryStorage()
  let crashed = false
  const storage: Storage = {
    ...inner,
    write: async (...all) => {
      if (!crashed) {
        crashed = true
        const [{ pid }] = await dataSource.query('SELECT pg_backend_pid() AS pid')
        process.kill(pid, 'SIGKILL')
      }
      await inner.write(...all)
    },
  }
  const here = await world([User], { dataSource, storage, retry: { attempts: 100, backoff: () => 50 } })
  const user = await saved(here)
  await here.attachments.idle()
  await expect.poll(() => avatarOf(here, user).catch(() => null), { timeout: 20_000 }).toMatchObject({ processing: false, error: null })
  expect(crashed).toBe(true)
  expect(inner.objects.size).toBe(2)
  expect(await filesIn(here.staging)).toEqual([])
})
