import type { BackgroundAdapter, Sending } from '../background/adapter'
import type { Job } from '../background/job'
import { messageOf } from '../errors'

/** How long a commit waits for a queue, or for the staging. Milliseconds. */
const patience = 2_000

/**
 * Hands a job whose row is committed over to its adapter. Never rejects: the file is safe by now, and `requeueLost()` finds
 * what a queue did not take.
 *
 * @param sending whose `performNow` may take its time
 * @returns whether the job was done on the spot
 */
export async function send(job: Job, adapter: BackgroundAdapter, sending: Sending): Promise<'performed' | 'sent'> {
  let here = false
  const performNow = () => {
    here = true
    return sending.performNow()
  }
  const enqueue = async () => adapter.enqueue(job, { ...sending, performNow })
  const sent = enqueue()
  try {
    await inTime(sent, 'the queue', () => here)
  } catch (error) {
    const rescue = job.kind === 'process' || job.note ? ', requeueLost() will find it again' : ''
    warn(`the ${job.kind} job of ${job.entity}.${job.attachment} could not be ${here ? 'done' : 'sent'}${rescue}: ${messageOf(error)}`)
  }
  return here ? 'performed' : 'sent'
}

/** Waits for something, but not for ever, unless it `mayTakeLonger`. */
export async function inTime<T>(work: Promise<T>, what: string, mayTakeLonger: () => boolean = () => false): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<T>((resolve, reject) => {
    timer = setTimeout(() => (mayTakeLonger() ? resolve(work) : reject(new Error(`${what} did not answer within ${patience} ms`))), patience)
  })
  work.catch(() => undefined)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Says what went wrong where nobody waits for an answer. */
export function warn(message: string): void {
  process.emitWarning(message, 'AttachmentWarning')
}
