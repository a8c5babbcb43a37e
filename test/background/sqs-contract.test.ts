import { randomBytes } from 'node:crypto'
import { SQSClient } from '@aws-sdk/client-sqs'
import { afterAll, onTestFinished } from 'vitest'
import { sqsBackground } from '../../src/background/sqs'
import { backgroundContract } from '../../src/testing/testing'
import { contract, elsewhere } from '../support/contract'
import { type QueueServer, startQueueServer } from '../support/queue-server'

const started: QueueServer[] = []
afterAll(() => Promise.all(started.map((server) => server.stop())))

/** Makes adapters of one new queue. */
function makers(options: { haste?: number } = {}) {
  let place: Promise<{ server: QueueServer; queueUrl: string }> | undefined

  async function newPlace() {
    const server = await startQueueServer(options)
    started.push(server)
    const { queueUrl } = server.queues.createQueue(`jobs-${randomBytes(6).toString('hex')}`)
    return { server, queueUrl }
  }

  return async () => {
    place ??= newPlace()
    const { server, queueUrl } = await place
    process.env['CONTRACT_SQS'] = JSON.stringify({ config: server.config, queueUrl })
    const client = new SQSClient(server.config)
    onTestFinished(() => client.destroy())
    return sqsBackground({ client, queueUrl })
  }
}

contract('sqsBackground', backgroundContract(makers(), { keepsJobs: true }))

// a lease is over after five seconds, so that nobody has to wait for thirty
const killed = backgroundContract(makers({ haste: 6 }), { ...elsewhere('sqs'), keepsJobs: true }).filter(({ name }) => name.includes('killed'))
contract('sqsBackground', killed)
