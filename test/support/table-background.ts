import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import { type BackgroundAdapter, NotHere, type Perform, TryLater } from '../../src/background/adapter'

/** How often a worker without jobs looks for one. Milliseconds. */
const pause = 10

/** One query is one transaction: whoever comes second waits for the first to make the table. */
const table = `
  SELECT pg_advisory_xact_lock(4711);
  CREATE TABLE IF NOT EXISTS jobs (
    id bigserial PRIMARY KEY, job jsonb NOT NULL, attempt int NOT NULL DEFAULT 1, visible_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE INDEX IF NOT EXISTS jobs_visible_at ON jobs (visible_at)`

const claim = `
  UPDATE jobs SET visible_at = now() + $1 * interval '1 ms'
  WHERE id = (SELECT id FROM jobs WHERE visible_at <= now() ORDER BY visible_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
  RETURNING id, job, attempt`

const postpone = `UPDATE jobs SET attempt = $2, visible_at = now() + $3 * interval '1 ms' WHERE id = $1`

/**
 * A queue in the table `jobs` of a database, which it makes. Jobs outlive every process and come at least once: whoever takes
 * one has `lease` milliseconds for it (default 10,000), and then it is there for others. An attempt that was cut short is not
 * counted. The pool stays the caller's.
 */
export function tableBackground({
  pool,
  lease = 10_000,
}: {
  pool: Pool
  lease?: number
}): BackgroundAdapter & Required<Pick<BackgroundAdapter, 'work'>> {
  const stops = new Set<() => Promise<void>>()
  let made: Promise<unknown> | undefined

  async function query(sql: string, values: unknown[]) {
    made ??= pool.query(table).catch((error) => {
      made = undefined
      throw error
    })
    await made
    return (await pool.query(sql, values)).rows
  }

  /** Performs the job that is due the longest; false when there was none. */
  async function next(perform: Perform): Promise<boolean> {
    const [claimed] = await query(claim, [lease])
    if (!claimed) return false
    const { id, job, attempt } = claimed
    try {
      await perform(job, attempt)
    } catch (error) {
      if (error instanceof TryLater) {
        await query(postpone, [id, error instanceof NotHere ? attempt : attempt + 1, error.delay])
        return true
      }
      warn(`a job failed outside of its row: ${error}`)
    }
    await query('DELETE FROM jobs WHERE id = $1', [id])
    return true
  }

  return {
    async enqueue(job, { delay }) {
      await query(`INSERT INTO jobs (job, visible_at) VALUES ($1, now() + $2 * interval '1 ms')`, [JSON.stringify(job), delay])
    },

    async work(perform, { concurrency }) {
      let stopped = false
      async function take(): Promise<void> {
        while (!stopped) {
          // a database that does not answer is asked again; what was claimed comes back when its lease is over
          const busy = await next(perform).catch((error) => warn(`the queue does not answer: ${error}`))
          if (!busy) await sleep(pause)
        }
      }
      const taking = Promise.all(Array.from({ length: concurrency }, take))
      const stop = async () => {
        stopped = true
        await taking
        stops.delete(stop)
      }
      stops.add(stop)
      return { stop }
    },

    async close() {
      await Promise.all([...stops].map((stop) => stop()))
    },
  }
}

function warn(message: string): void {
  process.emitWarning(message, 'AttachmentWarning')
}
