import type { Job } from './job'

/** Does one job, `attempt` counting from 1. Rejects with `TryLater` when the engine should call again. */
export type Perform = (job: Job, attempt: number) => Promise<void>

/** The job was not finished and is worth another attempt. */
export class TryLater extends Error {
  constructor(
    /** Milliseconds to wait. */
    readonly delay: number,
    cause: unknown,
  ) {
    super(`attempt failed, the next one is due in ${delay} ms`, { cause })
  }
}

export interface Worker {
  /** Takes no more jobs, and returns when those it holds are finished. */
  stop(): Promise<void>
}

/**
 * Carries jobs to whoever performs them. `inlineBackground()` is the smallest example, `inProcessBackground()` one
 * with a queue. Jobs may be lost, repeated and reordered: the rows know what is left to do.
 */
export interface BackgroundAdapter {
  /**
   * Takes a job whose transaction has committed. Whoever saved waits for this, so be quick.
   *
   * @param performNow does the job here, on the connection that committed; for adapters that have no queue
   */
  enqueue(job: Job, performNow: () => Promise<void>): Promise<void>
  /** For adapters whose jobs run in the process that enqueues them: called once by `connect()`. */
  start?(perform: Perform): void
  /** Starts taking jobs from the queue, `concurrency` at a time. */
  work(perform: Perform, options: { concurrency: number }): Promise<Worker>
  /** Resolves when this process has nothing left to do. Adapters whose jobs run elsewhere leave it out. */
  idle?(): Promise<void>
  /** Finishes what runs and lets go of everything it holds. */
  close?(): Promise<void>
}
