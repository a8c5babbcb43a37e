import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { clientConfig, startS3 } from '../../examples/services/s3'
import { fromPath } from '../../src'
import { graphileBackground } from '../../src/background/graphile'
import type { Flood } from './flood-attachments'
import { flood } from './flood-worker'
import { hugePictures } from './huge'
import { memoryLimit } from './limited'
import { buckets, connectPosters, Poster } from './posters'

// npm run flood: huge pictures wait for a worker that has 512 MB; ends with 1 when it does not live through them.
// With --program the worker is no command, but a program of somebody's own.

const limit = 512 * 2 ** 20
const forms = ['photo.jpg', 'turned.jpg', 'progressive.jpg', 'photo.png', 'turned.png', 'photo.webp', 'lossless.webp']

const options = {
  pictures: { type: 'string', default: '42' },
  concurrency: { type: 'string', default: '8' },
  program: { type: 'boolean', default: false },
} as const

/** As a web process would, which is none of the worker's business. */
async function attachAll(pictures: readonly string[], { database, s3 }: Flood): Promise<void> {
  const client = new S3Client(clientConfig(s3))
  for (const Bucket of buckets) await client.send(new CreateBucketCommand({ Bucket }))
  client.destroy()
  const { attachments, dataSource, close } = await connectPosters(database, s3, graphileBackground({ connectionString: database }))
  for (const path of pictures) {
    const poster = new Poster()
    await attachments.attach(poster, 'image', fromPath(path))
    await dataSource.manager.save(poster)
  }
  await close()
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options })
  const folder = await mkdtemp(join(tmpdir(), 'attachments-flood-'))
  const [postgres, s3] = await Promise.all([startPostgres(), startS3()])
  const cgroup = memoryLimit(limit)
  try {
    await createDatabase(postgres.url('postgres'), 'flood')
    const huge = Object.values(await hugePictures(folder, 10_000, 6_000, forms))
    const pictures = Array.from({ length: Number(values.pictures) }, (_, at) => huge[at % huge.length] as string)
    const bytes = (await Promise.all(pictures.map((path) => stat(path)))).reduce((sum, { size }) => sum + size, 0)
    console.log(
      `${pictures.length} pictures of 60 megapixels, ${Math.round(bytes / 1e6)} MB, ${values.concurrency} jobs at a time; staging and storage ${s3.name}`,
    )
    console.log(cgroup ? 'held to 512 MB by a cgroup' : 'told that it has 512 MB; no cgroup could be had to hold it to that')
    const given: Flood = { database: postgres.url('flood'), s3 }
    await attachAll(pictures, given)

    const start = Date.now()
    const { done, before, peak, errors, ended } = await flood(pictures.length, given, { limit, cgroup, ...values })
    const [idle, most] = [before, peak].map((bytes) => Math.round(bytes / 2 ** 20))
    console.log(`${done} done in ${Math.round((Date.now() - start) / 1000)} s; ${most} MiB at the peak, ${idle} MiB before the first picture`)
    for (const message of errors) console.log(message)
    if (ended !== 0) console.log(`it ended with ${ended}`)
    if (done < pictures.length || peak > limit || ended !== 0) process.exitCode = 1
  } finally {
    cgroup?.remove()
    await Promise.all([postgres.stop(), s3.stop()])
    await rm(folder, { recursive: true })
  }
}

main()
