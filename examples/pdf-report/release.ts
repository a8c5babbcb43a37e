import { runMigrations } from 'graphile-worker'
import { dataSource, pool } from './attachments'

// what runs once before web and worker start: the tables, and those of the queue

async function release(): Promise<void> {
  await dataSource.initialize()
  await dataSource.runMigrations()
  await dataSource.destroy()
  await runMigrations({ pgPool: pool })
  await pool.end()
}

release()
