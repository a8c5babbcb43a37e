import type { FoundRow } from '../attachment/rows'
import type { Job } from '../background/job'
import { lostDeletes } from './notes'
import { processJob } from './plan'
import type { Ports } from './ports'

/** Which columns of which entity. */
export interface AttachmentName {
  readonly entity: string
  readonly attachment: string
}

const batch = 100

/** No attempt is due so far ahead: a clock was wrong when that was written. Milliseconds. */
const farAhead = 24 * 60 * 60_000

/**
 * Enqueues again what was not touched for `olderThan` milliseconds, its job being lost: rows that are processing, and
 * files to be deleted that were written down. Several workers may do this at once; each row is claimed by one of them.
 * How many were found.
 */
export async function requeueLost(
  attachments: Iterable<AttachmentName>,
  olderThan: number,
  { rows, staging, now }: Pick<Ports, 'rows' | 'staging' | 'now'>,
  enqueue: (job: Job) => Promise<unknown>,
): Promise<number> {
  const before = new Date(now().getTime() - olderThan)
  const after = new Date(now().getTime() + farAhead)
  let found = 0

  async function claim({ ref, record }: FoundRow): Promise<boolean> {
    const fence = { version: record.version, processing: true, attemptedAt: record.attemptedAt }
    if (!(await rows.update(ref, fence, { attemptedAt: now() }))) return false
    await enqueue(processJob(ref, record))
    found++
    return true
  }

  for (const { entity, attachment } of attachments) {
    for (const attempted of [{ before }, { after }]) {
      for (let more = true; more; ) {
        const lost = await rows.processing(entity, attachment, attempted, batch)
        let claimed = 0
        for (const row of lost) if (await claim(row)) claimed++
        // where all were claimed by others, they go on with the next
        more = lost.length === batch && claimed > 0
      }
    }
  }
  for await (const job of lostDeletes(before, staging)) {
    await enqueue(job)
    found++
  }
  return found
}
