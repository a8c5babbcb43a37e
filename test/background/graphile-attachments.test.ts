import { expect, it, onTestFinished, vi } from 'vitest'
import { type BackgroundAdapter, memoryStorage, StorageError } from '../../src'
import { graphileBackground } from '../../src/background/graphile'
import { mariadb, postgres, servers } from '../support/databases'
import { type GraphileDatabase, graphileDatabase, letter, warnings } from '../support/graphile'
import { database } from '../support/world'
import { Pet, people, second, state, User } from '../typeorm/people'

const soon = { timeout: 30_000 }

interface Asked {
  /** Statements that were sent within transactions. */
  readonly within: string[]
  /** How many jobs were enqueued after commits. */
  after: number
}

/** An adapter that remembers how it was asked. */
function watching(inner: BackgroundAdapter): BackgroundAdapter & { readonly asked: Asked } {
  const asked: Asked = { within: [], after: 0 }
  return {
    ...inner,
    asked,
    enqueue: (job, sending) => {
      asked.after++
      return inner.enqueue(job, sending)
    },
    enqueueWithin: async (jobs, query, database) => {
      const watched: typeof query = (sql, parameters) => {
        asked.within.push(sql)
        return query(sql, parameters)
      }
      return (await inner.enqueueWithin?.(jobs, watched, database)) ?? false
    },
  }
}

/** People in a database, with the queue in the same one unless another is given. */
async function start(elsewhere?: GraphileDatabase) {
  const dataSource = await database([User, Pet])
  const { url } = dataSource.options as { url: string }
  const queue = elsewhere ?? (await graphileDatabase(url))
  const background = watching(queue.background())
  const here = await people(postgres, { dataSource, background })
  return { ...here, queue, asked: background.asked }
}

const adds = ({ within }: Asked) => within.filter((sql) => sql.includes('add_jobs')).length

it('installs its tables, and writes the job in the transaction of the very first save', async () => {
  const { users, attached, queue, asked, dataSource } = await start()
  const user = await attached()
  await dataSource.transaction(async (manager) => {
    await manager.save(user)
    expect(await queue.pool.query(`SELECT to_regclass('graphile_worker.jobs') AS jobs`)).toMatchObject({ rows: [{ jobs: null }] })
  })
  expect(await queue.jobs()).toMatchObject([{ task_identifier: 'attachments', payload: { kind: 'process', version: user.avatar?.version } }])
  // nobody enqueued it after the commit: a process that is killed right then has lost nothing
  expect(asked.after).toBe(0)
  expect(state((await users.findOneByOrFail({ id: user.id })).avatar)).toBe('processing')
})

it('writes the jobs of one transaction by one statement', async () => {
  const { users, attached, attachments, queue, asked } = await start()
  await users.save(await attached())
  asked.within.splice(0)
  const many = await Promise.all(Array.from({ length: 20 }, () => attached()))
  for (const user of many) await attachments.attach(user, 'letter', Buffer.from('Dear Ada'))
  await users.save(many)
  expect(await queue.jobs()).toHaveLength(41)
  expect(asked.within).toHaveLength(1)
  expect(adds(asked)).toBe(1)
  expect(asked.after).toBe(0)
})

it('leaves no job of what is rolled back, outermost or to a savepoint', async () => {
  const { attached, queue, dataSource, users } = await start()
  const [kept, inner, outer] = [await attached(), await attached(), await attached()]
  await dataSource.transaction(async (manager) => {
    await manager.save(kept)
    const nested = manager.transaction(async (deeper) => {
      await deeper.save(inner)
      throw new Error('no')
    })
    await expect(nested).rejects.toThrow('no')
  })
  const whole = dataSource.transaction(async (manager) => {
    await manager.save(outer)
    throw new Error('no')
  })
  await expect(whole).rejects.toThrow('no')
  expect((await queue.jobs()).map(({ payload }) => (payload as { version: string }).version)).toEqual([kept.avatar?.version])
  expect(await users.count()).toBe(1)
})

it('leaves no job of a commit that is refused', async () => {
  const { attached, queue, dataSource, users } = await start()
  await users.save(await attached())
  await dataSource.query('CREATE FUNCTION no() RETURNS trigger AS $$ BEGIN RAISE $x$no$x$; END $$ LANGUAGE plpgsql')
  await dataSource.query('CREATE CONSTRAINT TRIGGER no AFTER INSERT ON "user" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()')
  await expect(users.save(await attached())).rejects.toThrow('no')
  expect(await queue.jobs()).toHaveLength(1)
})

it('sends the job after a save without a transaction', async () => {
  const { users, attached, queue, asked } = await start()
  await users.save(await attached(), { transaction: false })
  expect(await queue.jobs()).toHaveLength(1)
  expect(asked).toEqual({ within: [], after: 1 })
})

