import type { AttachmentRecord } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import { StorageError } from '../errors'
import type { State } from '../notify/signal'
import type { Ports } from './ports'

/** The row is at another version, or not processing any more: whoever finds that has nothing more to say. */
export class Overtaken extends Error {}

/** A row as the jobs of one version may change it. */
export interface FencedRow {
  /** What it holds; rejects with `Overtaken`. A change that follows decides from this, if nobody else changes it. */
  read(): Promise<AttachmentRecord>
  /**
   * Changes the row while it is at this version and processing. Decided from what it holds at that very moment, so that twins of
   * a job never undo each other's work. What it holds then; rejects with `Overtaken`.
   *
   * @param state what is told of the file then
   */
  change(decide: (record: AttachmentRecord) => Partial<AttachmentRecord>, state?: State): Promise<AttachmentRecord>
}

/** How often somebody else may be faster before it is called an error. */
const patience = 20

/** The one place where it is decided who wins: a conditional update on version, processing, and the moment of the last change. */
export function fencedRow(ref: AttachmentRef, version: string, { rows, now }: Pick<Ports, 'rows' | 'now'>): FencedRow {
  let known: AttachmentRecord | null | undefined

  async function read(): Promise<AttachmentRecord> {
    known ??= await rows.read(ref)
    if (known?.version !== version || !known.processing) throw new Overtaken()
    return known
  }

  return {
    read,
    async change(decide, state) {
      for (let tries = 0; tries < patience; tries++) {
        const before = await read()
        const record: AttachmentRecord = { ...before, attemptedAt: later(before, now()), ...decide(before) }
        const { contentType, processing, attemptedAt, error, meta } = record
        const fence = { version, processing: true, attemptedAt: before.attemptedAt }
        known = (await rows.update(ref, fence, { contentType, processing, attemptedAt, error, meta }, state)) ? record : undefined
        if (known) return known
      }
      throw new StorageError('row_busy', `the row of ${ref.entity}.${ref.attachment} was changed by others ${patience} times in a row`)
    },
  }
}

/** Every change of a row is told from the one before by its moment. */
export function later({ attemptedAt }: AttachmentRecord, now: Date): Date {
  return new Date(Math.max(now.getTime(), (attemptedAt?.getTime() ?? 0) + 1))
}
