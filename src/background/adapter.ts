import { messageOf } from '../errors'
import type { Job } from './job'

/** Does one job, `attempt` counting from 1. Rejects with `TryLater` when the engine should call again. */
export type Perform = (job: Job, attempt: number, told?: (progress: Progress) => void) => Promise<JobReport>

/** How far a job has come: so many of its styles, the original among them, are in the storage and verified. */
export interface Progress {
  readonly done: number
  readonly of: number
}

/** What became of a job, as its worker logs it and an engine may keep it. */
export interface JobReport {
  /**
   * `done`; `failed`, and its row says why; `overtaken`: the row has another file by now, or none, or a twin of the job was
   * faster; `waiting`: for what somebody else has yet to bring, and a job will follow when that is there.
   */
  readonly result: 'done' | 'failed' | 'overtaken' | 'waiting'
  /** Names of the styles that this attempt brought to the storage, `original` among them. */
  readonly styles: readonly string[]
  /** How much that was. */
  readonly bytes: number
  readonly error?: { readonly code: string; readonly message: string }
}

/** The job was not finished and is worth another attempt. */
export class TryLater extends Error {
  constructor(
    /** Milliseconds to wait. */
    readonly delay: number,
    cause: unknown,
  ) {
    super(`the next attempt is due in ${delay} ms: ${messageOf(cause)}`, { cause })
  }
}

/** The job could not be begun here, and another worker may be able to: it goes back, and this counts as no attempt. */
export class NotHere extends TryLater {}

export interface Worker {
  /** Takes no more jobs, and returns when those it holds are finished. */
  stop(): Promise<void>
}

/** How a job is to be carried. */
export interface Sending {
  /** Of several jobs with one key that have not begun, one is enough. */
  readonly key: string
  /** What the attachment says by `processInBackground: { queue }`, else `'default'`. */
  readonly queue: string
  /** Lower numbers come first. From 0, the default, to 2,097,152. */
  readonly priority: number
  /** Milliseconds that it has to wait before it begins. */
  readonly delay: number
  /** How often it may be tried: a limit of the engine's own must be no lower. */
  readonly attempts: number
  /** Does the job here and now, on the connection that committed; for adapters that have no queue. */
  performNow(): Promise<void>
}

/** Sends a statement of SQL in the transaction of whoever saves. Resolves to the rows that it answers. */
export type Query = (sql: string, parameters: readonly unknown[]) => Promise<ReadonlyArray<Readonly<Record<string, unknown>>>>

/** Where somebody saves: the same object for the same data source. */
export interface Database {
  /** As TypeORM calls it: `'postgres'`, `'mariadb'`, … */
  readonly kind: string
}

export interface WorkOptions {
  /** Jobs at a time. */
  readonly concurrency: number
  /** The queues to take jobs from, by the names of `Sending`. */
  readonly queues: readonly string[]
  /** How often a job may be tried: `Sending.attempts` of all of them. */
  readonly attempts: number
}

/**
 * Carries jobs to whoever performs them. `inlineBackground()` is the smallest example, `inProcessBackground()` one
 * with a queue. Jobs may be lost, repeated and reordered: the rows know what is left to do.
 */
export interface BackgroundAdapter {
  /** Takes a job whose transaction has committed. Whoever saved waits for this, so be quick. */
  enqueue(job: Job, sending: Sending): Promise<void>
  /**
   * For queues in the database of the rows: takes jobs inside the transaction that saves them, so that they are there
   * when it commits, and only then. False when the queue is not there. Then, or when it rejects and what it did is undone,
   * `enqueue()` is called after the commit.
   */
  enqueueWithin?(jobs: ReadonlyArray<readonly [Job, Sending]>, query: Query, database: Database): Promise<boolean>
  /** For adapters whose jobs run in the process that enqueues them: called once by `connect()`. */
  start?(perform: Perform): void
  /** Starts taking jobs from its queues. Left out by adapters that have none. */
  work?(perform: Perform, options: WorkOptions): Promise<Worker>
  /** Resolves when this process has nothing left to do. Adapters whose jobs run elsewhere leave it out. */
  idle?(): Promise<void>
  /** Finishes what runs and lets go of everything it holds. */
  close?(): Promise<void>
}
