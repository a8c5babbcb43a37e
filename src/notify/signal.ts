/** What has happened to a file. */
export type State = 'attached' | 'processing' | 'progress' | 'processed' | 'failed' | 'removed'

/**
 * Says that something has happened to a file, and nothing of what is in it. It may come late, twice, or not at all: the row says
 * how things are.
 */
export interface Signal {
  /** Name of the entity. */
  readonly entity: string
  /** The row's primary key, by property. */
  readonly id: Readonly<Record<string, unknown>>
  /** Name of the attachment. */
  readonly attachment: string
  /** Of the file. */
  readonly version: string
  /**
   * `attached`: its row is saved. `processing`: a job has begun, each attempt anew, or is to begin by `retry()` or `reprocess()`. `progress`: another style is in the storage.
   * `processed`: all are. `failed`: the job gave up, and the row says why. `removed`: its row has another file by now, or none.
   */
  readonly state: State
  /** Of its styles so many, the original among them, are in the storage and verified. With `progress` only. */
  readonly progress?: { readonly done: number; readonly of: number }
}
