import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { clientConfig, startS3 } from '../../examples/services/s3'
import { fromPath } from '../../src'
import { graphileBackground } from '../../src/background/graphile'
import type { Flood } from './flood-attachments'
import { type Flooded, flood } from './flood-worker'
import { hugePictures } from './huge'
import { memoryLimit } from './limited'
import { buckets, connectPosters, Poster } from './posters'

/** Bytes that the worker may take. */
export const limit = 512 * 2 ** 20
const forms = ['photo.jpg', 'turned.jpg', 'progressive.jpg', 'photo.png', 'turned.png', 'photo.webp', 'lossless.webp']

/** Lets huge pictures wait for a worker that has little memory. With `program` that is no command, but a program of somebody's own. */
export async function flooded(
  pictures: number,
  { concurrency = '8', program = false }: { concurrency?: string; program?: boolean } = {},
): Promise<Flooded & { readonly pictures: number; readonly seconds: number; readonly held: 'by a cgroup' | 'by nothing but its word' }> {
  const folder = await mkdtemp(join(tmpdir(), 'attachments-flood-'))
  const [postgres, s3] = await Promise.all([startPostgres(), startS3()])
  const cgroup = memoryLimit(limit)
  try {
    await createDatabase(postgres.url('postgres'), 'flood')
    const huge = Object.values(await hugePictures(folder, 10_000, 6_000, forms))
    const given: Flood = { database: postgres.url('flood'), s3 }
    await attachAll(
      Array.from({ length: pictures }, (_, at) => huge[at % huge.length] as string),
      given,
    )
    const start = Date.now()
    const result = await flood(pictures, given, { limit, cgroup, concurrency, program })
    const seconds = Math.round((Date.now() - start) / 1000)
    return { ...result, pictures, seconds, held: cgroup ? 'by a cgroup' : 'by nothing but its word' }
  } finally {
    cgroup?.remove()
    await Promise.all([postgres.stop(), s3.stop()])
    await rm(folder, { recursive: true })
  }
}

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
