import { type JobReport, NotHere, type Progress, TryLater } from '../background/adapter'
import { checkJob, type DeleteJob, type ProcessJob } from '../background/job'
import { codeOf, isRetryable, messageOf, StorageError } from '../errors'
import { deleteLeft } from './delete'
import { StillAwaited } from './expect'
import { type FencedRow, fencedRow, Overtaken } from './fence'
import type { Ports } from './ports'
import { processFile, settle } from './process'

/**
 * Does one job. Rejects with `TryLater` as long as another attempt may help, with `NotHere` where another worker may; after the
 * last one, and at once for what no retry can mend, the file counts as failed, and its row says why. Rejects with anything else
 * where no row can say it. What became of it.
 *
 * @param given a job as a queue brought it; refused with `bad_job`, before anything is done, when it is none
 * @param attempt counts from 1
 * @param told hears of each style that has arrived
 */
export async function perform(
  given: unknown,
  attempt: number,
  ports: Ports,
  told: (progress: Progress) => void = () => undefined,
): Promise<JobReport> {
  const job = checkJob(given)
  return job.kind === 'process' ? performProcess(job, attempt, ports, told) : performDelete(job, attempt, ports)
}

async function performProcess(job: ProcessJob, attempt: number, ports: Ports, told: (progress: Progress) => void): Promise<JobReport> {
  const ref = { entity: job.entity, id: job.id, attachment: job.attachment }
  const row = fencedRow(ref, job.version, ports)
  const unlessOvertaken = (work: Promise<JobReport>): Promise<JobReport> =>
    work.catch(async (error) => {
      // whoever waits for it looks again in time
      if (error instanceof StillAwaited) return { result: 'waiting', styles: [], bytes: 0 }
      if (!(error instanceof Overtaken)) throw error
      await settle(job, ref, ports)
      return { result: 'overtaken', styles: [], bytes: 0 }
    })
  try {
    const tellAll = (progress: Progress) => {
      told(progress)
      ports.tell({ ...ref, version: job.version, state: 'progress', progress })
    }
    return await unlessOvertaken(processFile(ref, row, ports, tellAll))
  } catch (error) {
    if (error instanceof NotHere) throw error
    const delay = delayBefore(error, attempt, ports)
    if (delay === undefined) return unlessOvertaken(fail(row, error, attempt, ports))
    // until then nobody is to call it lost; and this attempt has come to its end
    const due = new Date(ports.now().getTime() + delay)
    await row.change(({ meta }) => ({ attemptedAt: due, meta: { ...meta, begun: Math.max(0, (meta.begun ?? 0) - 1) } })).catch(() => undefined)
    throw new TryLater(delay, error)
  }
}

/** The original stays where it is staged; nothing waits for this file any more. */
async function fail(row: FencedRow, error: unknown, attempts: number, { now }: Ports): Promise<JobReport> {
  const code = codeOf(error)
  const failure = { code, message: messageOf(error).slice(0, 1000), attempts, at: now().toISOString() }
  await row.change(() => ({ processing: false, error: failure }), 'failed')
  return { result: 'failed', styles: [], bytes: 0, error: { code, message: failure.message } }
}

async function performDelete(job: DeleteJob, attempt: number, ports: Ports): Promise<JobReport> {
  try {
    await deleteLeft(job, ports)
    return { result: 'done', styles: [], bytes: 0 }
  } catch (error) {
    const delay = delayBefore(error, attempt, ports)
    if (delay !== undefined) throw new TryLater(delay, error)
    const left = job.rows.flatMap(({ files }) => files.flatMap(({ storage, keys }) => keys.map((key) => `${storage}: ${key}`)))
    const some = left.length > 10 ? [...left.slice(0, 10), `and ${left.length - 10} more`] : left
    const what = `nothing refers any more to these files of ${job.entity}.${job.attachment}, and they could not be deleted`
    throw new StorageError('not_deleted', `${what} (${messageOf(error)}): ${some.join(', ')}`, { cause: error })
  }
}

/** Milliseconds to the next attempt; undefined when there is none. */
function delayBefore(error: unknown, attempt: number, { retry }: Ports): number | undefined {
  return isRetryable(error) && attempt < retry.attempts ? retry.backoff(attempt) : undefined
}
