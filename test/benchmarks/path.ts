import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { CreateQueueCommand, SQSClient } from '@aws-sdk/client-sqs'
import { Queue } from 'bullmq'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { redisInstalled, startRedis } from '../../examples/services/redis'
import { clientConfig, startS3 } from '../../examples/services/s3'
import { freePort } from '../../examples/services/throw-away'
import { type Attached, Attachment, Attachments, type BackgroundAdapter, diskStorage, inProcessBackground } from '../../src'
import { bullmqBackground } from '../../src/background/bullmq'
import { graphileBackground } from '../../src/background/graphile'
import { sqsBackground } from '../../src/background/sqs'
import { s3Storage } from '../../src/storage/s3'
import { optionOf } from '../reliability/command'
import { jpeg } from '../support/pictures'
import { barChart } from './chart'
import { type Part, quick, runPart } from './part'

// npm run bench:path [-- --files 1000 --clients 16 --concurrency 4]

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { medium: '300x300>', thumb: '100x100#' }, accept: ['image/*'] })
  avatar!: Attached<'medium' | 'thumb'>
}

const files = Number(optionOf('files') ?? (quick ? 5 : 1_000))
const clients = Number(optionOf('clients') ?? 16)
const concurrency = Number(optionOf('concurrency') ?? 4)

interface Figure {
  readonly adapter: string
  /** Seconds. */
  readonly saved: number
  readonly done: number
  readonly filesPerSecond: number
}

/** From the first `attach()` to the last flag, of so many pictures, on each adapter. */
async function measureAll(): Promise<Part> {
  const { startFauxqs } = await import('fauxqs')
  const [postgres, redis, s3, sqs] = await Promise.all([
    startPostgres(),
    redisInstalled() ? startRedis() : undefined,
    startS3(),
    startFauxqs({ port: await freePort(), logger: false }),
  ])
  const picture = await jpeg(800, 600)
  const client = new S3Client(clientConfig(s3))
  const sqsClient = new SQSClient({
    endpoint: `http://127.0.0.1:${sqs.port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  })
  const adapters: Record<string, (database: string) => Promise<BackgroundAdapter>> = {
    'in the process': async () => inProcessBackground({ concurrency }),
    'Graphile Worker': async (connectionString) => graphileBackground({ connectionString }),
    ...(redis && { BullMQ: async () => bullmqBackground({ queue: new Queue(name(), { connection: { url: redis.url } }) }) }),
    'SQS (fauxqs)': async () => {
      const { QueueUrl } = await sqsClient.send(new CreateQueueCommand({ QueueName: name() }))
      return sqsBackground({ client: sqsClient, queueUrl: QueueUrl as string })
    },
  }
  const figures: Figure[] = []
  for (const [adapter, make] of Object.entries(adapters)) {
    const database = name()
    await createDatabase(postgres.url('postgres'), database)
    const background = await make(postgres.url(database))
    const bucket = name()
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    const { saved, done } = await measured(postgres.url(database), background, s3Storage({ client, bucket }), picture)
    const seconds = (milliseconds: number) => Number((milliseconds / 1_000).toPrecision(3))
    figures.push({ adapter, saved: seconds(saved), done: seconds(done), filesPerSecond: Number(((files / done) * 1_000).toPrecision(3)) })
    console.log(`${adapter}: ${figures.at(-1)?.filesPerSecond} files a second`)
  }
  await Promise.all([postgres.stop(), redis?.stop(), s3.stop(), sqs.stop()])
  const caption = `${files} pictures of ${Math.round(picture.length / 1_000)} KB, 2 styles, ${clients} clients, ${concurrency} jobs at a time; PostgreSQL and ${s3.name}`
  const rows = figures.map(({ adapter, saved, done, filesPerSecond }) => [adapter, `${saved} s`, `${done} s`, filesPerSecond])
  return {
    name: 'path',
    tables: [{ caption, rows: [['adapter', 'all saved after', 'last flag after', 'files a second'], ...rows] }],
    leftOut: redis ? [] : ['BullMQ: there is no redis-server on the PATH'],
    figures,
    charts: {
      '': barChart({
        title: `${files} files, from the first attach() to the last flag: seconds`,
        unit: 's',
        cases: figures.map(({ adapter }) => adapter),
        contenders: [
          { name: 'all saved', values: figures.map(({ saved }) => saved) },
          { name: 'last flag', values: figures.map(({ done }) => done) },
        ],
      }),
    },
  }
}

async function measured(url: string, background: BackgroundAdapter, storage: ReturnType<typeof s3Storage>, picture: Buffer) {
  const dataSource = await new DataSource({ type: 'postgres', url, entities: [User], synchronize: true, poolSize: 20 }).initialize()
  const root = await mkdtemp(join(tmpdir(), 'attachments-bench-'))
  const attachments = new Attachments({ staging: diskStorage({ root }), storage, background })
  await attachments.connect(dataSource)
  await attachments.work({ concurrency })
  const users = dataSource.getRepository(User)
  const begun = performance.now()
  let left = files
  async function client(): Promise<void> {
    while (left-- > 0) {
      const user = users.create()
      await attachments.attach(user, 'avatar', picture, { fileName: 'me.jpg' })
      await users.save(user)
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  const saved = performance.now() - begun
  while (await users.existsBy({ avatar: { processing: true } })) await new Promise((resolve) => setTimeout(resolve, 20))
  const done = performance.now() - begun
  if ((await users.countBy({ avatar: { processing: false } })) !== files) throw new Error('not every file is there')
  await attachments.close()
  await dataSource.destroy()
  await rm(root, { recursive: true })
  return { saved, done }
}

function name(): string {
  return `bench-${randomBytes(4).toString('hex')}`
}

// connections of BullMQ's queues, which are the user's to close
runPart(measureAll).then(() => process.exit())
