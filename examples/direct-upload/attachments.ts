import 'reflect-metadata'
import { S3Client } from '@aws-sdk/client-s3'
import { DataSource } from 'typeorm'
import { Attachments, type BackgroundAdapter } from 'typeorm-attachments'
import { s3Storage } from 'typeorm-attachments/s3'
import { Document } from './document'
import { CreatePhotoAndDocument1796053975310 } from './migration'
import { notifier } from './notifier'
import { Photo } from './photo'
import { needed } from './settings'

// what web and functions have in common

export const dataSource = new DataSource({
  type: 'postgres',
  url: needed('DATABASE_URL'),
  entities: [Photo, Document],
  migrations: [CreatePhotoAndDocument1796053975310],
  poolSize: 5,
})

// region and credentials come from the environment: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
const { S3_ENDPOINT } = process.env
export const client = new S3Client({ endpoint: S3_ENDPOINT, forcePathStyle: S3_ENDPOINT !== undefined })
export const bucket = needed('BUCKET')

/** @param background web sends jobs to functions, and a function does them itself */
export function attachmentsWith(background: BackgroundAdapter): Attachments {
  const place = { client, bucket, publicUrl: null }
  return new Attachments({
    staging: s3Storage({ ...place, prefix: 'staging/' }),
    // the bucket's events are those of `staging/`: what a function writes here starts no other one
    storage: s3Storage({ ...place, prefix: 'store/' }),
    background,
    notifier,
    secret: needed('SECRET'),
  })
}