it('writes the deletes of a removal in its transaction', async () => {
  const { users, attached, attachments, queue, asked, storage, fresh } = await start()
  const user = await users.save(await attached())
  const worker = await attachments.work({ concurrency: 1 })
  await expect.poll(async () => state((await fresh(user)).avatar), soon).toBe('stored')
  await worker.stop()
  expect(await queue.jobs()).toEqual([])
  await users.remove(await fresh(user))
  expect(await queue.jobs()).toMatchObject([{ payload: { kind: 'delete' } }])
  expect(asked.after).toBe(0)
  await attachments.work({ concurrency: 1 })
  await expect.poll(() => storage.objects.size, soon).toBe(0)
  await expect.poll(() => queue.jobs(), soon).toEqual([])
})

it('tries again by one policy, and takes a failed file again', { timeout: 60_000 }, async () => {
  const dataSource = await database([User, Pet])
  const queue = await graphileDatabase((dataSource.options as { url: string }).url)
  const inner = memoryStorage()
  const asked: string[] = []
  let down = true
  const write: typeof inner.write = async (key, body, info) => {
    asked.push(key)
    if (down) throw new StorageError('down', 'the storage is down')
    await inner.write(key, body, info)
  }
  const background = queue.background()
  const { users, attached, attachments, fresh } = await people(postgres, { dataSource, background, storage: { ...inner, write } })
  const user = await users.save(await attached())
  await attachments.work({ concurrency: 1 })
  await expect.poll(async () => state((await fresh(user)).avatar), soon).toBe('failed')
  expect((await fresh(user)).avatar?.error).toMatchObject({ code: 'down', attempts: 2 })
  await expect.poll(() => queue.jobs(), soon).toEqual([])
  down = false
  expect(await attachments.retry(await fresh(user), 'avatar')).toBe(true)
  await expect.poll(async () => state((await fresh(user)).avatar), soon).toBe('stored')
})

it('sends to a queue in another database after the commit, even if there is one in this', async () => {
  const told = warnings()
  const other = await graphileDatabase()
  const { users, attached, asked, dataSource } = await start(other)
  const near = await graphileDatabase((dataSource.options as { url: string }).url)
  const theirs = letter()
  await near.background().enqueue(theirs.job, theirs.sending)
  for (let round = 0; round < 3; round++) await users.save(await attached())
  expect(await other.jobs()).toHaveLength(3)
  expect(await near.jobs()).toHaveLength(1)
  expect(asked.after).toBe(3)
  // looked once, and not at each save
  expect(asked.within).toHaveLength(1)
  expect(adds(asked)).toBe(0)
  expect(told).toEqual([])
})

it('sends jobs after the commit when its tables went away, warns once, and writes them within it again after a minute', async () => {
  const told = warnings()
  const { users, attached, asked, queue } = await start()
  await users.save(await attached())
  await queue.pool.query('DROP SCHEMA graphile_worker CASCADE')
  await users.save(await attached())
  await users.save(await attached())
  expect(asked.after).toBe(2)
  expect(await queue.jobs()).toHaveLength(2)
  expect(told).toEqual([expect.stringContaining('could not be sent with it, and will be after it')])
  const now = performance.now.bind(performance)
  const later = vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000)
  onTestFinished(() => later.mockRestore())
  await users.save(await attached())
  expect(asked.after).toBe(2)
  expect(await queue.jobs()).toHaveLength(3)
})

it('saves while the queue is away, and requeueLost() sends what it has missed', async () => {
  const told = warnings()
  const dataSource = await database([User, Pet])
  const background = watching(graphileBackground({ connectionString: 'postgres://nobody@127.0.0.1:1/nowhere' }))
  const { users, attached, attachments } = await people(postgres, { dataSource, background })
  await users.save(await attached())
  await users.save(await attached(second))
  expect(told).toHaveLength(2)
  expect(told[0]).toMatch(/could not be sent, requeueLost\(\) will find it again/)
  expect(background.asked).toMatchObject({ within: [], after: 2 })
  await attachments.close()

  const queue = await graphileDatabase((dataSource.options as { url: string }).url)
  const again = await people(postgres, { dataSource, background: queue.background() })
  expect(await again.attachments.requeueLost({ olderThan: -60_000 })).toBe(2)
  expect(await queue.jobs()).toHaveLength(2)
})

it.skipIf(!servers.includes(mariadb))('carries the jobs of rows in MariaDB after the commit', async () => {
  const told = warnings()
  const queue = await graphileDatabase()
  const background = watching(queue.background())
  const { users, attached, attachments, fresh } = await people(mariadb, { background })
  const user = await users.save(await attached())
  expect(background.asked).toEqual({ within: [], after: 1 })
  expect(await queue.jobs()).toHaveLength(1)
  await attachments.work({ concurrency: 2 })
  await expect.poll(async () => state((await fresh(user)).avatar), soon).toBe('stored')
  expect(told).toEqual([])
})

it('works where Graphile Worker has another schema', async () => {
  const dataSource = await database([User, Pet])
  const { url } = dataSource.options as { url: string }
  const background = watching(graphileBackground({ connectionString: url, schema: `an "odd" schema's` }))
  onTestFinished(async () => background.close?.())
  const { users, attached, attachments, fresh } = await people(postgres, { dataSource, background })
  const user = await users.save(await attached())
  expect(background.asked.after).toBe(0)
  await attachments.work({ concurrency: 1 })
  await expect.poll(async () => state((await fresh(user)).avatar), soon).toBe('stored')
})
