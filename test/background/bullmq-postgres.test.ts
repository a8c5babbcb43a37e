import { createPostgresBackend, withBackend } from 'bullmq'
import { describe, onTestFinished } from 'vitest'
import { bullmqBackground } from '../../src/background/bullmq'
import { backgroundContract } from '../../src/testing/testing'
import { contract, elsewhere } from '../support/contract'
import { newDatabase } from '../support/world'

const { Queue } = withBackend(createPostgresBackend)

let database: Promise<string> | undefined

async function make() {
  database ??= newDatabase()
  const connectionString = await database
  process.env['CONTRACT_DATABASE'] = connectionString
  const queue = new Queue('contract', { connection: { connectionString, migrate: true } })
  onTestFinished(() => queue.close())
  return bullmqBackground({ queue, worker: { lockDuration: 1_000, stalledInterval: 500 } })
}

const claims = { ...elsewhere('bullmq-postgres'), keepsJobs: true, queues: true, keys: true, priorities: true }

describe('BullMQ on PostgreSQL', () => {
  contract('does what every adapter does', backgroundContract(make, claims))
})
