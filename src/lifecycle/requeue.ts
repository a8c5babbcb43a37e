import { filesOf } from '../attachment/record'
import type { Job } from '../background/job'
import type { Ports } from './ports'

const batch = 100

/**
 * Enqueues again what is processing and was not touched for `olderThan` milliseconds: its job was lost. Several workers
 * may do this at once; each row is claimed by one of them. How many were found.
 */
export async function requeueLost(
  attachments: Iterable<{ entity: string; attachment: string }>,
  olderThan: number,
  { rows }: Pick<Ports, 'rows'>,
  enqueue: (job: Job) => Promise<unknown>,
): Promise<number> {
  let found = 0
  for (const { entity, attachment } of attachments) {
    const before = new Date(Date.now() - olderThan)
    for (let more = true; more; ) {
      const lost = await rows.waiting(entity, attachment, before, batch)
      for (const { ref, record } of lost) {
        if (!(await rows.update(ref, record.version, { attemptedAt: new Date() }, before))) continue
        await enqueue({ kind: 'process', ...ref, ...filesOf(record) })
        found++
      }
      more = lost.length === batch
    }
  }
  return found
}
