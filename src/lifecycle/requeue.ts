import type { AttachmentName, Attempted, FoundRow } from '../attachment/rows'
import type { Job } from '../background/job'
import { handedBack } from './hand-back'
import { lostDeletes } from './notes'
import { processJob } from './plan'
import type { Ports } from './ports'

const batch = 100

/** No attempt is due later: a clock was wrong when that was written. And no time zone makes of what was handed back something else. */
const aDayAfter = (date: Date) => new Date(date.getTime() + 24 * 60 * 60_000)
const earliest = (one: Date, other: Date) => (one < other ? one : other)

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
  let found = 0

  /** False where somebody else was faster. */
  async function claim({ ref, record }: FoundRow): Promise<boolean> {
    const fence = { version: record.version, processing: true, attemptedAt: record.attemptedAt }
    if (!(await rows.update(ref, fence, { attemptedAt: now() }))) return false
    await enqueue(processJob(ref, record))
    found++
    return true
  }

  async function claimAll({ entity, attachment }: AttachmentName, attempted: Attempted, isNew: (version: string) => boolean): Promise<void> {
    for (let more = true; more; ) {
      const lost = await rows.processing(entity, attachment, attempted, batch)
      let claimed = 0
      for (const row of lost) if (isNew(row.record.version) && (await claim(row))) claimed++
      // where all were claimed by others, they go on with the next
      more = lost.length === batch && claimed > 0
    }
  }

  for (const name of attachments) {
    // what this very process hands back is found again at once, and is then left to the next look
    const seen = new Set<string>()
    await claimAll(name, { before: earliest(before, aDayAfter(handedBack)) }, (version) => !seen.has(version) && seen.add(version).size > 0)
    await claimAll(name, { before, after: aDayAfter(handedBack) }, (version) => !seen.has(version))
    await claimAll(name, { after: aDayAfter(now()) }, () => true)
  }
  for await (const job of lostDeletes(before, staging)) {
    await enqueue(job)
    found++
  }
  return found
}
