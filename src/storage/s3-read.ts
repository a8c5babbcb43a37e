import { Readable } from 'node:stream'
import { GetObjectCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { objectChanged } from './refused'
import { isUnmet, statusOf } from './s3-errors'
import { bare, quoted } from './s3-etag'
import type { ObjectFacts, ReadOptions } from './storage'

export interface Place {
  readonly Bucket: string
  readonly Key: string
}

export function nameOf({ Bucket, Key }: Place): string {
  return `'${Key}' in bucket '${Bucket}'`
}

export async function factsOf(client: S3Client, place: Place): Promise<ObjectFacts | undefined> {
  const found = await client.send(new HeadObjectCommand(place)).catch((error) => {
    if (error.name === 'NotFound') return undefined
    throw error
  })
  return found && { size: found.ContentLength ?? 0, etag: bare(found.ETag) || undefined }
}

/** The bytes, or the first of them. The ETag is compared here as well: not every server minds the condition. */
export async function readObject(client: S3Client, place: Place, { etag, length }: ReadOptions): Promise<Readable> {
  const isRight = (found: string | undefined) => etag === undefined || bare(found) === etag
  const IfMatch = etag === undefined ? undefined : quoted(etag)
  const Range = length === undefined ? undefined : `bytes=0-${length - 1}`
  try {
    const { Body, ETag } = await client.send(new GetObjectCommand({ ...place, IfMatch, Range }))
    const bytes = Body as Readable
    if (isRight(ETag)) return bytes
    bytes.destroy()
  } catch (error) {
    if (statusOf(error) === 416) return nothing(error)
    if (!isUnmet(error)) throw error
  }
  throw objectChanged(nameOf(place))

  /** An empty object has no first byte, and S3 calls that an error. */
  async function nothing(error: unknown): Promise<Readable> {
    const found = await factsOf(client, place)
    if (found && !isRight(found.etag)) throw objectChanged(nameOf(place))
    if (found?.size === 0) return Readable.from([])
    throw error
  }
}
