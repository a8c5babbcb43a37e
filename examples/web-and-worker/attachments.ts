import 'reflect-metadata'
import { S3Client } from '@aws-sdk/client-s3'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { DataSource } from 'typeorm'
import { Attachments, postgresNotifier, redisNotifier } from 'typeorm-attachments'
import { bullmqBackground } from 'typeorm-attachments/bullmq'
import { graphileBackground } from 'typeorm-attachments/graphile'
import { s3Storage } from 'typeorm-attachments/s3'
import { CreatePhoto1795277973311 } from './migration'
import { Photo } from './photo'

// the one module that web and worker both load

const { REDIS_URL, S3_ENDPOINT } = process.env
const databaseUrl = needed('DATABASE_URL')

export const dataSource = new DataSource({
  type: 'postgres',
  url: databaseUrl,
  entities: [Photo],
  migrations: [CreatePhoto1795277973311],
  poolSize: 5,
})

// region and credentials come from the environment: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
const client = new S3Client({ endpoint: S3_ENDPOINT, forcePathStyle: S3_ENDPOINT !== undefined })
const bucket = { client, bucket: needed('BUCKET'), publicUrl: null }
const redis = REDIS_URL ? redisAt(REDIS_URL) : undefined

export const attachments = new Attachments({
  // in the bucket too, because web and worker share no disk
  staging: s3Storage({ ...bucket, prefix: 'staging/' }),
  storage: s3Storage({ ...bucket, prefix: 'photos/' }),
  background: redis ? bullmqBackground({ queue: new Queue('photos', { connection: redis }) }) : graphileBackground({ connectionString: databaseUrl }),
  // by which web hears what the worker does
  notifier: redis ? redisNotifier({ client: redis }) : postgresNotifier({ connection: databaseUrl }),
  secret: needed('SECRET'),
})

function redisAt(url: string): Redis {
  // Heroku signs the certificates of its Redis itself: what is sent is encrypted, and by whom it is read is not checked
  const tls = url.startsWith('rediss:') ? { rejectUnauthorized: false } : undefined
  return new Redis(url, { tls })
}

function needed(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: see the README of this example`)
  return value
}
