import pg from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { graphileBackground } from '../../src/background/graphile'
import { crew, type GraphileDatabase, graphileDatabase, letter, warnings } from '../support/graphile'

const soon = { timeout: 30_000 }
const patience = 60_000
const byDefault = { concurrency: 2, queues: ['default'], attempts: 5 }

/** What a worker leaves who was killed: jobs that are locked by nobody who lives. */
const lockAs = ({ pool }: GraphileDatabase, worker: string, key: string, attempts: number) =>
  pool.query('UPDATE graphile_worker._private_jobs SET locked_by = $1, locked_at = now(), attempts = $3 WHERE key = $2', [worker, key, attempts])

const lockHolders = async ({ pool }: GraphileDatabase): Promise<number[]> =>
  (
    await pool.query(`SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
      WHERE locktype = 'advisory' AND mode = 'ShareLock' AND datname = current_database()`)
  ).rows.map(({ pid }) => pid)

/** A job that comes while its worker is told to wait. */
function held() {
  let open = () => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  return { ...crew(() => gate), open: () => open() }
}

it('sets free what dead workers hold, without counting their attempt, and leaves those of others', async () => {
  const queue = await graphileDatabase()
  const adapter = queue.background()
  const [ours, waiting] = [letter(), letter({ queue: 'slow' })]
  for (const { job, sending } of [ours, waiting]) await adapter.enqueue(job, sending)
  await queue.pool.query(`SELECT graphile_worker.add_job('letters', job_key => 'theirs')`)
  await lockAs(queue, 'attachments-gone-1-0123', ours.sending.key, 3)
  await lockAs(queue, 'attachments-gone-2-4567', waiting.sending.key, 1)
  await lockAs(queue, 'pool-of-another-program', 'theirs', 1)
  const { brought, perform } = crew()
  await adapter.work(perform, byDefault)
  await expect.poll(() => brought, soon).toEqual([`${ours.job.version} 3`])
  await expect
    .poll(async () => (await queue.jobs()).map((job) => [job.key, job.locked_by, job.attempts]), soon)
    .toEqual([
      [waiting.sending.key, null, 0],
      ['theirs', 'pool-of-another-program', 1],
    ])
})

it('takes one attempt off what a dead worker held, however many look after it at once', { timeout: patience }, async () => {
  const queue = await graphileDatabase()
  const adapter = queue.background()
  const { job, sending } = letter({ queue: 'slow' })
  await adapter.enqueue(job, sending)
  await lockAs(queue, 'attachments-gone-1-0123', sending.key, 3)
  const blocker = new pg.Client(queue.connectionString)
  await blocker.connect()
  onTestFinished(() => blocker.end())
  // both come so far, and neither further
  await blocker.query('BEGIN')
  await blocker.query('SELECT FROM graphile_worker._private_jobs FOR UPDATE')
  for (let worker = 0; worker < 2; worker++) await adapter.work(crew().perform, byDefault)
  const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
  await expect.poll(async () => (await queue.pool.query(waiting)).rowCount, soon).toBe(2)
  await blocker.query('ROLLBACK')
  const burying = `SELECT FROM pg_stat_activity WHERE (wait_event_type = 'Lock' OR xact_start IS NOT NULL) AND datname = current_database() AND pid <> pg_backend_pid()`
  await expect.poll(async () => (await queue.pool.query(burying)).rowCount, soon).toBe(0)
  expect(await queue.jobs()).toMatchObject([{ locked_by: null, attempts: 2 }])
})

it(
  'leaves a worker its job whose connection broke',
  async () => {
    const told = warnings()
    const queue = await graphileDatabase()
    const [busy, other] = [queue.background(), queue.background()]
    const { job, sending } = letter()
    const one = held()
    await busy.work(one.perform, byDefault)
    await busy.enqueue(job, sending)
    await expect.poll(() => one.brought, soon).toHaveLength(1)
    const [holder] = await lockHolders(queue)
    const two = crew()
    await other.work(two.perform, { concurrency: 2, queues: ['default', 'slow'], attempts: 5 })
    await expect.poll(() => lockHolders(queue), soon).toHaveLength(2)

    await queue.pool.query('SELECT pg_terminate_backend($1)', [holder])
    // by then everybody who works has looked twice
    for (const round of [1, 2]) {
      const dead = letter()
      await other.enqueue(dead.job, { ...dead.sending, delay: 3_600_000 })
      await lockAs(queue, `attachments-gone-${round}-89ab`, dead.sending.key, 1)
      await expect.poll(async () => (await queue.jobs()).at(-1)?.locked_by, soon).toBeNull()
    }
    expect(await lockHolders(queue)).toHaveLength(2)
    expect(await lockHolders(queue)).not.toContain(holder)
    expect((await queue.jobs())[0]?.locked_by).toMatch(/^attachments-/)
    one.open()
    await expect.poll(async () => (await queue.jobs()).map(({ key }) => key), soon).not.toContain(sending.key)
    expect([one.brought, two.brought]).toEqual([[`${job.version} 1`], []])
    expect(told).toEqual([])
  },
  patience,
)

