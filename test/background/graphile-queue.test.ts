import { expect, it } from 'vitest'
import { NotHere, TryLater } from '../../src'
import { graphileBackground } from '../../src/background/graphile'
import { crew, graphileDatabase, letter, warnings } from '../support/graphile'

const hour = 3_600_000
const soon = { timeout: 20_000 }

it('takes either a pool or a connection string', () => {
  expect(() => graphileBackground({})).toThrow(expect.objectContaining({ code: 'bad_queue' }))
})

it('keeps jobs that a person can read, with their key, priority and delay', async () => {
  const { background, jobs } = await graphileDatabase()
  const { job, sending } = letter({ priority: 40_000, delay: hour, attempts: 5, queue: 'slow' })
  const other = letter()
  const { enqueue } = background()
  await enqueue(job, sending)
  await enqueue(other.job, other.sending)
  const [one, two] = await jobs()
  expect(one).toMatchObject({ task_identifier: 'attachments:slow', payload: job, key: sending.key, priority: 32_767, attempts: 0, max_attempts: 25 })
  expect(one?.due).toBeGreaterThan(3_500)
  expect(one?.due).toBeLessThanOrEqual(3_600)
  expect(two).toMatchObject({ task_identifier: 'attachments', payload: other.job, key: other.sending.key, priority: 0 })
})

it('keeps one job of a key, at its place', async () => {
  const { background, jobs } = await graphileDatabase()
  const { enqueue } = background()
  const { job, sending } = letter({ delay: hour })
  await enqueue(job, sending)
  await enqueue(job, { ...sending, delay: 2 * hour })
  const [one, ...others] = await jobs()
  expect(others).toEqual([])
  expect(one?.due).toBeLessThanOrEqual(3_600)
})

it('shows why a job waits, and when it is due', async () => {
  const { background, jobs } = await graphileDatabase()
  const adapter = background()
  const { job, sending } = letter()
  const { perform } = crew(() => {
    throw new TryLater(hour, new Error('the storage is down'))
  })
  const worker = await adapter.work(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  await adapter.enqueue(job, sending)
  await expect.poll(async () => (await jobs())[0]?.due, soon).toBeGreaterThan(3_000)
  await worker.stop()
  expect(await jobs()).toMatchObject([{ attempts: 1, last_error: 'the storage is down', locked_by: null }])
  expect((await jobs())[0]?.due).toBeLessThanOrEqual(3_600)
})

it('counts no attempt of a job that could not begin here', async () => {
  const { background } = await graphileDatabase()
  const adapter = background()
  const { job, sending } = letter()
  let times = 0
  const { brought, perform } = crew(() => {
    if (++times < 3) throw new NotHere(10, new Error('closing'))
  })
  await adapter.work(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  await adapter.enqueue(job, sending)
  await expect.poll(() => brought, soon).toEqual(Array(3).fill(`${job.version} 1`))
})

it('keeps a job that failed for good until it is sent again, and never a second one', async () => {
  const told = warnings()
  const { background, jobs } = await graphileDatabase()
  const adapter = background()
  const { job, sending } = letter()
  let bad = true
  const { brought, perform } = crew(() => {
    if (bad) throw new Error('not deleted')
  })
  const worker = await adapter.work(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  await adapter.enqueue(job, sending)
  await expect.poll(async () => (await jobs())[0]?.attempts, soon).toBe(25)
  expect(await jobs()).toMatchObject([{ last_error: 'not deleted', locked_by: null }])
  expect(told).toEqual(['Graphile Worker: a job failed outside of its row: not deleted'])
  const [first] = await jobs()
  await adapter.enqueue(job, sending)
  const failed = async () => (await jobs()).map(({ id, attempts }) => [id !== first?.id, attempts])
  await expect.poll(failed, soon).toEqual([[true, 25]])
  bad = false
  await adapter.enqueue(job, sending)
  await expect.poll(jobs, soon).toEqual([])
  expect(brought).toEqual(Array(3).fill(`${job.version} 1`))
  await worker.stop()
})

it('takes the better priority first, and only what is in its queues', async () => {
  const { background, jobs, pool } = await graphileDatabase()
  const adapter = background()
  const [late, early, slow] = [letter({ priority: 7 }), letter({ priority: 1 }), letter({ queue: 'slow' })]
  for (const { job, sending } of [late, early, slow]) await adapter.enqueue(job, sending)
  await pool.query(`SELECT graphile_worker.add_job('letters', '{"of": "others"}')`)
  const { brought, perform } = crew()
  const worker = await adapter.work(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  await expect.poll(() => brought, soon).toEqual([`${early.job.version} 1`, `${late.job.version} 1`])
  await worker.stop()
  expect((await jobs()).map((one) => [one.task_identifier, one.attempts])).toEqual([
    ['attachments:slow', 0],
    ['letters', 0],
  ])
})

it('lets no queue keep another waiting', async () => {
  const { background } = await graphileDatabase()
  const adapter = background()
  let open = () => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const slow = Array.from({ length: 3 }, () => letter({ queue: 'slow' }))
  const quick = letter()
  const { brought, perform } = crew(() => (brought.at(-1)?.startsWith(quick.job.version) ? undefined : gate))
  for (const { job, sending } of slow) await adapter.enqueue(job, sending)
  const worker = await adapter.work(perform, { concurrency: 2, queues: ['default', 'slow'], attempts: 5 })
  await expect.poll(() => brought.length, soon).toBe(2)
  await adapter.enqueue(quick.job, quick.sending)
  await expect.poll(() => brought.at(-1), soon).toBe(`${quick.job.version} 1`)
  open()
  await worker.stop()
})
