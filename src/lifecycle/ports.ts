import type { Rows } from '../attachment/rows'
import type { RowRef } from '../background/job'
import type { Definition } from '../definition/definition'
import type { Signal } from '../notify/signal'
import type { Storage } from '../storage/storage'

/** Everything outside that the life of a file needs. */
export interface Ports {
  readonly rows: Rows
  readonly staging: Storage
  /** Throws a `UsageError` for a name that is not configured. */
  storage(name: string): Storage
  /** Throws a `UsageError` for an attachment that does not exist. */
  definition(entity: RowRef['entity'], attachment: string): Definition
  readonly retry: RetryPolicy
  /** Says what no row says: how far a job has come. */
  tell(signal: Signal): void
  /** The clock. */
  now(): Date
  /** Does a task again and again, so many milliseconds apart, until what it returns is called. */
  every(interval: number, task: () => void): () => void
}

export interface RetryPolicy {
  /** How often a job is tried before its file counts as failed. */
  readonly attempts: number
  /** Milliseconds before the attempt after this one, which counts from 1. */
  backoff(attempt: number): number
  /** Milliseconds that a file waits for a worker that sees its staging, when its job has come to one that does not. */
  readonly elsewhere: number
}
