import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { clientConfig, startS3 } from '../../examples/services/s3'
import { type Attached, Attachment, Attachments, diskStorage, fromPath, inProcessBackground } from '../../src'
import { s3Storage } from '../../src/storage/s3'

// npm run memory: attaches 2 GB, brings them to S3, and says by how much the process grew

class Film {
  id!: number
  file!: Attached
}
PrimaryGeneratedColumn()(Film.prototype, 'id')
Attachment({ accept: 'any' })(Film.prototype, 'file')
Entity()(Film)

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'attachments-memory-'))
  const film = join(folder, 'film')
  const file = await open(film, 'w')
  const noise = randomBytes(2 ** 20)
  for (let megabyte = 0; megabyte < 2048; megabyte++) await file.write(noise)
  await file.close()

  const [postgres, s3] = await Promise.all([startPostgres(), startS3()])
  await createDatabase(postgres.url('postgres'), 'memory')
  const client = new S3Client(clientConfig(s3))
  await client.send(new CreateBucketCommand({ Bucket: 'films' }))
  const dataSource = await new DataSource({ type: 'postgres', url: postgres.url('memory'), entities: [Film], synchronize: true }).initialize()
  const attachments = new Attachments({
    staging: diskStorage({ root: join(folder, 'staging') }),
    storage: s3Storage({ client, bucket: 'films' }),
    background: inProcessBackground(),
  })
  await attachments.connect(dataSource)

  const before = process.memoryUsage.rss()
  let peak = before
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss())
  }, 20)
  const say = (what: string, since: number) =>
    console.log(`${what}: ${Date.now() - since} ms, ${Math.round((peak - before) / 2 ** 20)} MiB more than before at the peak`)

  const owner = new Film()
  const start = Date.now()
  await attachments.attach(owner, 'file', fromPath(film))
  say('attach', start)
  await dataSource.manager.save(owner)
  const saved = Date.now()
  await attachments.idle()
  say(`to ${s3.name}`, saved)
  const { file: stored } = await dataSource.getRepository(Film).findOneByOrFail({ id: owner.id })
  console.log(`processing ${stored.processing}, error ${JSON.stringify(stored.error)}, ${stored.fileSize} bytes`)

  clearInterval(watch)
  await attachments.close()
  await dataSource.destroy()
  client.destroy()
  await Promise.all([postgres.stop(), s3.stop()])
  await rm(folder, { recursive: true })
}

main()
