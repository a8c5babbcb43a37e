import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { DataSource, type DataSourceOptions } from 'typeorm'
import { inject, onTestFinished } from 'vitest'
import { createDatabase } from '../../examples/services/postgres'
import { clientConfig } from '../../examples/services/s3'
import {
  Attachments,
  type AttachmentsOptions,
  type BackgroundAdapter,
  diskStorage,
  inProcessBackground,
  type Job,
  type MemoryStorage,
  memoryStorage,
  type Perform,
} from '../../src'
import { type Database, postgres } from './databases'

type Entities = DataSourceOptions['entities']

/** The address of a new database on the tests' PostgreSQL. */
export async function newDatabase(): Promise<string> {
  const name = `test_${randomBytes(6).toString('hex')}`
  await createDatabase(inject('postgres'), name)
  const url = new URL(inject('postgres'))
  url.pathname = `/${name}`
  return url.href
}

/** A data source on a database of one's own, with the tables of these entities; gone when the test ends. */
export async function database(
  entities: Entities,
  { on = postgres, ...options }: { on?: Database } & Partial<DataSourceOptions> = {},
): Promise<DataSource> {
  const dataSource = new DataSource({ entities, synchronize: true, ...(await on.create()), ...options } as DataSourceOptions)
  onTestFinished(async () => {
    if (dataSource.isInitialized) await dataSource.destroy()
  })
  return dataSource.initialize()
}

/** A folder of one's own; gone when the test ends. */
export async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'attachments-test-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Every file below a folder, as relative paths, but the mark by which a disk storage knows it. */
export async function filesIn(root: string): Promise<string[]> {
  if (!existsSync(root)) return []
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const paths = entries.map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
  return paths.filter((path) => path !== '.area').sort()
}

export interface World {
  readonly dataSource: DataSource
  readonly attachments: Attachments
  readonly staging: string
  readonly storage: MemoryStorage
}

export interface WorldOptions extends Partial<AttachmentsOptions> {
  /** The kind of database; PostgreSQL, if nothing is said. */
  on?: Database
  dataSource?: DataSource
}

/** Entities in a database, staging on the disk, storage in memory, jobs in the process: connected, and closed when the test ends. */
export async function world(entities: Entities, { on, dataSource: given, ...options }: WorldOptions = {}): Promise<World> {
  const dataSource = given ?? (await database(entities, { on }))
  const staging = await folder()
  const storage = memoryStorage({ publicUrl: 'https://files.test' })
  const attachments = new Attachments({
    staging: diskStorage({ root: staging }),
    storage,
    background: inProcessBackground(),
    retry: { attempts: 2, backoff: () => 1 },
    ...options,
  })
  await attachments.connect(dataSource)
  onTestFinished(() => attachments.close())
  return { dataSource, attachments, staging, storage }
}

/** Keeps jobs back until `run()` does all of them, at once. */
export function heldBackground(): BackgroundAdapter & { readonly jobs: Job[]; run(): Promise<void> } {
  const jobs: Job[] = []
  let perform: Perform | undefined
  return {
    jobs,
    start(given) {
      perform = given
    },
    enqueue: async (job) => void jobs.push(job),
    work: async () => ({ stop: async () => undefined }),
    run: async () => {
      await Promise.all(jobs.splice(0).map((job) => perform?.(job, 1)))
    },
  }
}

export interface Bucket {
  readonly client: S3Client
  readonly bucket: string
  keys(): Promise<string[]>
}

/** A new bucket on the tests' S3 server. */
export async function newBucket(): Promise<Bucket> {
  const client = new S3Client(clientConfig(inject('s3')))
  onTestFinished(() => client.destroy())
  const bucket = `test-${randomBytes(6).toString('hex')}`
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  return {
    client,
    bucket,
    keys: async () => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
      return Contents.map(({ Key }) => Key as string).sort()
    },
  }
}
