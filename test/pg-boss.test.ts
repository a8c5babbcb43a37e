import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { backgroundContract } from 'typeorm-attachments/testing'
import { expect, it, onTestFinished } from 'vitest'
import { contract, elsewhere } from './support/contract'
import { makeBackground } from './support/elsewhere/pg-boss'
import { newDatabase } from './support/world'

let database: Promise<string> | undefined

/** The example of docs/adapters.md, word for word. */
async function make() {
  database ??= newDatabase()
  process.env['CONTRACT_DATABASE'] = await database
  const { boss, ...adapter } = await makeBackground()
  onTestFinished(() => boss.stop({ graceful: false }))
  return adapter
}

it('the docs show the file that is tested here', async () => {
  const [page, file] = await Promise.all(
    ['docs/adapters.md', 'examples/pg-boss/pg-boss-background.ts'].map((path) => readFile(join(__dirname, '..', path), 'utf8')),
  )
  expect(page).toContain(file)
})

contract(
  'pg-boss, as the docs show it,',
  backgroundContract(make, { ...elsewhere('pg-boss'), keepsJobs: true, queues: true, keys: true, priorities: true }),
)
