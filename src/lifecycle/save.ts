import { type AttachmentRecord, emptyRecord } from '../attachment/record'
import type { ProcessJob } from '../background/job'
import { UsageError } from '../errors'
import type { Intent, Intents } from './intents'
import { type Left, leftFiles } from './left'
import { jobAfter, type Place, planRow } from './plan'

/** The columns of one row, in the transaction that saves. */
export interface LockedRow {
  /** Locks the row until the transaction ends. Null without a file, undefined without a row. */
  read(): Promise<AttachmentRecord | null | undefined>
  /** How many rows took it. */
  write(columns: AttachmentRecord | typeof emptyRecord): Promise<number>
  /** Of a row that was inserted just now: writes and locks it, if it holds no file. Whether it did. */
  fill?(columns: AttachmentRecord): Promise<boolean>
}

/** What follows when the transaction commits. */
export interface Outcome {
  readonly job: ProcessJob | null
  readonly left: Left | null
  /** The file that the row has no more. */
  readonly replaced: string | null
}

/** Carries an intent out, inside the transaction: the row says everything from here on. */
export async function carryOut(
  intent: Intent,
  place: Place,
  row: LockedRow,
  { intents, now }: { intents: Pick<Intents, 'get'>; now: () => Date },
): Promise<Outcome & { columns: AttachmentRecord | null }> {
  const { ref, definition } = place
  const certain = intents.get(intent.version)?.uncertain === false
  if (intent.file && certain && row.fill) {
    const columns = planRow(place, intent.file, null, now())
    // no, where the statement was an upsert
    if (await row.fill(columns)) return { columns, job: jobAfter(ref, columns), left: null, replaced: null }
  }
  const before = await row.read()
  if (before === undefined) {
    throw new UsageError('row_missing', `the row of ${ref.entity}.${ref.attachment} is not there to take its file: save the entity itself, by save()`)
  }
  // saved twice in one transaction, or again because the answer to COMMIT was lost
  if (before && before.version === intent.version) return { columns: before, job: jobAfter(ref, before), left: null, replaced: null }
  const returns = before?.meta.earlier?.includes(intent.version)
  if (intent.file && (returns || !certain)) {
    const what = `${ref.entity}.${ref.attachment} was saved by another transaction, or the answer to its COMMIT was lost; another file may have taken its place since`
    throw new UsageError('attach_again', `${what}: load the entity and attach() the file again`)
  }
  const columns = intent.file && planRow(place, intent.file, before, now())
  if ((await row.write(columns ?? emptyRecord)) !== 1) {
    throw new UsageError('row_missing', `the row of ${ref.entity}.${ref.attachment} vanished while its file was written`)
  }
  const replaced = before?.version ?? null
  if (columns) return { columns, job: jobAfter(ref, columns), left: null, replaced }
  return { columns, job: null, replaced, left: before && { ref, files: leftFiles(before, definition.keepsFiles !== 'never') } }
}

/** Looks, inside the transaction, at a row that is about to be removed. */
export async function beforeRemoval({ ref, definition }: Place, row: Pick<LockedRow, 'read'>): Promise<Outcome | null> {
  const record = await row.read()
  return record ? { job: null, replaced: record.version, left: { ref, files: leftFiles(record, definition.keepsFiles === 'always') } } : null
}
