import { Queue as BullQueue } from 'bullmq'
import pg from 'pg'
import { type Attachments, type BackgroundAdapter, inProcessBackground } from '../../src'
import { bullmqBackground } from '../../src/background/bullmq'
import { graphileBackground } from '../../src/background/graphile'
import { tableBackground } from '../support/table-background'
import type { Place } from './place'

export interface Queue {
  readonly background: BackgroundAdapter
  /** Starts what takes jobs in this process; for an in-process queue, nothing has to be. */
  work(attachments: Attachments): Promise<unknown>
  /** Resolves when no job is left that anybody could take. */
  idle(attachments: Attachments): Promise<void>
  /** Resolves when fewer than so many jobs wait. */
  below(most: number): Promise<void>
  close(): Promise<void>
}

/** Those that outlive their workers, and bring back what one has taken and not ended. `table` is only for tests. */
export const durableQueues = ['table', 'graphile', 'bullmq'] as const

/** `process`: jobs end with their process. */
export type QueueKind = 'process' | (typeof durableQueues)[number]

/** How long a job is its worker's, where that can be said: more than it takes, and not more than a run can wait. Milliseconds. */
const lease = 1_000

export function openQueue(kind: QueueKind, place: Place): Queue {
  if (kind === 'process') return inProcess()
  if (kind === 'bullmq') return onRedis(place)
  const pool = new pg.Pool({ connectionString: place.database }).on('error', () => undefined)
  const close = () => pool.end()
  return kind === 'table'
    ? durable(tableBackground({ pool, lease }), () => jobsIn(pool, 'jobs', 'true'), close)
    : durable(graphileBackground({ pool }), () => jobsIn(pool, 'graphile_worker.jobs', 'attempts < max_attempts'), close)
}

function inProcess(): Queue {
  return {
    background: inProcessBackground({ concurrency: 4 }),
    work: async () => undefined,
    idle: (attachments) => attachments.idle(),
    below: async () => undefined,
    close: async () => undefined,
  }
}

function onRedis({ redis, database, prefix }: Place): Queue {
  if (!redis) throw new Error('there is no Redis here: install redis-server, or set REDIS_URL')
  const name = `${new URL(database).pathname}-${prefix}`.replace(/\W+/g, '-')
  const queue = new BullQueue(name, { connection: { url: redis } })
  const left = async () => queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized')
  return durable(bullmqBackground({ queue, worker: { lockDuration: lease, stalledInterval: lease / 2 } }), left, () => queue.close())
}

function durable(background: BackgroundAdapter, left: () => Promise<number>, close: () => Promise<void>): Queue {
  const below = async (most: number) => {
    while ((await left()) >= most) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return { background, work: (attachments) => attachments.work({ concurrency: 4 }), idle: () => below(1), below, close }
}

async function jobsIn(pool: pg.Pool, table: string, condition: string): Promise<number> {
  const made = await pool.query(`SELECT to_regclass('${table}') AS name`)
  return made.rows[0].name ? Number((await pool.query(`SELECT count(*) AS count FROM ${table} WHERE ${condition}`)).rows[0].count) : 0
}
