import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { DataSource, type EntityTarget } from 'typeorm'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { clientConfig, type S3Server, startS3 } from '../../examples/services/s3'

/** Servers and a folder, for as long as something is measured. */
export interface Place {
  readonly s3: S3Server
  /** A new database with tables for these entities. */
  database(...entities: ReadonlyArray<EntityTarget<object>>): Promise<DataSource>
  /** A client of the server at an address, the S3 server's own by default, and a new bucket. */
  bucket(endpoint?: string): Promise<{ client: S3Client; bucket: string }>
  readonly folder: string
}

/** Everything that was opened is closed at the end. */
export async function inPlace<T>(work: (place: Place) => Promise<T>): Promise<T> {
  const [postgres, s3, folder] = await Promise.all([startPostgres(), startS3(), mkdtemp(join(tmpdir(), 'attachments-bench-'))])
  const opened: Array<() => unknown> = []
  const fresh = () => `bench-${randomBytes(4).toString('hex')}`
  try {
    return await work({
      s3,
      folder,
      async database(...entities) {
        const name = fresh()
        await createDatabase(postgres.url('postgres'), name)
        const options = { type: 'postgres', url: postgres.url(name), entities: entities as never[], synchronize: true, poolSize: 20 } as const
        const dataSource = await new DataSource(options).initialize()
        opened.push(() => dataSource.isInitialized && dataSource.destroy())
        return dataSource
      },
      async bucket(endpoint = s3.endpoint) {
        const client = new S3Client(clientConfig({ ...s3, endpoint }))
        opened.push(() => client.destroy())
        const bucket = fresh()
        await client.send(new CreateBucketCommand({ Bucket: bucket }))
        return { client, bucket }
      },
    })
  } finally {
    for (const close of opened.reverse()) await close()
    await Promise.all([postgres.stop(), s3.stop()])
    await rm(folder, { recursive: true, force: true })
  }
}
