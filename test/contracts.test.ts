import pg from 'pg'
import { onTestFinished } from 'vitest'
import { type BackgroundAdapter, inlineBackground, inProcessBackground } from '../src'
import { backgroundContract } from '../src/testing/testing'
import { contract, elsewhere } from './support/contract'
import { tableBackground } from './support/table-background'
import { newDatabase } from './support/world'

contract(
  'inlineBackground',
  backgroundContract(async () => inlineBackground()),
)
contract(
  'inProcessBackground',
  backgroundContract(async () => inProcessBackground(), { keys: true }),
)
contract(
  'inProcessBackground, three at a time',
  backgroundContract(async () => inProcessBackground({ concurrency: 3 }), { concurrency: 3, keys: true }),
)

let queue: Promise<string> | undefined

async function makeTable(): Promise<BackgroundAdapter> {
  queue ??= newDatabase()
  const connectionString = await queue
  process.env['CONTRACT_DATABASE'] = connectionString
  const pool = new pg.Pool({ connectionString })
  onTestFinished(() => pool.end())
  return tableBackground({ pool })
}

contract('a queue in a table', backgroundContract(makeTable, { ...elsewhere('table'), keepsJobs: true, comesBackWithin: 10_000 }))
