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

contract('graphileBackground', backgroundContract(makeQueue, { ...elsewhere('graphile'), keepsJobs: true, comesBackWithin: 60_000 }))
