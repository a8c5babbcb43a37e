import { setTimeout as sleep } from 'node:timers/promises'
import type PgBoss from 'pg-boss'
import { type BackgroundAdapter, type Job, NotHere, type Perform, type Query, type Sending, TryLater } from 'typeorm-attachments'

/** What pg-boss carries. It can only wait a fixed time between attempts: so we count them, and send the next one ourselves. */
interface Task {
  readonly job: Job
  readonly attempt: number
  readonly sending: Pick<Sending, 'key' | 'queue' | 'priority'>
}

/**
 * Jobs in pg-boss 10, which you start and stop. Whoever takes a job has `expireInSeconds` for it (default 15 minutes); then it
 * is there for others.
 */
export function pgBossBackground(boss: PgBoss, { expireInSeconds = 15 * 60 } = {}): BackgroundAdapter {
  const queues = new Map<string, Promise<void>>()

  /** The name of a queue, which is there then. Its policy lets one job of a key wait. */
  async function nameOf(queue: string): Promise<string> {
    const name = `attachments-${queue}`
    const made = queues.get(name) ?? boss.createQueue(name, { name, policy: 'short' })
    queues.set(name, made)
    await made.catch((error) => {
      queues.delete(name)
      throw error
    })
    return name
  }

  async function send({ job, attempt, sending }: Task, delay: number, query?: Query): Promise<void> {
    const { key, queue, priority } = sending
    const options = {
      singletonKey: key,
      // here larger numbers come first
      priority: -priority,
      startAfter: new Date(Date.now() + delay),
      expireInSeconds,
      // these are for workers that were killed: after 20 of them the library gives up
      retryLimit: 20,
      ...(query && { db: { executeSql: async (sql: string, values: unknown[]) => ({ rows: [...(await query(sql, values))], rowCount: 0 }) } }),
    }
    await boss.send(await nameOf(queue), { job, attempt, sending: { key, queue, priority } }, options)
  }

  /** Performs one job; false when there was none. */
  async function next(name: string, perform: Perform): Promise<boolean> {
    const [taken] = await boss.fetch<Task>(name)
    if (!taken) return false
    const { id, data: task } = taken
    try {
      await boss.complete(name, id, await perform(task.job, task.attempt))
    } catch (error) {
      // first the next attempt, then the end of this one: better two than none
      if (error instanceof TryLater) await send({ ...task, attempt: task.attempt + (error instanceof NotHere ? 0 : 1) }, error.delay)
      else console.error('gave up', task.job, error)
      await (error instanceof TryLater ? boss.complete(name, id) : boss.cancel(name, id))
    }
    return true
  }

  return {
    enqueue: (job, sending) => send({ job, attempt: 1, sending }, sending.delay),
    async enqueueWithin(jobs, query) {
      for (const [job, sending] of jobs) await send({ job, attempt: 1, sending }, sending.delay, query)
      return true
    },
    async work(perform, { concurrency, queues }) {
      const names = await Promise.all(queues.map(nameOf))
      let stopped = false
      async function loop(name: string): Promise<void> {
        while (!stopped) {
          const busy = await next(name, perform).catch((error) => console.error('pg-boss does not answer', error))
          if (!busy) await sleep(500)
        }
      }
      const loops = names.flatMap((name) => Array.from({ length: concurrency }, () => loop(name)))
      return {
        async stop() {
          stopped = true
          await Promise.all(loops)
        },
      }
    },
  }
}
