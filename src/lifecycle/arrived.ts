import type { AttachmentName } from '../attachment/rows'
import type { Job } from '../background/job'
import { processJob } from './plan'
import type { Ports } from './ports'
import { retry } from './retry'
import { stagedName } from './staged'
import { plannedStyles } from './with-styles'

/**
 * Somebody says that a key of the staging holds something now. Sets the job going that waits for it, which looks for itself. False where
 * none does: such news may be late, repeated, or wrong.
 */
export async function arrived(
  key: string,
  attachments: readonly AttachmentName[],
  { rows, staging, now }: Pick<Ports, 'rows' | 'staging' | 'now'>,
  enqueue: (job: Job) => Promise<unknown>,
): Promise<boolean> {
  const name = stagedName(key)
  if (!name || !attachments.some(({ entity, attachment }) => entity === name.entity && attachment === name.attachment)) return false
  const [found] = await rows.atVersions(name.entity, name.attachment, [name.version])
  if (!found) return false
  const { ref, record } = found
  const [style] = Object.entries(plannedStyles(record.meta)).find(([, { staged, awaited }]) => staged === key && awaited !== undefined) ?? []
  if (!style) return false
  // an upload that is later than anybody had waited for it, or that follows one which was refused
  if (record.error) return style === 'original' && (await staging.stat(key)) !== undefined && (await retry(ref, { rows, now }, enqueue)) !== null
  // from now on its job can be lost
  const fence = { version: record.version, processing: true, attemptedAt: record.attemptedAt }
  if (!(await rows.update(ref, fence, { attemptedAt: now() }))) return false
  await enqueue(processJob(ref, record))
  return true
}
