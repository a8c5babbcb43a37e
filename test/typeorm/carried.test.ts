import 'reflect-metadata'
import { Column, type DataSource, Entity, type EntityManager, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Attached, Attachment, type BackgroundAdapter, type Job, type Sending } from '../../src'
import { keyOf } from '../../src/background/job'
import { databases } from '../support/databases'
import { scribe } from '../support/doubles'
import { database, world } from '../support/world'

const pen = scribe()
const processors = [pen]

@Entity()
class Report {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('varchar', { default: '' })
  title!: string

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processors })
  scan!: Attached<'a'>

  @Attachment({ accept: 'any', processors, processInBackground: { queue: 'slow', priority: 7, delay: 60_000 } })
  extra!: Attached

  @Attachment({ accept: 'any', processors, processInBackground: false })
  quick!: Attached
}

@Entity()
class Queued {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('varchar')
  job!: string
}

/** A queue in a table of the entities' own database, and what it is given after the commit. */
function tableQueue() {
  const sent: Array<{ job: Job; sending: Sending }> = []
  const within: Array<ReadonlyArray<readonly [Job, Sending]>> = []
  let broken = false
  const adapter: BackgroundAdapter = {
    enqueue: async (job, sending) => void sent.push({ job, sending }),
    async enqueueWithin(jobs, query) {
      within.push(jobs)
      for (const [{ kind }] of jobs) await query(`INSERT INTO queued (job) VALUES ('${kind}')`, [])
      if (broken) await query('SELECT gone FROM nowhere', [])
      return true
    },
  }
  return { adapter, sent, within, breakDown: () => (broken = true) }
}

function warnings(): string[] {
  const said: string[] = []
  const hear = (warning: Error) => void (warning.name === 'AttachmentWarning' && said.push(warning.message))
  process.on('warning', hear)
  onTestFinished(() => void process.off('warning', hear))
  return said
}

beforeEach(() => pen.reset())

