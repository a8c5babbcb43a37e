import { TryLater } from '../background/adapter'
import type { Job, ProcessJob } from '../background/job'
import { AttachmentError, messageOf } from '../errors'
import { deleteLeft } from './delete'
import type { Ports } from './ports'
import { processFile } from './process'
import { warn } from './send'

/**
 * Does one job. Rejects with `TryLater` as long as another attempt may help; after the last one, and at once for what
 * no retry can mend, the file counts as failed, and its row says why.
 *
 * @param attempt counts from 1
 */
export async function perform(job: Job, attempt: number, ports: Ports): Promise<void> {
  try {
    await (job.kind === 'process' ? processFile(job, ports) : deleteLeft(job, ports))
  } catch (error) {
    const retryable = error instanceof AttachmentError ? error.retryable : true
    if (retryable && attempt < ports.retry.attempts) throw new TryLater(ports.retry.backoff(attempt), error)
    if (job.kind === 'process') return fail(job, error, attempt, ports)
    const left = job.files.flatMap(({ storage, keys }) => keys.map((key) => `${storage}: ${key}`)).join(', ')
    warn(`nothing refers any more to these files of ${job.entity}.${job.attachment}, and they could not be deleted (${messageOf(error)}): ${left}`)
  }
}

/** The original stays where it is staged; nothing waits for this file any more. */
async function fail(job: ProcessJob, error: unknown, attempts: number, { rows }: Ports): Promise<void> {
  const code = error instanceof AttachmentError ? error.code : 'unexpected'
  const failure = { code, message: messageOf(error).slice(0, 1000), attempts, at: new Date().toISOString() }
  await rows.update({ entity: job.entity, id: job.id, attachment: job.attachment }, job.version, { processing: false, error: failure })
}
