import 'reflect-metadata'
import { createPostgresBackend, withBackend } from 'bullmq'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, inject, it, onTestFinished } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { type BullmqOptions, bullmqBackground } from '../../src/background/bullmq'
import { report, sampleJob } from '../../src/testing/background/sample'
import { adapterOf, forget, newQueue, redisUrl } from '../support/bullmq'
import { scribe } from '../support/doubles'
import { type Line, line } from '../support/line'
import { warnings } from '../support/warnings'
import { newDatabase, world } from '../support/world'

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

type AnyQueue = BullmqOptions['queue']

/** What BullMQ is on. Prints as its name. */
interface Server {
  toString(): string
  /** A line to it, which can be cut, and how queues come by that line. */
  behindLine(connection?: object): Promise<{ line: Line; queue(): AnyQueue }>
}

/** A line to what a URL names, and the URL by that line. */
async function lineTo(address: string, standard: number) {
  const url = new URL(address)
  const made = await line(url.hostname, Number(url.port || standard))
  url.host = `127.0.0.1:${made.port}`
  return { line: made, url: url.href }
}

const redis: Server = {
  toString: () => 'Redis',
  async behindLine(connection) {
    const { line, url } = await lineTo(redisUrl, 6379)
    return { line, queue: () => newQueue({ connection: { ...connection, url } }) }
  },
}

const postgres: Server = {
  toString: () => 'PostgreSQL',
  async behindLine() {
    const { Queue } = withBackend(createPostgresBackend)
    const database = await newDatabase()
    const migrating = new Queue('test', { connection: { connectionString: database, migrate: true } })
    await migrating.waitUntilReady()
    await migrating.close()
    const { line, url } = await lineTo(database, 5432)
    const queue = () => {
      const made = new Queue('test', { connection: { connectionString: url } })
      onTestFinished(() => made.close())
      return made
    }
    return { line, queue }
  },
}

/** Attachments on a database that is always there, saves, and what their rows say. */
async function worldOf(queue: AnyQueue) {
  const { attachments, dataSource } = await world([Report], { background: bullmqBackground({ queue }) })
  const processing = async () => (await dataSource.getRepository(Report).find({ order: { id: 'ASC' } })).map(({ scan }) => scan.processing)
  return {
    attachments,
    processing,
    async save() {
      const one = new Report()
      await attachments.attach(one, 'scan', Buffer.from('text'))
      await dataSource.manager.save(one)
    },
    /** As a worker does it every minute, of what is five minutes old. */
    async found() {
      await attachments.requeueLost({ olderThan: -1_000 })
      return processing()
    },
  }
}

const patiently = { timeout: 20_000, interval: 300 }

beforeEach(() => pen.reset())

describe.each(inject('redis') === null ? [postgres] : [redis, postgres])('when the server of BullMQ goes away: %s', ({ behindLine }) => {
  it('saves succeed, workers go on by themselves when it is back, and nothing is lost', async () => {
    const here = await behindLine()
    const { attachments, processing, found, save } = await worldOf(here.queue())
    await attachments.work()
    await save()
    await expect.poll(processing, patiently).toEqual([false])
    await here.line.cut()
    await save()
    expect(await processing()).toEqual([false, true])
    await here.line.mend()
    await expect.poll(found, patiently).toEqual([false, false])
  })

  it('stop() and close() wait for what runs, and not for the server', async () => {
    const here = await behindLine()
    const { adapter, enqueue, work } = adapterOf({ queue: here.queue() })
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const seen: string[] = []
    const worker = await work(async () => {
      seen.push('begun')
      await held
      seen.push('ended')
      return report
    })
    await enqueue(sampleJob(), { queue: 'slow' })
    await enqueue(sampleJob())
    await expect.poll(() => seen).toEqual(['begun'])
    await here.line.cut()
    const stopped = worker.stop()
    release()
    await stopped
    expect(seen).toEqual(['begun', 'ended'])
    await adapter.close?.()
  })

  it('close() returns though it was never there', async () => {
    const here = await behindLine()
    await here.line.cut()
    const { adapter, enqueue, work } = adapterOf({ queue: here.queue() })
    await work(async () => report)
    const sent = enqueue(sampleJob(), { queue: 'slow' }).catch((error) => error)
    await adapter.close?.()
    expect(await sent).toBeInstanceOf(Error)
  })
})

describe.skipIf(inject('redis') === null)('when Redis', () => {
  it('is away at boot, saves succeed, those after the first at once, and workers begin when it comes', async () => {
    const said = warnings()
    const here = await redis.behindLine()
    await here.line.cut()
    const { attachments, processing, found, save } = await worldOf(here.queue())
    await attachments.work()
    await save()
    await save()
    expect(await processing()).toEqual([true, true])
    const lost = 'the process job of Report.scan could not be sent, requeueLost() will find it again: '
    expect(said.filter((text) => text.startsWith(lost))).toEqual([
      `${lost}the queue did not answer within 2000 ms`,
      `${lost}BullMQ waits for its server, which does not answer`,
    ])
    await here.line.mend()
    // BullMQ kept the first in its memory
    await expect.poll(processing, patiently).toEqual([false, true])
    await expect.poll(found, patiently).toEqual([false, false])
  })

  it.each([{}, { maxRetriesPerRequest: 1, enableOfflineQueue: false }])(
    'is away when a job ends, that has ended when it is back: %o',
    async (connection) => {
      const said = warnings()
      const here = await redis.behindLine(connection)
      const queue = here.queue()
      const { enqueue, work } = adapterOf({ queue })
      let release = () => {}
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      const seen: number[] = []
      await work(async (_, attempt) => {
        seen.push(attempt)
        await held
        return report
      })
      await queue.waitUntilReady()
      await enqueue(sampleJob())
      await expect.poll(() => seen).toEqual([1])
      await here.line.cut()
      await expect.poll(() => said.join(), patiently).toContain('ECONNREFUSED')
      release()
      await here.line.mend()
      await expect.poll(() => queue.getCompletedCount().catch(() => 0), patiently).toBe(1)
      expect(seen).toEqual([1])
    },
  )

  it('comes back without its memory, the rows remember', async () => {
    const queue = newQueue()
    const { attachments, processing, save } = await worldOf(queue)
    await save()
    expect(await queue.getWaitingCount()).toBe(1)
    await forget(queue.name)
    await attachments.work()
    expect(await attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
    await expect.poll(processing, patiently).toEqual([false])
  })
})

// BullMQ 6.7 keeps the error of its first connection to PostgreSQL: docs/queue-bullmq.md says what to do
it.fails('when PostgreSQL is away at boot, a queue is ready when it comes', async () => {
  const here = await postgres.behindLine()
  await here.line.cut()
  const queue = here.queue()
  await queue.waitUntilReady().catch(() => undefined)
  await here.line.mend()
  await queue.waitUntilReady()
})
