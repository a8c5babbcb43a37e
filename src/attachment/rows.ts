import type { RowRef } from '../background/job'
import type { State } from '../notify/signal'
import type { AttachmentRecord } from './record'

/** Which columns of which entity. */
export interface AttachmentName {
  readonly entity: string
  readonly attachment: string
}

/** Which columns of which row. */
export interface AttachmentRef extends RowRef {
  readonly attachment: string
}

/** What a row must still be for a change of it to happen. */
export interface Fence {
  readonly version: string
  readonly processing: boolean
  /** As it was read: nobody has changed the row since. */
  readonly attemptedAt?: Date | null
}

/** A row with a file attached. */
export interface FoundRow {
  readonly ref: AttachmentRef
  readonly record: AttachmentRecord
}

/** When rows were last attempted: before a moment, or after one. */
export interface Attempted {
  readonly before?: Date
  readonly after?: Date
}

/**
 * How jobs see the database: the port that `typeorm/` implements. It reads the primary, never a replica, and changes
 * nothing but the attachment's own columns.
 */
export interface Rows {
  /** The row's attachment now: null without a file, undefined without a row. */
  read(ref: AttachmentRef): Promise<AttachmentRecord | null | undefined>
  /**
   * Changes the row, in one conditional statement, only while it is within the fence. Whether it did.
   *
   * @param state what is told of the file then
   */
  update(ref: AttachmentRef, fence: Fence, changes: Partial<AttachmentRecord>, state?: State): Promise<boolean>
  /** Rows that are processing; the longest waiting first. */
  processing(entity: string, attachment: string, attempted: Attempted, limit: number): Promise<readonly FoundRow[]>
  /** Rows whose job gave up; the longest ago first. */
  failed(entity: string, attachment: string, attempted: Attempted, limit: number): Promise<readonly FoundRow[]>
  /** Rows that are at one of these versions. */
  atVersions(entity: string, attachment: string, versions: readonly string[]): Promise<readonly FoundRow[]>
}
