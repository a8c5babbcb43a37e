import { describe, inject, it } from 'vitest'
import { type BullmqOptions, bullmqBackground } from '../../src/background/bullmq'
import { type BackgroundContractOptions, backgroundContract } from '../../src/testing/testing'
import { newName, newQueue, redisUrl } from '../support/bullmq'
import { contract, elsewhere, timeout } from '../support/contract'

const claims: BackgroundContractOptions = { ...elsewhere('bullmq'), keepsJobs: true, queues: true, keys: true, priorities: true }

/** Adapters of one queue, here and in processes that are killed. */
function makeWith(worker?: BullmqOptions['worker']) {
  const name = newName()
  const there = { name, prefix: name, connection: { url: redisUrl }, worker }
  return async () => {
    process.env['CONTRACT_BULLMQ'] = JSON.stringify(there)
    return bullmqBackground({ queue: newQueue({ name }), worker })
  }
}

describe.skipIf(inject('redis') === null)('BullMQ', () => {
  contract('does what every adapter does', backgroundContract(makeWith({ lockDuration: 1_000, stalledInterval: 500 }), claims))

  it(
    'brings the job of a worker that was killed back within a minute',
    async () => {
      const cases = backgroundContract(makeWith(), { ...claims, comesBackWithin: 60_000 })
      await cases.find(({ name }) => name === 'loses no job when a process is killed while it performs a job')?.run()
    },
    timeout,
  )
})
