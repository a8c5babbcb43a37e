import type { Job } from '../background/job'
import { deleteLeft } from './delete'
import { fencedRow, Overtaken } from './fence'
import type { Ports } from './ports'

/** When a file was last attempted whose job was handed back: long before any other. */
export const handedBack = new Date(0)

/** Says on the row that nobody is at work on it: the next look for lost jobs finds it at once. Deletes are quickly done instead. */
export async function handBack(job: Job, ports: Ports): Promise<void> {
  if (job.kind === 'delete') return deleteLeft(job, ports)
  const row = fencedRow({ entity: job.entity, id: job.id, attachment: job.attachment }, job.version, ports)
  await row
    .change(() => ({ attemptedAt: handedBack }))
    .catch((error) => {
      if (!(error instanceof Overtaken)) throw error
    })
}
