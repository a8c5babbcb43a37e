import pg from 'pg'
import { type Attachments, type BackgroundAdapter, inProcessBackground } from '../../src'
import { tableBackground } from '../support/table-background'

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

/** `process`: jobs end with their process. `table`: they are rows, and come back when whoever took them has not ended them in time. */
export type QueueKind = 'process' | 'table'

/** How long a job of the table is its worker's: more than it takes, and not more than a run can wait. Milliseconds. */
const lease = 1_000

export function openQueue(kind: QueueKind, database: string): Queue {
  if (kind === 'process') {
    return {
      background: inProcessBackground({ concurrency: 4 }),
      work: async () => undefined,
      idle: (attachments) => attachments.idle(),
      below: async () => undefined,
      close: async () => undefined,
    }
  }
  const pool = new pg.Pool({ connectionString: database }).on('error', () => undefined)
  const below = async (most: number) => {
    while ((await jobsIn(pool)) >= most) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return {
    background: tableBackground({ pool, lease }),
    work: (attachments) => attachments.work({ concurrency: 4 }),
    idle: () => below(1),
    below,
    close: () => pool.end(),
  }
}

async function jobsIn(pool: pg.Pool): Promise<number> {
  const made = await pool.query(`SELECT to_regclass('jobs') AS name`)
  return made.rows[0].name ? Number((await pool.query('SELECT count(*) AS count FROM jobs')).rows[0].count) : 0
}
