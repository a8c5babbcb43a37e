import type { S3Server } from '../../examples/services/s3'
import { inProcessBackground } from '../../src'
import { memoryHeld } from './peak'
import { connectPosters, Poster } from './posters'

// started by flood.ts: a worker that finds all pictures waiting, makes their styles, stores them, and says what it held

export interface Flood {
  readonly database: string
  readonly s3: S3Server
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

async function main({ database, s3, concurrency, limit }: Flood): Promise<Flooded> {
  if (limit !== undefined) process.constrainedMemory = () => limit
  const { attachments, dataSource, close } = await connectPosters(database, s3, inProcessBackground({ concurrency }))
  const before = memoryHeld().now
  await attachments.requeueLost({ olderThan: 0 })
  await attachments.idle()
  const rows = await dataSource.getRepository(Poster).find()
  const errors = rows.flatMap(({ image }) => (image.error ? [image.error.message] : []))
  await close()
  return { before, peak: memoryHeld().peak, done: rows.filter(({ image }) => !image.processing && !image.error).length, errors }
}

main(JSON.parse(process.argv[2] as string)).then((flooded) => console.log(JSON.stringify(flooded)))