it('takes jobs again when its database was away, and finishes what it had', { timeout: patience }, async () => {
  const told = warnings()
  const queue = await graphileDatabase()
  const adapter = queue.background()
  const before = letter()
  const one = held()
  await adapter.work(one.perform, byDefault)
  await adapter.enqueue(before.job, before.sending)
  await expect.poll(() => one.brought, soon).toHaveLength(1)

  const back = await away(queue)
  one.open()
  await expect(adapter.enqueue(before.job, before.sending)).rejects.toThrow()
  await expect.poll(() => told, soon).toContainEqual(expect.stringContaining('Failed to complete jobs'))
  await back()

  const after = letter()
  // until the pool has noticed that its connections are gone
  const sent = () =>
    adapter.enqueue(after.job, after.sending).then(
      () => true,
      () => false,
    )
  await expect.poll(sent, soon).toBe(true)
  await expect.poll(() => one.brought, soon).toContain(`${after.job.version} 1`)
  await expect.poll(() => queue.jobs(), soon).toEqual([])
})

it('begins when its database comes, if it was not there at first', { timeout: patience }, async () => {
  const told = warnings()
  const queue = await graphileDatabase()
  const adapter = queue.background()
  const back = await away(queue)
  const { brought, perform } = crew()
  await adapter.work(perform, byDefault)
  await expect.poll(() => told, soon).toEqual([expect.stringContaining('a worker could not begin')])
  await back()
  const { job, sending } = letter()
  await adapter.enqueue(job, sending)
  await expect.poll(() => brought, soon).toEqual([`${job.version} 1`])
})

it('begins anew when the engine could not learn its tasks', { timeout: patience }, async () => {
  warnings()
  const queue = await graphileDatabase()
  const adapter = queue.background()
  const { job, sending } = letter()
  await adapter.enqueue(job, sending)
  const blocker = new pg.Client(queue.connectionString)
  await blocker.connect()
  onTestFinished(() => blocker.end())
  await blocker.query('BEGIN; LOCK TABLE graphile_worker._private_tasks IN SHARE MODE')
  const { brought, perform } = crew()
  await adapter.work(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  const blocked = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE 'insert into%_private_tasks%'`
  await expect.poll(async () => (await queue.pool.query(blocked)).rowCount, soon).toBe(1)
  await blocker.query('ROLLBACK')
  await expect.poll(() => brought, soon).toEqual([`${job.version} 1`])
})

it('leaves open a pool that it was given, and wants one that is large enough', async () => {
  const { connectionString } = await graphileDatabase()
  const pool = new pg.Pool({ connectionString, max: 3 })
  onTestFinished(() => pool.end())
  const adapter = graphileBackground({ pool })
  const { job, sending } = letter()
  const { brought, perform } = crew()
  await expect(adapter.work?.(perform, { concurrency: 1, queues: ['default', 'slow'], attempts: 5 })).rejects.toMatchObject({ code: 'small_pool' })
  await adapter.work?.(perform, byDefault)
  await adapter.enqueue(job, sending)
  await expect.poll(() => brought, soon).toHaveLength(1)
  await adapter.close?.()
  expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  expect([pool.listenerCount('error'), pool.listenerCount('connect')]).toEqual([0, 0])
})

/** Ends every connection to a database, and lets none begin. What comes back lets them begin again. */
async function away({ connectionString }: GraphileDatabase): Promise<() => Promise<unknown>> {
  const name = new URL(connectionString).pathname.slice(1)
  const elsewhere = Object.assign(new URL(connectionString), { pathname: '/postgres' }).href
  const server = new pg.Client(elsewhere)
  await server.connect()
  onTestFinished(() => server.end())
  const allow = (allowed: boolean) => server.query(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS ${allowed}`)
  await allow(false)
  await server.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name])
  return () => allow(true)
}
