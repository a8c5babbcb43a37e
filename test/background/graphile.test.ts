import 'reflect-metadata'
import { graphileBackground } from '../../src/background/graphile'
import { backgroundContract } from '../../src/testing/testing'
import { contract, elsewhere } from '../support/contract'
import { newDatabase } from '../support/world'

let queue: Promise<string> | undefined

async function makeQueue() {
  queue ??= newDatabase()
  const connectionString = await queue
  process.env['CONTRACT_DATABASE'] = connectionString
  return graphileBackground({ connectionString })
}

const claims = { keepsJobs: true, queues: true, keys: true, priorities: true }

contract('graphileBackground', backgroundContract(makeQueue, { ...elsewhere('graphile'), ...claims, comesBackWithin: 60_000 }))
