import 'reflect-metadata'
import { S3Client } from '@aws-sdk/client-s3'
import pg from 'pg'
import { DataSource } from 'typeorm'
import { Attachments, postgresNotifier } from 'typeorm-attachments'
import { graphileBackground } from 'typeorm-attachments/graphile'
import { s3Storage } from 'typeorm-attachments/s3'
import { CreateReport1795277974872 } from './migration'
import { Report } from './report'

const databaseUrl = needed('DATABASE_URL')

export const dataSource = new DataSource({
  type: 'postgres',
  url: databaseUrl,
  entities: [Report],
  migrations: [CreateReport1795277974872],
  poolSize: 5,
})

/** The connections of the queue, which holds our own jobs beside those of attachments. */
export const pool = new pg.Pool({ connectionString: databaseUrl, max: 6 })

// region and credentials come from the environment: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
const { S3_ENDPOINT } = process.env
const client = new S3Client({ endpoint: S3_ENDPOINT, forcePathStyle: S3_ENDPOINT !== undefined })
const bucket = { client, bucket: needed('BUCKET'), publicUrl: null }

/** By which web hears what the worker does. */
export const notifier = postgresNotifier({ connection: databaseUrl })

export const attachments = new Attachments({
  staging: s3Storage({ ...bucket, prefix: 'staging/' }),
  storage: s3Storage({ ...bucket, prefix: 'reports/' }),
  background: graphileBackground({ pool }),
  notifier,
  secret: needed('SECRET'),
})

function needed(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: see the README of this example`)
  return value
}
