import 'reflect-metadata'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, expect, it } from 'vitest'
import {
  type Attached,
  Attachment,
  Attachments,
  type BackgroundAdapter,
  diskStorage,
  inProcessBackground,
  memoryStorage,
  type ProcessJob,
  StorageError,
  TryLater,
} from '../src'
import { door, scribe, watched } from './support/doubles'
import { database, heldBackground, type World, world } from './support/world'

const pen = scribe()

@Entity()
class Report {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  title!: string

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processors: [pen] })
  scan!: Attached<'a'>
}

async function saved({ attachments, dataSource }: Pick<World, 'attachments' | 'dataSource'>, report = new Report()) {
  await attachments.attach(report, 'scan', Buffer.from('text'))
  return dataSource.manager.save(report)
}

const fresh = ({ dataSource }: Pick<World, 'dataSource'>, { id }: Report) => dataSource.getRepository(Report).findOneByOrFail({ id })
const attemptedIn = ({ dataSource }: World, milliseconds: number) =>
  dataSource.query('UPDATE report SET scan_attempted_at = $1', [new Date(Date.now() + milliseconds)])

const minutes = 60_000
const days = 24 * 60 * minutes

beforeEach(() => pen.reset())

it('lost jobs are found again by the next process, once, and only when they are old enough', async () => {
  const here = await world([Report], { background: heldBackground() })
  const reports = [await saved(here), await saved(here), await saved(here)]
  await here.attachments.close()

  const next = new Attachments({ staging: diskStorage({ root: here.staging }), storage: here.storage, background: inProcessBackground() })
  await next.connect(here.dataSource)
  expect(await next.requeueLost()).toBe(0)
  const found = await Promise.all([next.requeueLost({ olderThan: 0 }), next.requeueLost({ olderThan: 0 })])
  expect(found[0] + found[1]).toBe(3)
  await next.idle()
  for (const report of reports) expect((await fresh(here, report)).scan.processing).toBe(false)
  expect(here.storage.objects.size).toBe(6)
  expect(await next.requeueLost({ olderThan: 0 })).toBe(0)
  await next.close()
})

it('a look for lost jobs ends although all that it finds is handed back at once', async () => {
  const here = await world([Report], { background: heldBackground() })
  for (let count = 0; count < 120; count++) await saved(here)
  await here.attachments.close()
  const handBack = (version: string) =>
    here.dataSource.query('UPDATE report SET scan_attempted_at = $1 WHERE scan_version = $2', [new Date(0), version])
  const background: BackgroundAdapter = { enqueue: async (job) => void (await handBack((job as ProcessJob).version)) }
  const next = new Attachments({ staging: diskStorage({ root: here.staging }), storage: here.storage, background })
  await next.connect(here.dataSource)
  expect(await next.requeueLost({ olderThan: -1_000 })).toBe(120)
  // what comes back to the front hides some of the rest, until the next look
  const again = await next.requeueLost({ olderThan: -1_000 })
  expect(again).toBeGreaterThanOrEqual(100)
  expect(again).toBeLessThanOrEqual(120)
  await next.close()
})

it('lost jobs are looked for by a worker when it starts', async () => {
  const here = await world([Report])
  const report = await saved(here)
  await here.attachments.idle()
  await here.dataSource.query('UPDATE report SET scan_processing = true')
  await attemptedIn(here, -days)
  const worker = await here.attachments.work()
  await expect.poll(async () => (await fresh(here, report)).scan.processing).toBe(false)
  await worker.stop()
})

it('a job that was lost and found is not found again once its work has begun', async () => {
  const background = heldBackground()
  const here = await world([Report], { background })
  const report = await saved(here)
  await attemptedIn(here, -10 * minutes)
  const gate = door()
  pen.before = gate.pass
  const running = background.run()
  await expect.poll(() => gate.came).toBe(1)
  expect(await here.attachments.requeueLost()).toBe(0)
  gate.open()
  await running
  expect((await fresh(here, report)).scan.processing).toBe(false)
})

it('a job that waits for its next attempt is not lost before that is overdue', async () => {
  const background = heldBackground()
  const storage = watched()
  storage.beforeWrite = () => {
    throw new StorageError('down', 'the storage is down')
  }
  const here = await world([Report], { background, storage, retry: { attempts: 3, backoff: () => 60 * minutes } })
  const report = await saved(here)
  const outcome = await background.run().catch((error) => error)
  expect(outcome).toBeInstanceOf(TryLater)
  expect(outcome.delay).toBe(60 * minutes)
  expect((await fresh(here, report)).scan.attemptedAt?.getTime()).toBeGreaterThan(Date.now() + 59 * minutes)
  expect(await here.attachments.requeueLost()).toBe(0)
  await attemptedIn(here, -6 * minutes)
  expect(await here.attachments.requeueLost()).toBe(1)
  expect(background.jobs).toHaveLength(1)
})

