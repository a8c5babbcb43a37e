import type { BackgroundAdapter, Perform, Sending, Worker } from '../../background/adapter'
import type { ProcessJob } from '../../background/job'
import { inTime } from '../expect'
import { report, sendingOf } from './sample'

/** One time that a job came to a worker. */
export interface Brought {
  readonly job: ProcessJob
  readonly attempt: number
  /** Milliseconds, by `performance.now()`. */
  readonly at: number
  /** Whether it was performed to its end. */
  done: boolean
}

/** An adapter as a program uses it. */
export interface Opened {
  readonly adapter: BackgroundAdapter
  /** What it brought, in order. */
  readonly brought: readonly Brought[]
  /** How many jobs were performed to their end, those that came twice counted once. */
  performed(): number
  /** How often a job came. */
  times(job: ProcessJob): number
  enqueue(...jobs: readonly ProcessJob[]): Promise<void>
  /** Enqueues one job in a way of its own. */
  send(job: ProcessJob, said: Partial<Sending>): Promise<void>
  work(concurrency?: number, queues?: readonly string[]): Promise<Worker>
  close(): Promise<void>
  /** Stops what works and closes, unless that was done. */
  end(): Promise<void>
}

/** What a case does with each job of its own. */
export type Behave = (job: ProcessJob, attempt: number) => Promise<void>

export interface OpenOptions {
  readonly behave: Behave
  /** Versions of the jobs that are the case's own: others end at once, and are not shown. */
  readonly mine: ReadonlySet<string>
  /** How long a call may take. Milliseconds. */
  readonly within: number
  /** Called instead of performing a job on the spot. Left out, that is done. */
  readonly onTheSpot?: () => never
}

export function opened(adapter: BackgroundAdapter, { behave, mine, within, onTheSpot }: OpenOptions): Opened {
  const brought: Brought[] = []
  const workers: Worker[] = []
  let closed = false

  const perform: Perform = async (given, attempt) => {
    const job = given as ProcessJob
    if (!mine.has(job.version)) return report
    const one = { job, attempt, at: performance.now(), done: false }
    brought.push(one)
    await behave(job, attempt)
    one.done = true
    return report
  }

  async function send(job: ProcessJob, said: Partial<Sending>): Promise<void> {
    let here = false
    const performNow = async () => {
      here = true
      if (!onTheSpot) await perform(job, 1)
    }
    await inTime('enqueue() should return', adapter.enqueue(job, sendingOf(job, { ...said, performNow })), within)
    if (here) onTheSpot?.()
  }

  async function close(): Promise<void> {
    closed = true
    await adapter.close?.()
  }

  adapter.start?.(perform)
  return {
    adapter,
    brought,
    performed: () => new Set(brought.filter(({ done }) => done).map(({ job }) => job.version)).size,
    times: ({ version }) => brought.filter(({ job }) => job.version === version).length,
    send,
    async enqueue(...jobs) {
      for (const job of jobs) await send(job, {})
    },
    async work(concurrency = 2, queues = ['default']) {
      const inner = adapter.work && (await inTime('work() should return', adapter.work(perform, { concurrency, queues, attempts: 5 }), within))
      const worker: Worker = {
        async stop() {
          if (workers.includes(worker)) workers.splice(workers.indexOf(worker), 1)
          await inner?.stop()
        },
      }
      workers.push(worker)
      return worker
    },
    close,
    async end() {
      if (closed) return
      await Promise.all(workers.map((worker) => worker.stop()))
      await close()
    },
  }
}
