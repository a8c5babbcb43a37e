import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Logger, runTaskList, type Task, type WorkerEvents } from 'graphile-worker'
import type { Pool } from 'pg'
import { messageOf } from '../errors'
import { NotHere, type Perform, TryLater } from './adapter'
import { alive } from './graphile-alive'
import { type GraphileSql, say, taskOf, workerPrefix } from './graphile-sql'
import type { Job } from './job'

export interface Crew {
  /** Resolves when it takes no more jobs, for whatever reason, and has done those it had. */
  readonly ended: Promise<void>
  stop(): Promise<void>
}

interface Work {
  readonly pool: Pool
  readonly schema: string
  readonly sql: GraphileSql
  readonly concurrency: number
  readonly queues: readonly string[]
}

/** A pool of workers for each queue, so that none keeps another waiting. */
export function hire(perform: Perform, { pool, schema, sql, concurrency, queues }: Work): Crew {
  const id = `${workerPrefix}${hostname()}-${process.pid}-${randomBytes(6).toString('hex')}`
  const life = alive(id, { pool, sql })
  const settling = new Set<Promise<void>>()
  let over = false

  const task: Task = async (payload, { job }) => {
    try {
      // perform() looks at what it is before anything else
      await perform(payload as Job, job.attempts)
    } catch (error) {
      const settled = settle(job.id, job.attempts, error).finally(() => settling.delete(settled))
      settling.add(settled)
      // the engine notes this as the job's last error
      throw new Error(messageOf(error instanceof TryLater ? error.cause : error), { cause: error })
    }
  }

  /** The engine lets go of a failed job when it has written down why, and puts it off by its own rule: ours is told after that. */
  async function settle(job: string, attempts: number, error: unknown): Promise<void> {
    if (!(error instanceof TryLater)) say(`a job failed outside of its row: ${messageOf(error)}`)
    const counted = error instanceof NotHere ? attempts - 1 : attempts
    const [text, values] = error instanceof TryLater ? [sql.later, [error.delay, counted]] : [sql.failed, [messageOf(error)]]
    for (let wait = 5; ; wait = Math.min(wait * 2, 1_000)) {
      const last = over
      const held = await pool.query(text, [job, attempts, id, ...values]).then(
        ({ rows }) => rows[0].held,
        () => true,
      )
      if (!held || last) return
      await sleep(wait)
    }
  }

  const pools = queues.map((queue) => {
    const events: WorkerEvents = new EventEmitter()
    events.on('pool:create', ({ workerPool }) => {
      workerPool.id = id
    })
    // a look-up of its tasks that fails is kept by the engine: such a pool never takes a job
    let before: unknown
    events.on('worker:getJob:error', ({ error }) => {
      if (error === before) setImmediate(stop)
      before = error
    })
    return runTaskList(
      {
        pgPool: pool,
        schema,
        concurrency,
        logger,
        events,
        noHandleSignals: true,
        // asked before every claim: nobody takes a job whom others might think dead
        forbiddenFlags: () => life.held(),
        // without batches the engine does not wait for what it writes, and the process ends when the database is not there
        preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
      },
      { [taskOf(queue)]: task },
      pool,
    )
  })
  const oneEnded = Promise.race(pools.map(({ promise }) => promise))

  let stopped: Promise<void> | undefined
  function stop(): Promise<void> {
    stopped ??= (async () => {
      const shut = Promise.allSettled(pools.map(async (one) => one.gracefulShutdown()))
      life.release()
      await shut
      over = true
      await Promise.all(settling)
      await life.end()
    })()
    return stopped
  }
  return { ended: oneEnded.catch((error) => say(messageOf(error))).then(stop), stop }
}

/** What the engine has to say is for whoever runs it; that a job failed, its row says. */
export const logger = new Logger(() => (level, message, meta) => {
  if (meta?.['failure'] !== true && (level === 'error' || level === 'warning')) say(message)
})
