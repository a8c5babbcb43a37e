import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import pg from 'pg'
import { createDatabase } from '../../examples/services/postgres'
import { clientConfig } from '../../examples/services/s3'
import { dataSourceOf, type Place } from './place'

export interface Servers {
  /** The address of the PostgreSQL server's own database. */
  readonly postgres: string
  readonly s3: Place['s3']
  readonly redis?: string
}

/** A database and a bucket, for one run after the other. */
export interface Slot {
  /** The table empty, and a folder and a prefix that are new. */
  freshPlace(): Promise<Place>
  /** Resolves when nobody else is connected to the database: what a killed process had begun is over. */
  settled(): Promise<void>
  close(): Promise<void>
}

export async function openSlot({ postgres, s3, redis }: Servers): Promise<Slot> {
  const name = `runs_${randomBytes(6).toString('hex')}`
  await createDatabase(postgres, name)
  const url = new URL(postgres)
  url.pathname = `/${name}`
  const dataSource = await dataSourceOf(url.href, true).initialize()
  await dataSource.destroy()
  const bucket = name.replaceAll('_', '-')
  const client = new S3Client(clientConfig(s3))
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()

  // that the server ends first is told by whoever asks it next
  const watch = new pg.Client(url.href).on('error', () => undefined)
  await watch.connect()
  let runs = 0
  return {
    async freshPlace() {
      await watch.query('TRUNCATE person; DROP TABLE IF EXISTS jobs; DROP SCHEMA IF EXISTS graphile_worker CASCADE')
      return { database: url.href, redis, s3, bucket, prefix: `run-${++runs}/`, staging: await mkdtemp(join(tmpdir(), 'attachments-run-')) }
    },
    async settled() {
      const others = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
      while ((await watch.query(others)).rowCount) await new Promise((resolve) => setTimeout(resolve, 2))
    },
    async close() {
      await watch.end()
    },
  }
}
