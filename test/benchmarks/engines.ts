import { randomBytes } from 'node:crypto'
import { Queue } from 'bullmq'
import Redis from 'ioredis'
import pg from 'pg'
import PgBoss from 'pg-boss'
import { pgBossBackground } from '../../examples/pg-boss/pg-boss-background'
import { createDatabase, dropDatabase } from '../../examples/services/postgres'
import type { BackgroundAdapter, ProcessJob } from '../../src'
import { bullmqBackground } from '../../src/background/bullmq'
import { graphileBackground } from '../../src/background/graphile'
import { sendingOf } from '../../src/testing/background/sample'

/** A queue as it is measured: always empty at first. */
export interface Engine {
  readonly name: string
  open(): Promise<Opened>
}

export interface Opened {
  readonly adapter: BackgroundAdapter
  /** Enqueues jobs as fast as may be, and lets the server do what it would have done meanwhile, had they come slowly. */
  fill(jobs: Iterable<ProcessJob>): Promise<void>
  close(): Promise<void>
}

export interface Servers {
  /** The address of PostgreSQL's own database. */
  readonly postgres: string
  readonly redis: string | undefined
}

export function enginesOn({ postgres, redis }: Servers): Engine[] {
  return [
    {
      name: 'graphile-worker',
      async open() {
        const { connectionString, drop } = await newDatabase(postgres)
        const pool = new pg.Pool({ connectionString, max: 20 })
        // the database is dropped while its last connections end
        pool.on('error', () => undefined)
        const adapter = graphileBackground({ pool })
        const close = async () => {
          await adapter.close?.()
          await pool.end()
          await drop()
        }
        return { adapter, fill: (jobs) => inBatches(jobs, pool, adapter).then(() => settle(connectionString)), close }
      },
    },
    ...(redis === undefined ? [] : [bullmqOn(redis)]),
    {
      name: 'pg-boss, as in the docs',
      async open() {
        const { connectionString, drop } = await newDatabase(postgres)
        const boss = new PgBoss({ connectionString, max: 20 })
        boss.on('error', (error) => console.error(error))
        await boss.start()
        const close = async () => {
          await boss.stop({ graceful: false })
          await drop()
        }
        const adapter = pgBossBackground(boss)
        return { adapter, fill: (jobs) => oneByOne(jobs, 16, adapter).then(() => settle(connectionString)), close }
      },
    },
  ]
}

function bullmqOn(redis: string): Engine {
  return {
    name: 'BullMQ on Redis',
    async open() {
      const queue = new Queue(`bench-${randomBytes(4).toString('hex')}`, { connection: { url: redis } })
      const adapter = bullmqBackground({ queue })
      const close = async () => {
        await adapter.close?.()
        await queue.close()
        const client = new Redis(redis)
        await client.flushdb()
        client.disconnect()
      }
      return { adapter, fill: (jobs) => oneByOne(jobs, 200, adapter), close }
    },
  }
}

async function newDatabase(server: string): Promise<{ connectionString: string; drop: () => Promise<void> }> {
  const name = `bench_${randomBytes(4).toString('hex')}`
  await createDatabase(server, name)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { connectionString: url.href, drop: () => dropDatabase(server, name) }
}

async function settle(connectionString: string): Promise<void> {
  const client = new pg.Client(connectionString)
  await client.connect()
  await client.query('VACUUM ANALYZE')
  await client.query('CHECKPOINT')
  await client.end()
}

/** So many calls of `enqueue()` at a time. */
async function oneByOne(jobs: Iterable<ProcessJob>, atOnce: number, adapter: BackgroundAdapter): Promise<void> {
  const left = jobs[Symbol.iterator]()
  async function send(): Promise<void> {
    for (let next = left.next(); !next.done; next = left.next()) await adapter.enqueue(next.value, sendingOf(next.value))
  }
  await Promise.all(Array.from({ length: atOnce }, send))
}

/** Transactions of a thousand jobs, once the queue is there. */
async function inBatches(jobs: Iterable<ProcessJob>, pool: pg.Pool, adapter: BackgroundAdapter): Promise<void> {
  const all = [...jobs]
  await oneByOne(all.splice(0, 1), 1, adapter)
  const here = { kind: 'postgres' }
  const client = await pool.connect()
  try {
    while (all.length > 0) {
      const batch = all.splice(-1_000)
      await client.query('BEGIN')
      await adapter.enqueueWithin?.(
        batch.map((job) => [job, sendingOf(job)] as const),
        async (sql, parameters) => (await client.query(sql, [...parameters])).rows,
        here,
      )
      await client.query('COMMIT')
    }
  } finally {
    client.release()
  }
}
