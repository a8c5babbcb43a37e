import type { EntityManager } from 'typeorm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { TryLater } from '../../src'
import { type DatabaseServer, mariadb, postgres, servers } from '../support/databases'
import { database, filesIn, heldBackground } from '../support/world'
import { keysOf, type People, Pet, people, second, stored, User } from './people'

type Level = 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE'

/** By which a database says: try the whole transaction again. */
const tryAgain = ['40001', '40P01', 'ER_LOCK_DEADLOCK', 'ER_CHECKREAD']

/** What a program does at these levels: the whole transaction again, as long as the database says so. The codes it said. */
async function persistently(here: People, level: Level, work: (manager: EntityManager) => Promise<unknown>): Promise<string[]> {
  const said: string[] = []
  while (said.length < 50) {
    try {
      await here.dataSource.transaction(level, work)
      return said
    } catch (error) {
      said.push(String((error as { code?: string }).code))
      if (!tryAgain.includes(said.at(-1) as string)) throw error
    }
  }
  throw new Error(`no end of ${said}`)
}

/** Runs the jobs, again where they ask for it: a deadlock may hit them as well as the transaction. */
async function runAll(background: ReturnType<typeof heldBackground>): Promise<void> {
  const jobs = [...background.jobs]
  await background.run().catch((error) => {
    if (!(error instanceof TryLater)) throw error
    background.jobs.push(...jobs)
    return runAll(background)
  })
}

/** Lets the job go on until it is done, or waits for a row that a transaction has locked. */
async function until(on: DatabaseServer, here: People, job: Promise<void>): Promise<void> {
  let done = false
  job.then(() => {
    done = true
  })
  await expect.poll(async () => done || (await on.blocked(here.dataSource)), { interval: 150 }).toBe(true)
}

const cases = servers.flatMap((on) =>
  (['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const).map((level): [Level, DatabaseServer] => [level, on]),
)

describe.each(cases)('%s on %s', (level, on) => {
  it('a job that ends between the read and the save of another column: the save works, at the latest when it is tried again', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const { id } = await here.users.save(await here.attached())
    let job: Promise<void> | undefined
    const said = await persistently(here, level, async (manager) => {
      const user = await manager.findOneByOrFail(User, { id })
      job ??= runAll(background)
      await until(on, here, job)
      await manager.save(Object.assign(user, { name: 'changed' }))
    })
    await job
    if (on === postgres) expect(said).toEqual(level === 'READ COMMITTED' ? [] : ['40001'])
    const now = await here.fresh({ id })
    expect(now.name).toBe('changed')
    expect(await finished(here, now)).toMatchObject({ present: true, processing: false, error: null, width: 60 })
  })

  it('a job that ends between the read and the save of another file: the new file is saved, and nothing is left', async () => {
    const background = heldBackground()
    const here = await people(on, { background })
    const { id } = await here.users.save(await here.attached())
    const replacement = await here.fresh({ id })
    await here.attachments.attach(replacement, 'avatar', await second)
    let job: Promise<void> | undefined
    await persistently(here, level, async (manager) => {
      await manager.findOneByOrFail(User, { id })
      job ??= runAll(background)
      await until(on, here, job)
      await manager.save(replacement)
    })
    await job
    await runAll(background)
    const now = await here.fresh({ id })
    expect(await finished(here, now)).toMatchObject({ present: true, processing: false, error: null, width: 80 })
  })

  it('many that replace the files of two rows beside their jobs, and try again: each row ends with one file', async () => {
    const here = await people(on, { retry: { attempts: 20, backoff: () => 1 } })
    const rows = [await here.saved(), await here.saved()]
    const savers = rows.flatMap((row) => Array.from({ length: 4 }, () => row.id))
    await Promise.all(
      savers.map(async (id) => {
        const { avatar } = await here.attached(second)
        await persistently(here, level, async (manager) => {
          const user = await manager.findOneByOrFail(User, { id })
          await manager.save(Object.assign(user, { avatar, visits: user.visits + 1 }))
        })
      }),
    )
    await here.attachments.idle()
    const now = await here.users.find()
    expect(now.map(({ avatar }) => [avatar?.processing, avatar?.error, avatar?.width])).toEqual(Array(2).fill([false, null, 80]))
    if (level === 'SERIALIZABLE') expect(now.map(({ visits }) => visits)).toEqual([4, 4])
    expect(stored(here)).toEqual(keysOf(...now.map(({ avatar }) => avatar)))
    expect(await filesIn(here.staging)).toEqual([])
  })
})

/** The avatar; nothing else is in the storages. */
async function finished(here: People, { id }: User) {
  const { avatar } = await here.fresh({ id })
  expect(stored(here)).toEqual(keysOf(avatar))
  expect(await filesIn(here.staging)).toEqual([])
  return avatar
}

describe.skipIf(!servers.includes(mariadb))('innodb_snapshot_isolation, as MariaDB has it from 11.6 on', () => {
  it('a save after the job may fail by ER_CHECKREAD, and works when it is tried again', async ({ skip }) => {
    const background = heldBackground()
    const here = await people(mariadb, { background })
    const set = 'SET SESSION innodb_snapshot_isolation = ON'
    if (!(await here.dataSource.query("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")).length) skip()
    const { id } = await here.users.save(await here.attached())
    let job: Promise<void> | undefined
    const said = await persistently(here, 'REPEATABLE READ', async (manager) => {
      await manager.query(set)
      const user = await manager.findOneByOrFail(User, { id })
      job ??= background.run()
      await job
      await manager.save(Object.assign(user, { name: 'changed' }))
    })
    expect(said).toEqual(['ER_CHECKREAD'])
    const now = await here.fresh({ id })
    expect(now.name).toBe('changed')
    expect(await finished(here, now)).toMatchObject({ processing: false, width: 60 })
  })
})

it('a PostgreSQL where everything is serializable, the jobs’ own statements too: a job that fails by it is tried again', async () => {
  const extra = { options: '-c default_transaction_isolation=serializable' }
  const dataSource = await database([User, Pet], { on: postgres, extra })
  const here = await people(postgres, { dataSource, retry: { attempts: 5, backoff: () => 1 } })
  const failed = vi.spyOn(dataSource.logger, 'logQueryError').mockImplementation(() => undefined)
  onTestFinished(() => failed.mockRestore())
  const user = await here.attached()
  await here.users.save(user)
  await dataSource.transaction(async (manager) => {
    await manager.update(User, user.id, { name: 'meanwhile' })
    await expect.poll(() => postgres.blocked(dataSource), { interval: 20 }).toBe(true)
  })
  await here.attachments.idle()
  expect(failed.mock.calls.map(([error]) => (error as Error & { code?: string }).code)).toContain('40001')
  expect(await here.fresh(user)).toMatchObject({ name: 'meanwhile', avatar: { present: true, processing: false, error: null } })
})
