import { Queue } from 'bullmq'
import { bullmqBackground } from '../../../src/background/bullmq'

/** The BullMQ background of a test, in another process. */
export async function makeBackground() {
  const { name, worker, ...options } = JSON.parse(process.env['CONTRACT_BULLMQ'] ?? '')
  return bullmqBackground({ queue: new Queue(name, options), worker })
}
