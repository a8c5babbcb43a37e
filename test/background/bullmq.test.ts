import { type Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { type Job, TryLater } from '../../src'
import { checkJob } from '../../src/background/job'
import { report, sampleJob } from '../../src/testing/background/sample'
import { adapterOf, forget, newName, newQueue, redisUrl } from '../support/bullmq'
import { warnings } from '../support/warnings'

async function onlyJobOf(queue: Queue) {
  const jobs = await queue.getJobs()
  expect(jobs).toHaveLength(1)
  return jobs[0] as (typeof jobs)[number]
}

const stateOf = async (queue: Queue) => (await onlyJobOf(queue)).getState()

describe.skipIf(inject('redis') === null)('bullmqBackground()', () => {
  it('shows a job that a person can read, how far it is, and what became of it', async () => {
    const queue = newQueue()
    const { enqueue, work } = adapterOf({ queue })
    const job = sampleJob()
    await enqueue(job, { priority: 3, attempts: 7 })
    const waiting = await onlyJobOf(queue)
    expect(waiting.name).toBe('Käufer "A" & Söhne.avatar')
    expect(waiting.data).toEqual(job)
    expect(waiting.opts).toMatchObject({ priority: 3, attempts: 7, removeOnComplete: { count: 1000 }, removeOnFail: { count: 1000 } })

    let go = () => {}
    const held = new Promise<void>((resolve) => {
      go = resolve
    })
    await work(async (_job, _attempt, told) => {
      told?.({ done: 1, of: 2 })
      await held
      return { ...report, styles: ['thumb'], bytes: 12 }
    })
    await expect.poll(async () => (await onlyJobOf(queue)).progress).toEqual({ done: 1, of: 2 })
    go()
    await expect.poll(() => stateOf(queue)).toBe('completed')
    expect((await onlyJobOf(queue)).returnvalue).toEqual({ result: 'done', styles: ['thumb'], bytes: 12 })
  })

  it('waits for as long as it is told before the next attempt, and shows why', async () => {
    const queue = newQueue()
    const { enqueue, work } = adapterOf({ queue })
    await work(async () => {
      throw new TryLater(3_600_123, new Error('the bucket is on fire'))
    })
    await enqueue(sampleJob())
    await expect.poll(() => stateOf(queue)).toBe('delayed')
    const { delay, failedReason, attemptsMade } = await onlyJobOf(queue)
    expect({ delay, attemptsMade }).toEqual({ delay: 3_600_123, attemptsMade: 1 })
    expect(failedReason).toContain('the bucket is on fire')
  })

  it('keeps what failed for good, which does not swallow the same job when it is sent again', async () => {
    const said = warnings()
    const queue = newQueue()
    const { enqueue, work } = adapterOf({ queue })
    const job = sampleJob()
    let broken = true
    await work(async () => {
      if (broken) throw new Error('nobody can delete this')
      return report
    })
    await enqueue(job)
    await expect.poll(() => queue.getFailed()).toMatchObject([{ failedReason: 'nobody can delete this', attemptsMade: 1, data: job }])
    expect(said).toEqual(['a job failed outside of its row: Error: nobody can delete this'])
    broken = false
    await enqueue(job)
    await expect.poll(() => queue.getCompletedCount()).toBe(1)
  })

  it('keeps as many ended jobs as the queue says, where it says so', async () => {
    const queue = newQueue({ defaultJobOptions: { removeOnComplete: true, removeOnFail: 5, attempts: 99, delay: 60_000 } })
    const { enqueue, work } = adapterOf({ queue })
    await enqueue(sampleJob())
    expect((await onlyJobOf(queue)).opts).toMatchObject({ removeOnComplete: true, removeOnFail: 5, attempts: 5, delay: 0 })
    await work(async () => report)
    await expect.poll(() => queue.getJobs()).toEqual([])
  })

  it('takes a job again whose key is all that Redis has kept', async () => {
    const queue = newQueue()
    const { enqueue } = adapterOf({ queue })
    const job = sampleJob()
    await enqueue(job)
    await forget(queue.name, (key) => !key.includes(':de:'))
    expect(await queue.getJobs()).toEqual([])
    await enqueue(job)
    await enqueue(job)
    expect((await onlyJobOf(queue)).data).toEqual(job)
  })

  it('brings a job whose workers have died more often than BullMQ would stand', async () => {
    const queue = newQueue()
    const { enqueue, work } = adapterOf({ queue, worker: { stalledInterval: 100 } })
    await enqueue(sampleJob())
    // takes it, and is never heard of again
    const dead = new Worker(queue.name, null, { ...queue.opts, lockDuration: 1 })
    onTestFinished(() => dead.close())
    const taken = await dead.getNextJob('token', { block: false })
    const redis = new Redis(redisUrl)
    await redis.hset(queue.toKey(taken?.id as string), 'stc', 20)
    redis.disconnect()
    const attempts: number[] = []
    await work(async (_, attempt) => {
      attempts.push(attempt)
      return report
    })
    await expect.poll(() => stateOf(queue)).toBe('completed')
    expect(attempts).toEqual([1])
  })

  it("leaves other people's jobs to their workers, and says so once", async () => {
    const said = warnings()
    const queue = newQueue()
    const { enqueue, work } = adapterOf({ queue })
    const theirs = [await queue.add('mail', { kind: 'process', to: 'me' }), await queue.add('mail', 'you', { attempts: 1, priority: 1 })]
    const states = () => Promise.all(theirs.map((job) => job.getState()))
    const brought: Job[] = []
    const ours = await work(async (job) => {
      brought.push(job)
      return report
    })
    const job = sampleJob()
    await enqueue(job)
    await expect.poll(() => brought).toEqual([job])
    await expect.poll(states).toEqual(['delayed', 'delayed'])
    await ours.stop()

    for (const one of theirs) await one.promote()
    const seen: Array<[unknown, number]> = []
    const worker = new Worker(queue.name, async ({ data, attemptsMade }) => void seen.push([data, attemptsMade]), queue.opts)
    onTestFinished(() => worker.close())
    await expect.poll(states).toEqual(['completed', 'completed'])
    expect(seen).toEqual([
      [{ kind: 'process', to: 'me' }, 0],
      ['you', 0],
    ])
    expect(said).toEqual([expect.stringMatching(/holds jobs that are none of attachments.*a queue of their own/)])
  })

  it('lets a job of ours that is incomplete fail, where somebody sees it', async () => {
    warnings()
    const queue = newQueue()
    const { work } = adapterOf({ queue })
    await queue.add('User.avatar', { kind: 'process', entity: 'User', attachment: 'avatar' })
    await work(async (job) => {
      checkJob(job)
      return report
    })
    await expect.poll(() => queue.getFailed()).toMatchObject([{ failedReason: expect.stringContaining('it names no row') }])
  })

  it('has a queue of BullMQ for each of ours, at the same place', async () => {
    const queue = newQueue()
    const slow = newQueue({ name: 'slow', prefix: queue.name })
    const { adapter, enqueue, work } = adapterOf({ queue })
    await enqueue(sampleJob(), { queue: 'slow' })
    await enqueue(sampleJob())
    await enqueue(sampleJob(), { queue: queue.name })
    expect([await queue.getWaitingCount(), await slow.getWaitingCount()]).toEqual([2, 1])
    await work(async () => report, ['default', 'slow'])
    await expect.poll(async () => [await queue.getCompletedCount(), await slow.getCompletedCount()]).toEqual([2, 1])
    await adapter.close?.()
    await queue.add('still', 'open')
  })

  it.each([{}, { maxRetriesPerRequest: null }])('works with a client of ioredis with %o, and lets go of all but that', async (options) => {
    const name = newName()
    const connection = new Redis(redisUrl, { ...options, connectionName: name })
    onTestFinished(() => connection.disconnect())
    const queue = newQueue({ name, connection })
    const { adapter, enqueue, work } = adapterOf({ queue })
    await enqueue(sampleJob())
    await enqueue(sampleJob(), { queue: 'slow' })
    await work(async () => report, ['default', 'slow'])
    await expect.poll(() => stateOf(queue)).toBe('completed')
    await adapter.close?.()
    const blocking = `${name}:${Buffer.from(name).toString('base64')}`
    const connected = async () =>
      `${await connection.client('LIST')}`.split('\n').filter((one) => [name, blocking].includes(/ name=(\S*)/.exec(one)?.[1] ?? ''))
    await expect.poll(connected).toHaveLength(1)
    expect(connection.status).toBe('ready')
  })
})
