import type { BackgroundAdapter } from '../background/adapter'
import type { Job } from '../background/job'
import { messageOf } from '../errors'

/** How long a commit waits for a queue; then the row's own `processing` is left to bring the job back. Milliseconds. */
const patience = 2_000

/**
 * Hands a job whose row is committed over to its adapter. Never rejects: the file is safe by now, and `requeueLost()` finds
 * the rows whose job a queue did not take.
 *
 * @param performHere does the job on the spot, for adapters without a queue; that may take its time
 * @returns whether it was done on the spot
 */
export async function send(job: Job, adapter: BackgroundAdapter, performHere: () => Promise<void>): Promise<'performed' | 'sent'> {
  let here = false
  const enqueue = async () =>
    adapter.enqueue(job, () => {
      here = true
      return performHere()
    })
  const sent = enqueue()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => (here ? resolve(sent) : reject(new Error(`the queue did not answer within ${patience} ms`))), patience)
  })
  try {
    await Promise.race([sent, late])
  } catch (error) {
    sent.catch(() => undefined)
    const rescue = job.kind === 'process' ? ', requeueLost() will find its row again' : ''
    warn(`the ${job.kind} job of ${job.entity}.${job.attachment} could not be sent${rescue}: ${messageOf(error)}`)
  } finally {
    clearTimeout(timer)
  }
  return here ? 'performed' : 'sent'
}

/** Says what went wrong where nobody waits for an answer. */
export function warn(message: string): void {
  process.emitWarning(message, 'AttachmentWarning')
}
