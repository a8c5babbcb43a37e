import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { StorageError } from '../errors'
import { objectChanged } from './refused'
import { isUnmet, statusOf } from './s3-errors'
import { bare, quoted } from './s3-etag'
import { pinned } from './s3-pin'
import { nameOf, type Place } from './s3-read'
import { encodeKey } from './storage'

type Target = Omit<PutObjectCommandInput, 'Body'> & Place

/** What is copied, and what sees to it that it still is what it was. */
interface Source {
  readonly CopySource: string
  readonly CopySourceIfMatch?: string
  check?(): Promise<void>
}

/**
 * Up to here an object is copied by one request, beyond it in parts of this size, so that each request ends in time. S3 itself
 * copies up to 5 GB by one request (AWS, "Amazon S3 multipart upload limits"). Bytes.
 */
const partSize = 64 * 1024 * 1024
/** What S3 takes at most. */
const mostParts = 10_000
/** Parts that are copied at a time. */
const atATime = 4

/**
 * Lets the server copy an object, which gets headers of its own. False, and nothing is there, where the server refuses to.
 *
 * @param etag of what is to be copied: anything else is refused with `object_changed`, also by servers that do not mind the
 *   condition. They are found out by what they copied, or by what is there before and after
 */
export async function copyOnServer(client: S3Client, from: Place, to: Target, size: number, etag?: string): Promise<boolean> {
  const CopySource = `${from.Bucket}/${encodeKey(from.Key)}`
  try {
    const source = etag === undefined ? { CopySource } : { CopySource, CopySourceIfMatch: quoted(etag), check: await pinned(client, from, etag) }
    await (size <= partSize ? copyWhole(client, source, to) : copyInParts(client, source, to, size))
    return true
  } catch (error) {
    if (isUnmet(error)) throw objectChanged(nameOf(from))
    const status = statusOf(error)
    // credentials that may not read there, a server that cannot copy: whoever reads and writes instead finds out what else is wrong
    if ((status >= 400 && status < 500) || status === 501) return false
    throw error
  }
}

async function copyWhole(client: S3Client, { check, ...source }: Source, to: Target): Promise<void> {
  const { CopyObjectResult } = await client.send(new CopyObjectCommand({ ...to, ...source, MetadataDirective: 'REPLACE' }))
  // that of a copy is its own where one of the two is encrypted or came in parts
  const same = source.CopySourceIfMatch !== undefined && bare(CopyObjectResult?.ETag) === bare(source.CopySourceIfMatch)
  if (same) return
  await check?.().catch(async (error) => {
    // what only could not be looked at may be right, and somebody else may have finished with it
    if (error instanceof StorageError) await client.send(new DeleteObjectCommand({ Bucket: to.Bucket, Key: to.Key }))
    throw error
  })
}

async function copyInParts(client: S3Client, { check, ...source }: Source, to: Target, size: number): Promise<void> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(to))
  const upload = { Bucket: to.Bucket, Key: to.Key, UploadId }
  const Parts: CompletedPart[] = []
  const left = ranges(size)
  async function copyParts(): Promise<void> {
    // a loop that throws closes the generator, and so ends the others
    for (const [PartNumber, CopySourceRange] of left) {
      const { CopyPartResult } = await client.send(new UploadPartCopyCommand({ ...upload, ...source, PartNumber, CopySourceRange }))
      Parts[PartNumber - 1] = { ...CopyPartResult, PartNumber }
    }
  }
  try {
    // what is still under way when the upload is given up would stay behind
    const ended = await Promise.allSettled(Array.from({ length: atATime }, copyParts))
    for (const end of ended) if (end.status === 'rejected') throw end.reason
    await check?.()
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }))
  } catch (error) {
    await client.send(new AbortMultipartUploadCommand(upload))
    throw error
  }
}

function* ranges(size: number): Generator<[number: number, range: string]> {
  const length = Math.max(partSize, Math.ceil(size / mostParts))
  for (let at = 0, number = 1; at < size; at += length, number++) yield [number, `bytes=${at}-${Math.min(at + length, size) - 1}`]
}