describe.each(databases)('a queue in the same database, %s,', (on) => {
  async function start() {
    const dataSource = await database([Report, Queued], { on })
    const queue = tableQueue()
    const { attachments } = await world([], { dataSource, background: queue.adapter })
    const saved = async (manager: EntityManager, report = new Report()) => {
      await attachments.attach(report, 'scan', Buffer.from('text'))
      return manager.save(report)
    }
    return { dataSource, attachments, queue, saved, queued: () => kinds(dataSource) }
  }
  const kinds = async (dataSource: DataSource) => (await dataSource.getRepository(Queued).find()).map(({ job }) => job)

  it('takes the job with the transaction that saves, and no other one after it', async () => {
    const { dataSource, queue, saved, queued } = await start()
    await dataSource.transaction(async (manager) => {
      await saved(manager)
      expect(await manager.count(Queued)).toBe(0)
    })
    expect(await queued()).toEqual(['process'])
    expect(queue.sent).toEqual([])
  })

  it('takes all jobs of a transaction at once, also deletes', async () => {
    const { dataSource, attachments, queue, saved, queued } = await start()
    const report = await saved(dataSource.manager)
    await dataSource.transaction(async (manager) => {
      await saved(manager)
      await saved(manager)
      await attachments.detach(report, 'scan')
      await manager.save(report)
    })
    expect(queue.within.map((jobs) => jobs.length)).toEqual([1, 4])
    expect(await queued()).toEqual(['process', 'process', 'process', 'delete', 'delete'])
  })

  it('has nothing left of what was rolled back, with the transaction or a part of it', async () => {
    const { dataSource, queue, saved, queued } = await start()
    const failing = dataSource.transaction(async (manager) => {
      await saved(manager)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await dataSource.transaction(async (manager) => {
      await saved(manager)
      await manager.transaction((inner) => saved(inner).then(() => Promise.reject(new Error('no')))).catch(() => undefined)
    })
    expect(await queued()).toEqual(['process'])
    expect(queue.sent).toEqual([])
  })

  it('that fails keeps no save back, and is given the job after the commit', async () => {
    const said = warnings()
    const { dataSource, queue, saved, queued } = await start()
    queue.breakDown()
    const report = await saved(dataSource.manager)
    expect(await dataSource.getRepository(Report).existsBy({ id: report.id })).toBe(true)
    expect(await queued()).toEqual([])
    expect(queue.sent).toMatchObject([{ job: { version: report.scan.version } }])
    await expect
      .poll(() => said)
      .toEqual([expect.stringMatching(/the jobs of a transaction could not be sent with it, and will be after it: .*nowhere/)])
  })

  it('is given a job without a transaction at once', async () => {
    const { attachments, dataSource, queue, queued } = await start()
    const report = new Report()
    await attachments.attach(report, 'scan', Buffer.from('text'))
    await dataSource.manager.save(report, { transaction: false })
    expect(queue.sent).toMatchObject([{ job: { version: report.scan.version } }])
    expect(await queued()).toEqual([])
  })

  it('is not asked where jobs run right after the commit', async () => {
    const { attachments, dataSource, queue } = await start()
    const report = new Report()
    await attachments.attach(report, 'quick', Buffer.from('text'))
    await dataSource.manager.save(report)
    expect(report.quick.processing).toBe(false)
    expect(queue.within).toEqual([])
  })
})

describe('a job is sent', () => {
  async function start() {
    const sent: Array<[Job, Sending]> = []
    const background: BackgroundAdapter = { enqueue: async (...given) => void sent.push(given) }
    const here = await world([Report], { background, retry: { attempts: 4 } })
    const save = async (property: 'scan' | 'extra') => {
      const report = new Report()
      await here.attachments.attach(report, property, Buffer.from('text'))
      return here.dataSource.manager.save(report)
    }
    return { ...here, sent, save }
  }

  it('as the attachment says, and as usual where it says nothing', async () => {
    const { sent, save } = await start()
    const { extra, scan } = { ...(await save('extra')), scan: (await save('scan')).scan }
    expect(sent.map(([, sending]) => sending)).toEqual([
      expect.objectContaining({ key: `Report.extra/${extra.version}`, queue: 'slow', priority: 7, delay: 60_000, attempts: 4 }),
      expect.objectContaining({ key: `Report.scan/${scan.version}`, queue: 'default', priority: 0, delay: 0, attempts: 4 }),
    ])
  })

  it('is not taken for lost while it waits for its time, and then is', async () => {
    const { attachments, dataSource, sent, save } = await start()
    await save('extra')
    expect(await attachments.requeueLost({ olderThan: 0 })).toBe(0)
    await dataSource.query(`UPDATE report SET extra_attempted_at = extra_attempted_at - interval '61 seconds'`)
    expect(await attachments.requeueLost({ olderThan: 0 })).toBe(1)
    expect(sent).toHaveLength(2)
  })

  it('with one key again and again, but another for each file and each delete', async () => {
    const { attachments, dataSource, sent, save } = await start()
    const report = await save('scan')
    await attachments.requeueLost({ olderThan: -1_000 })
    await attachments.attach(report, 'scan', Buffer.from('other'))
    await dataSource.manager.save(report)
    await dataSource.manager.remove(report)
    const keys = sent.map(([, { key }]) => key)
    expect(sent.slice(0, 3).map(([{ kind }]) => kind)).toEqual(['process', 'process', 'process'])
    expect(keys[1]).toBe(keys[0])
    expect(new Set(keys).size).toBe(keys.length - 1)
  })
})

it('has another key for what a job may still be writing than for the rest of its version', () => {
  const file = { version: 'v', storage: 'default', keys: ['a'], staged: [] }
  const job = { kind: 'delete', entity: 'User', attachment: 'avatar', note: null, at: '2026-11-21T12:00:00.000Z' } as const
  const keys = [file, { ...file, unfinished: true as const }].map((one) => keyOf({ ...job, rows: [{ id: { id: 1 }, files: [one] }] }))
  expect(new Set(keys).size).toBe(2)
})

describe('work()', () => {
  async function start() {
    const asked: unknown[] = []
    const background: BackgroundAdapter = {
      enqueue: async () => undefined,
      work: async (_perform, options) => {
        asked.push(options)
        return { stop: async () => undefined }
      },
    }
    return { ...(await world([Report], { background })), asked }
  }

  it('takes jobs from every queue that attachments name, or from those that it is told', async () => {
    const { attachments, asked } = await start()
    await attachments.work({ concurrency: 3 })
    await attachments.work({ concurrency: 1, queues: ['slow'] })
    expect(asked).toEqual([
      { concurrency: 3, queues: ['default', 'slow'], attempts: 2 },
      { concurrency: 1, queues: ['slow'], attempts: 2 },
    ])
  })

  it('refuses what cannot be', async () => {
    const { attachments, asked } = await start()
    await expect(attachments.work({ queues: ['fast'] })).rejects.toMatchObject({
      code: 'unknown_queue',
      message: expect.stringMatching(/'fast'.*default, slow/),
    })
    for (const concurrency of [0, 1.5, Number.NaN]) await expect(attachments.work({ concurrency })).rejects.toMatchObject({ code: 'bad_concurrency' })
    expect(asked).toEqual([])
  })
})
