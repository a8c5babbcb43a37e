import 'reflect-metadata'
import { S3Client } from '@aws-sdk/client-s3'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { clientConfig, type S3Server } from '../../examples/services/s3'
import { type Attached, Attachment, Attachments, type AttachmentsOptions } from '../../src'
import { s3Storage } from '../../src/storage/s3'

export class Poster {
  id!: number
  image!: Attached<'large' | 'card' | 'thumb'>
}
PrimaryGeneratedColumn()(Poster.prototype, 'id')
Attachment({
  accept: ['image/jpeg', 'image/png', 'image/webp'],
  maxSize: 2 ** 30,
  styles: { large: '2000x2000>', card: { geometry: '600x400#', format: 'webp' }, thumb: { geometry: '100x100#', format: 'jpg' } },
})(Poster.prototype, 'image')
Entity()(Poster)

export const buckets = ['staging', 'posters'] as const

/** What web and worker of the flood have in common: staging and storage are both in S3, so nothing lies on their own disks. */
export async function connectPosters(database: string, s3: S3Server, background: AttachmentsOptions['background']) {
  const client = new S3Client(clientConfig(s3))
  const dataSource = await new DataSource({ type: 'postgres', url: database, entities: [Poster], synchronize: true }).initialize()
  const [staging, storage] = buckets.map((bucket) => s3Storage({ client, bucket })) as [ReturnType<typeof s3Storage>, ReturnType<typeof s3Storage>]
  const attachments = new Attachments({ staging, storage, background })
  await attachments.connect(dataSource)
  return {
    client,
    dataSource,
    attachments,
    async close() {
      await attachments.close()
      await dataSource.destroy()
      client.destroy()
    },
  }
}
