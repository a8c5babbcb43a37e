import { S3Client } from '@aws-sdk/client-s3'
import { DataSource } from 'typeorm'
import { clientConfig, type S3Server } from '../../examples/services/s3'
import { diskStorage, type Storage } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { Person } from './person'

/** Where a run takes place: plain JSON, so that every process finds it. */
export interface Place {
  /** The address of a database of its own. */
  readonly database: string
  /** The address of a Redis, where there is one. */
  readonly redis?: string
  readonly s3: Pick<S3Server, 'endpoint' | 'accessKeyId' | 'secretAccessKey'>
  readonly bucket: string
  /** Below which its objects lie. */
  readonly prefix: string
  /** A folder. */
  readonly staging: string
  /** Milliseconds that a request to S3 may take. */
  readonly timeout?: number
}

export interface OpenPlace {
  readonly dataSource: DataSource
  readonly client: S3Client
  readonly staging: Storage
  readonly storage: Storage
  close(): Promise<void>
}

/** What a process holds of a place. The schema is there already. */
export async function openPlace({ database, s3, bucket, prefix, staging, timeout }: Place): Promise<OpenPlace> {
  const dataSource = await dataSourceOf(database).initialize()
  const client = new S3Client(clientConfig(s3))
  return {
    dataSource,
    client,
    staging: diskStorage({ root: staging }),
    storage: s3Storage({ client, bucket, prefix, timeout }),
    close: async () => {
      client.destroy()
      await dataSource.destroy()
    },
  }
}

export function dataSourceOf(url: string, synchronize = false): DataSource {
  return new DataSource({ type: 'postgres', url, entities: [Person], synchronize })
}
