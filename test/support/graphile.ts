import pg from 'pg'
import { onTestFinished, vi } from 'vitest'
import type { BackgroundAdapter, Perform, Sending } from '../../src'
import { graphileBackground } from '../../src/background/graphile'
import { report, sampleJob, sendingOf } from '../../src/testing/background/sample'
import { newDatabase } from './world'

/** A job as Graphile Worker shows it. */
export interface Shown {
  readonly id: string
  readonly task_identifier: string
  readonly payload: unknown
  readonly key: string | null
  readonly attempts: number
  readonly max_attempts: number
  readonly priority: number
  readonly last_error: string | null
  readonly locked_by: string | null
  /** Seconds from now, by the clock of the database. */
  readonly due: number
}

export interface GraphileDatabase {
  readonly connectionString: string
  /** Of somebody who looks on, and is nobody's worker. */
  readonly pool: pg.Pool
  jobs(): Promise<Shown[]>
  background(): Required<BackgroundAdapter>
}

/** A database with Graphile Worker's tables as soon as somebody has installed them. Adapters are closed when the test ends. */
export async function graphileDatabase(connectionString?: string): Promise<GraphileDatabase> {
  const url = connectionString ?? (await newDatabase())
  const pool = new pg.Pool({ connectionString: url }).on('error', () => undefined)
  onTestFinished(() => pool.end())
  const shown = `
    SELECT jobs.*, payload, extract(epoch FROM jobs.run_at - now())::float8 AS due
    FROM graphile_worker.jobs JOIN graphile_worker._private_jobs USING (id) ORDER BY id`
  return {
    connectionString: url,
    pool,
    jobs: async () => (await pool.query(shown)).rows,
    background() {
      const adapter = graphileBackground({ connectionString: url }) as Required<BackgroundAdapter>
      onTestFinished(() => adapter.close())
      return adapter
    },
  }
}

export interface Crew {
  /** What was brought, as `version attempt`. */
  readonly brought: string[]
  readonly perform: Perform
}

/** Performs what comes, and remembers it. */
export function crew(behave: (attempt: number) => unknown = () => undefined): Crew {
  const brought: string[] = []
  return {
    brought,
    perform: async (job, attempt) => {
      brought.push(`${'version' in job ? job.version : '?'} ${attempt}`)
      await behave(attempt)
      return report
    },
  }
}

/** A job, and how it is sent. */
export function letter(said: Partial<Sending> = {}) {
  const job = sampleJob()
  return { job, sending: sendingOf(job, said) }
}

/** Warnings of ours while a test runs, which are kept out of its output. */
export function warnings(): string[] {
  const told: string[] = []
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void told.push(String(warning)))
  onTestFinished(() => spy.mockRestore())
  return told
}
