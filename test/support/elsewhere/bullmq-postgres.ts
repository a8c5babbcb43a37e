import { createPostgresBackend, withBackend } from 'bullmq'
import { bullmqBackground } from '../../../src/background/bullmq'

const { Queue } = withBackend(createPostgresBackend)

/** The BullMQ background of a test on PostgreSQL, in another process. */
export async function makeBackground() {
  const queue = new Queue('contract', { connection: { connectionString: process.env['CONTRACT_DATABASE'] as string, migrate: true } })
  return bullmqBackground({ queue, worker: { lockDuration: 1_000, stalledInterval: 500 } })
}
