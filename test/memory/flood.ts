import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { clientConfig, type S3Server, startS3 } from '../../examples/services/s3'
import { fromPath, inProcessBackground } from '../../src'
import type { Flood, Flooded } from './flood-worker'
import { hugePictures } from './huge'
import { memoryLimit, run } from './limited'
import { buckets, connectPosters, Poster } from './posters'

// npm run flood: huge pictures wait for a worker that has 512 MB; ends with 1 when it does not live through them

const limit = 512 * 2 ** 20
/** What docs/styles.md advises: without it glibc keeps what was freed, and the process grows beyond any limit of ours. */
const allocator = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }
const forms = ['photo.jpg', 'turned.jpg', 'progressive.jpg', 'photo.png', 'turned.png', 'photo.webp', 'lossless.webp']

/** As a web process would, which is none of the worker's business. */
async function attachAll(pictures: readonly string[], database: string, s3: S3Server): Promise<void> {
  const client = new S3Client(clientConfig(s3))
  for (const Bucket of buckets) await client.send(new CreateBucketCommand({ Bucket }))
  client.destroy()
  // its jobs are lost, and the worker finds them by their rows
  const { attachments, dataSource, close } = await connectPosters(database, s3, { ...inProcessBackground(), enqueue: async () => undefined })
  for (const path of pictures) {
    const poster = new Poster()
    await attachments.attach(poster, 'image', fromPath(path))
    await dataSource.manager.save(poster)
  }
  await close()
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { pictures: { type: 'string', default: '42' }, concurrency: { type: 'string', default: '8' } } })
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
    await attachAll(pictures, postgres.url('flood'), s3)

    const given: Flood = { database: postgres.url('flood'), s3, concurrency: Number(values.concurrency), ...(!cgroup && { limit }) }
    const start = Date.now()
    const { printed, ended } = await run(join(__dirname, 'flood-worker.ts'), given, { limit: cgroup, env: allocator })
    if (printed === '') throw new Error(`the worker did not live through it: it ended with ${ended}`)
    const { before, peak, done, errors }: Flooded = JSON.parse(printed)
    const [idle, most] = [before, peak].map((bytes) => Math.round(bytes / 2 ** 20))
    console.log(`${done} done in ${Math.round((Date.now() - start) / 1000)} s; ${most} MiB at the peak, ${idle} MiB before the first picture`)
    for (const message of errors) console.log(message)
    if (done < pictures.length || peak > limit) process.exitCode = 1
  } finally {
    cgroup?.remove()
    await Promise.all([postgres.stop(), s3.stop()])
    await rm(folder, { recursive: true })
  }
}

main()
