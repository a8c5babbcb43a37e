import type { Job } from '../background/job'

/** What a process is told to do until it is killed. JSON. It tells the words that are listed. */
export type Order = WriteOrder | WorkOrder | EnqueueOrder

/** Write a large body. Tells `stopped` or `ended`, and then `written`. */
export interface WriteOrder {
  readonly do: 'write'
  readonly key: string
  /** Where the body stops and never goes on; left out, it ends. */
  readonly stop?: 'half-way through' | 'before the end of'
}

/**
 * Work, and with the first job: hold it for ever, end it, or ask for another attempt. What follows is held. Tells `working`,
 * `begun`, and for a job that it ends `performed` and its version.
 */
export interface WorkOrder {
  readonly do: 'work'
  readonly first: 'hold' | 'end' | 'try later'
}

/** Tells `enqueued`. */
export interface EnqueueOrder {
  readonly do: 'enqueue'
  readonly job: Job
}

/** What a process that is told to write writes. Bytes. */
export const largeSize = 12 * 1024 * 1024
