import type { AttachmentRecord, StyleRecord, Styles } from '../attachment/record'
import type { AttachmentName, AttachmentRef } from '../attachment/rows'
import type { Job } from '../background/job'
import { UsageError } from '../errors'
import type { Style } from '../style/style'
import { later } from './fence'
import { type Place, planAnew, processJob } from './plan'
import type { Ports } from './ports'

type Enqueue = (job: Job) => Promise<unknown>

const batch = 100

/** How far in ms a row may be ahead of this clock: clocks of machines differ, and changes within a millisecond are told apart. */
const ahead = 60_000

/** Sends the job of a failed file once more. What its row says then; null if it had not failed. */
export async function retry(ref: AttachmentRef, ports: Pick<Ports, 'rows' | 'now'>, enqueue: Enqueue): Promise<AttachmentRecord | null> {
  const record = await ports.rows.read(ref)
  if (!record?.error) return null
  const { begun: _, elsewhere: __, ...meta } = record.meta
  const now = ports.now()
  const anew = { ...meta, styles: askedAgain(meta.styles, now), ...(meta.next && { next: askedAgain(meta.next, now) }) }
  const again = { ...record, processing: true, error: null, attemptedAt: later(record, now), meta: anew }
  if (!(await change(ref, record, again, ports))) return null
  await enqueue(processJob(ref, again))
  return again
}

/** What a service has brought is looked at once more, where it is not stored, since another may have come after it; what it has not, is handed on. */
function askedAgain(styles: Styles, now: Date): Styles {
  const again = ({ etag: _, handed: __, ...style }: StyleRecord) => ({ awaited: now.toISOString(), ...style })
  const isOutside = ({ style, written, awaited, etag }: StyleRecord) => style !== undefined && !written && (awaited ?? etag) !== undefined
  return Object.fromEntries(Object.entries(styles).map(([name, style]) => [name, isOutside(style) ? again(style) : style]))
}

/** The same for all that have failed by now; how many there were. */
export async function retryAll({ entity, attachment }: AttachmentName, ports: Pick<Ports, 'rows' | 'now'>, enqueue: Enqueue): Promise<number> {
  const before = new Date(ports.now().getTime() + ahead)
  // whatever was retried lies behind `before`, also if it fails again at once: so this ends
  const marking = { rows: ports.rows, now: () => new Date(Math.max(before.getTime(), ports.now().getTime())) }
  let retried = 0
  for (let more = true; more; ) {
    const failed = await ports.rows.failed(entity, attachment, { before }, batch)
    const earlier = retried
    for (const { ref } of failed) if (await retry(ref, marking, enqueue)) retried++
    more = retried > earlier && failed.length === batch
  }
  return retried
}

/**
 * Makes styles anew from the original. What is shown stays until its successor is verified, and nothing else moves.
 * What the row says then; null if there is nothing to make.
 */
export async function reprocess(
  place: Place,
  wanted: readonly Style[],
  ports: Pick<Ports, 'rows' | 'now' | 'tell'>,
  enqueue: Enqueue,
): Promise<AttachmentRecord | null> {
  const { ref, definition } = place
  const record = await ports.rows.read(ref)
  if (!record || wanted.length === 0 || !definition.processor.reads(record.contentType)) return null
  const busy = () =>
    new UsageError(
      'still_processing',
      `${ref.entity}.${ref.attachment} is being processed or was changed just now: reprocess() it when that has ended`,
    )
  if (record.processing) throw busy()
  if (Object.values(record.meta.styles).some(({ staged, written }) => staged !== undefined && !written)) {
    const what = `the original of ${ref.entity}.${ref.attachment}, or a style that came with it, has not reached the storage`
    throw new UsageError('not_stored', `${what}: retry() first, or attach() the file to its own entity to begin anew`)
  }
  const anew = planAnew(place, record, wanted, later(record, ports.now()))
  if (!(await change(ref, record, anew, ports))) throw busy()
  ports.tell({ ...ref, version: record.version, state: 'removed' })
  await enqueue(processJob(ref, anew))
  return anew
}

/** Nobody else may have begun the same meanwhile. */
function change(ref: AttachmentRef, { version }: AttachmentRecord, to: AttachmentRecord, { rows }: Pick<Ports, 'rows'>): Promise<boolean> {
  const { processing, error, attemptedAt, meta } = to
  return rows.update(ref, { version, processing: false }, { version: to.version, processing, error, attemptedAt, meta }, 'processing')
}
