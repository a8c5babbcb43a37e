import 'reflect-metadata'
import { S3Client } from '@aws-sdk/client-s3'
import { Queue } from 'bullmq'
import { DataSource } from 'typeorm'
import { Attachments } from 'typeorm-attachments'
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

export const attachments = new Attachments({
  // in the bucket too, because web and worker share no disk
  staging: s3Storage({ ...bucket, prefix: 'staging/' }),
  storage: s3Storage({ ...bucket, prefix: 'photos/' }),
  background: REDIS_URL ? bullmqBackground({ queue: redisQueue(REDIS_URL) }) : graphileBackground({ connectionString: databaseUrl }),
})

function redisQueue(url: string): Queue {
  // Heroku signs the certificates of its Redis itself: what is sent is encrypted, and by whom it is read is not checked
  const tls = url.startsWith('rediss:') ? { rejectUnauthorized: false } : undefined
  return new Queue('photos', { connection: { url, tls } })
}

function needed(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: see the README of this example`)
  return value
}
