import 'reflect-metadata'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { clientConfig, type S3Server } from '../../examples/services/s3'
import { type Attached, Attachment, Attachments, fromPath, inProcessBackground } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { memoryHeld } from './peak'

// started by flood.ts: attaches pictures, makes their styles and stores them, and says what it held

export interface Flood {
  readonly database: string
  readonly s3: S3Server
  readonly pictures: readonly string[]
  readonly concurrency: number
  /** Bytes, where no cgroup says it. */
  readonly limit?: number
}

export interface Flooded {
  readonly before: number
  readonly peak: number
  readonly done: number
  readonly errors: readonly string[]
}

class Poster {
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

async function main({ database, s3, pictures, concurrency, limit }: Flood): Promise<Flooded> {
  if (limit !== undefined) process.constrainedMemory = () => limit
  const client = new S3Client(clientConfig(s3))
  for (const Bucket of ['staging', 'posters']) await client.send(new CreateBucketCommand({ Bucket }))
  const dataSource = await new DataSource({ type: 'postgres', url: database, entities: [Poster], synchronize: true }).initialize()
  const attachments = new Attachments({
    staging: s3Storage({ client, bucket: 'staging' }),
    storage: s3Storage({ client, bucket: 'posters' }),
    background: inProcessBackground({ concurrency }),
  })
  await attachments.connect(dataSource)
  const before = memoryHeld().now
  for (let at = 0; at < pictures.length; at += concurrency) {
    const posters = pictures.slice(at, at + concurrency).map((path) => ({ path, poster: new Poster() }))
    await Promise.all(posters.map(({ path, poster }) => attachments.attach(poster, 'image', fromPath(path))))
    await dataSource.manager.save(posters.map(({ poster }) => poster))
  }
  await attachments.idle()
  const rows = await dataSource.getRepository(Poster).find()
  const errors = rows.flatMap(({ image }) => (image.error ? [image.error.message] : []))
  await attachments.close()
  await dataSource.destroy()
  client.destroy()
  return { before, peak: memoryHeld().peak, done: rows.filter(({ image }) => !image.processing && !image.error).length, errors }
}

main(JSON.parse(process.argv[2] as string)).then((flooded) => console.log(JSON.stringify(flooded)))