it('a clock that was days ahead keeps no job from being found, and one that was minutes ahead finds none too early', async () => {
  const here = await world([Report], { background: heldBackground() })
  await saved(here)
  await attemptedIn(here, 10 * minutes)
  expect(await here.attachments.requeueLost()).toBe(0)
  await attemptedIn(here, 2 * days)
  expect(await here.attachments.requeueLost()).toBe(1)
  expect(await here.attachments.requeueLost()).toBe(0)
})

it('more lost jobs than are looked at in one go are all found', async () => {
  const background = heldBackground()
  const here = await world([Report], { background })
  const reports = Array.from({ length: 250 }, () => new Report())
  for (const report of reports) await here.attachments.attach(report, 'scan', Buffer.from('text'))
  await here.dataSource.manager.save(reports)
  const sent = background.jobs.splice(0)
  for (const ago of [-10 * minutes, 2 * days]) {
    await attemptedIn(here, ago)
    expect(await here.attachments.requeueLost()).toBe(250)
    expect(new Set(background.jobs.splice(0))).toEqual(new Set(sent))
  }
})

it('a file that ends 20 processes fails at the next attempt, and can be tried again', async () => {
  const dataSource = await database([Report])
  const staging = diskStorage({ root: (await world([Report])).staging })
  const storage = memoryStorage()
  const gate = door()
  pen.before = gate.pass

  async function boot() {
    const background = heldBackground()
    const attachments = new Attachments({ staging, storage, background })
    await attachments.connect(dataSource)
    return { background, attachments, dataSource }
  }
  const first = await boot()
  const report = await saved(first)
  await first.attachments.close()

  for (let deaths = 1; deaths <= 20; deaths++) {
    const { attachments, background } = await boot()
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
    // nobody will ever hear of it again
    void background.run()
    await expect.poll(() => gate.came).toBe(deaths)
    expect((await fresh(first, report)).scan).toMatchObject({ processing: true, error: null })
    await attachments.close()
  }
  const { attachments, background } = await boot()
  await attachments.requeueLost({ olderThan: -1_000 })
  await background.run()
  expect(gate.came).toBe(20)
  const failed = await fresh(first, report)
  expect(failed.scan).toMatchObject({ processing: false, error: { code: 'worker_died', message: expect.stringContaining('retry()') } })

  pen.reset()
  expect(await attachments.retry(failed, 'scan')).toBe(true)
  await background.run()
  expect((await fresh(first, report)).scan).toMatchObject({ processing: false, error: null })
  await attachments.close()
})

it('a staged file goes when its row says that everything is stored, and no earlier', async () => {
  const background = heldBackground()
  const staging = watched()
  const here = await world([Report], { background, staging })
  const report = await saved(here)
  const states: boolean[] = []
  staging.beforeDelete = async () => states.push((await fresh(here, report)).scan.processing)
  await background.run()
  expect(states).toEqual([false])
  expect(staging.objects.size).toBe(0)
})

it.each(['repeatable read', 'serializable'])('under %s, a statement that loses against another transaction is no failed attempt', async (level) => {
  const outside = await database([Report])
  const { database: name } = outside.options as unknown as { database?: string; url: string }
  await outside.query(`ALTER DATABASE "${name ?? outside.driver.database}" SET default_transaction_isolation = '${level}'`)
  // only new connections take it
  const { url } = outside.options as unknown as { url: string }
  const dataSource = await database([Report], { url, synchronize: false } as never)
  const background = heldBackground()
  const here = await world([Report], { dataSource, background, retry: { attempts: 1 } })
  expect(await dataSource.query('SHOW transaction_isolation')).toEqual([{ transaction_isolation: level }])
  const report = await saved(here)
  const waiting = async () =>
    Number((await outside.query(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`))[0].count)

  const other = outside.createQueryRunner()
  await other.startTransaction()
  await other.query(`UPDATE report SET title = 'changed'`)
  const running = background.run()
  await expect.poll(waiting).toBe(1)
  await other.commitTransaction()
  await other.release()
  await running
  expect((await fresh(here, report)).scan).toMatchObject({ processing: false, error: null })
})
