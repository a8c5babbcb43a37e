import type { RowRef } from '../background/job'
import type { AttachmentRecord } from './record'

/** Which columns of which row. */
export interface AttachmentRef extends RowRef {
  readonly attachment: string
}

/** What a job may change. */
export type Changes = Partial<Pick<AttachmentRecord, 'processing' | 'attemptedAt' | 'error' | 'meta'>>

/**
 * How jobs see the database: the port that `typeorm/` implements. It reads the primary, never a replica, and changes
 * nothing but the attachment's own columns.
 */
export interface Rows {
  /** The row's attachment now: null without a file, undefined without a row. */
  read(ref: AttachmentRef): Promise<AttachmentRecord | null | undefined>
  /**
   * The fence: changes the row only while it is at this version and still processing, in one conditional statement.
   * Whether it did.
   *
   * @param untouchedSince only if no job began with it after that
   */
  update(ref: AttachmentRef, version: string, changes: Changes, untouchedSince?: Date): Promise<boolean>
  /** Rows that are processing and that no job was enqueued for or began with after `before`; the longest waiting first. */
  waiting(entity: string, attachment: string, before: Date, limit: number): Promise<ReadonlyArray<{ ref: AttachmentRef; record: AttachmentRecord }>>
}
