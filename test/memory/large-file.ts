import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { clientConfig, type S3Server } from '../../examples/services/s3'
import { type Attached, Attachment, Attachments, diskStorage, fromPath, inProcessBackground } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { memoryHeld } from './peak'

// started by benchmarks/memory.ts: attaches a large file, brings it to S3, and says what that took

class Film {
  id!: number
  file!: Attached
}
PrimaryGeneratedColumn()(Film.prototype, 'id')
Attachment({ accept: 'any' })(Film.prototype, 'file')
Entity()(Film)

interface Given {
  readonly database: string
  readonly folder: string
  readonly s3: S3Server
  readonly megabytes: number
}

async function main({ database, folder, s3, megabytes }: Given): Promise<{ before: number; attached: number; stored: number }> {
  const film = join(folder, 'film')
  const file = await open(film, 'w')
  const noise = randomBytes(2 ** 20)
  for (let megabyte = 0; megabyte < megabytes; megabyte++) await file.write(noise)
  await file.close()

  const client = new S3Client(clientConfig(s3))
  await client.send(new CreateBucketCommand({ Bucket: 'films' }))
  const dataSource = await new DataSource({ type: 'postgres', url: database, entities: [Film], synchronize: true }).initialize()
  const staging = diskStorage({ root: join(folder, 'films') })
  const attachments = new Attachments({ staging, storage: s3Storage({ client, bucket: 'films' }), background: inProcessBackground() })
  await attachments.connect(dataSource)
  const owner = new Film()
  const before = memoryHeld().now
  await attachments.attach(owner, 'file', fromPath(film))
  const attached = memoryHeld().peak
  await dataSource.manager.save(owner)
  await attachments.idle()
  const { file: stored } = await dataSource.getRepository(Film).findOneByOrFail({ id: owner.id })
  if (stored.processing || stored.error) throw new Error(`not stored: ${JSON.stringify(stored.error)}`)
  await attachments.close()
  await dataSource.destroy()
  client.destroy()
  return { before, attached, stored: memoryHeld().peak }
}

main(JSON.parse(process.argv[2] as string)).then((held) => console.log(JSON.stringify(held)))
