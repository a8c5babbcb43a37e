import pg from 'pg'
import type { BackgroundAdapter } from '../../../src/background/adapter'
import type { ProcessJob } from '../../../src/background/job'
import { tableBackground } from '../table-background'

/** Queues that lose jobs when a process is killed: they forget a job when they hand it out, or take it before they have written it down. */
export async function makeBackground(): Promise<BackgroundAdapter> {
  const pool = new pg.Pool({ connectionString: process.env['CONTRACT_DATABASE'] })
  const sound = tableBackground({ pool, lease: 500 })
  if (process.env['CONTRACT_FLAW'] === 'enqueues later')
    return { ...sound, enqueue: async (...all) => void setTimeout(() => sound.enqueue(...all), 10_000) }
  return {
    ...sound,
    work: (perform, options) =>
      sound.work(async (job, attempt) => {
        await pool.query(`DELETE FROM jobs WHERE job->>'version' = $1`, [(job as ProcessJob).version])
        return perform(job, attempt)
      }, options),
  }
}
