import { inlineBackground } from 'typeorm-attachments'
import { attachmentsWith, dataSource } from './attachments'
import { endTelling } from './notifier'

// the function: a process that lasts for one event

const attachments = attachmentsWith(inlineBackground())
const connected = dataSource.initialize().then(() => attachments.connect(dataSource))

/** What starts it: a job that web has sent, the clock, or the bucket, which tells of documents and of what the converter has brought. */
type Event = { readonly job: unknown; readonly attempt: number } | { readonly clock: 'minute' | 'hour' } | { readonly Records: unknown }

export async function handler(event: Event): Promise<void> {
  await connected
  if ('job' in event) await attachments.perform(event.job, event)
  else if ('clock' in event) {
    await attachments.requeueLost()
    if (event.clock === 'hour') await attachments.sweepStaging()
  } else await attachments.handleObjectCreated(event)
  await endTelling()
}
