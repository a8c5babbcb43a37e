import 'reflect-metadata'
import { Attachments } from '../../src'
import { openPlace, type Place } from './place'
import { openQueue } from './queue'

/** Takes jobs until it is told to stop, or killed. It looks for lost ones far too early, so that jobs have twins. */
async function work(place: Place): Promise<void> {
  const { dataSource, staging, storage, close } = await openPlace(place)
  const queue = openQueue('table', place)
  const attachments = new Attachments({ staging, storage, background: queue.background, retry: { attempts: 5, backoff: (attempt) => 20 * attempt } })
  await attachments.connect(dataSource)
  const worker = await attachments.work({ concurrency: 3 })
  let last: Promise<unknown> = Promise.resolve()
  const timer = setInterval(() => {
    last = attachments.requeueLost({ olderThan: 4_000 }).catch((error) => process.emitWarning(String(error)))
  }, 2_000)
  process.once('message', async () => {
    clearInterval(timer)
    await last
    await worker.stop()
    await attachments.close()
    await queue.close()
    await close()
    process.disconnect()
  })
  process.send?.('working')
}

// the library warns where nobody waits for an answer, and faults are what this is about
process.removeAllListeners('warning')
process.once('message', (place) => {
  work(place as Place).catch((error) => {
    console.error(error)
    process.exit(1)
  })
})
