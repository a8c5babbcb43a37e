import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  type PutObjectCommandInput,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { encodeKey } from './storage'

export interface Place {
  readonly Bucket: string
  readonly Key: string
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

/** Lets the server copy an object, which gets headers of its own. False, and nothing is there, where the server refuses to. */
export async function copyOnServer(client: S3Client, from: Place, to: Omit<PutObjectCommandInput, 'Body'>, size: number): Promise<boolean> {
  const source = `${from.Bucket}/${encodeKey(from.Key)}`
  try {
    await (size <= partSize ? copyWhole(client, source, to) : copyInParts(client, source, to, size))
    return true
  } catch (error) {
    const { httpStatusCode = 0 } = (error as { $metadata?: { httpStatusCode?: number } }).$metadata ?? {}
    // credentials that may not read there, a server that cannot copy: whoever reads and writes instead finds out what else is wrong
    if ((httpStatusCode >= 400 && httpStatusCode < 500) || httpStatusCode === 501) return false
    throw error
  }
}

async function copyWhole(client: S3Client, source: string, to: Omit<PutObjectCommandInput, 'Body'>): Promise<void> {
  await client.send(new CopyObjectCommand({ ...to, CopySource: source, MetadataDirective: 'REPLACE' }))
}

async function copyInParts(client: S3Client, source: string, to: Omit<PutObjectCommandInput, 'Body'>, size: number): Promise<void> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(to))
  const upload = { Bucket: to.Bucket, Key: to.Key, UploadId }
  const Parts: CompletedPart[] = []
  const left = ranges(size)
  async function copyParts(): Promise<void> {
    // a loop that throws closes the generator, and so ends the others
    for (const [PartNumber, CopySourceRange] of left) {
      const { CopyPartResult } = await client.send(new UploadPartCopyCommand({ ...upload, PartNumber, CopySource: source, CopySourceRange }))
      Parts[PartNumber - 1] = { ...CopyPartResult, PartNumber }
    }
  }
  try {
    // what is still under way when the upload is given up would stay behind
    const ended = await Promise.allSettled(Array.from({ length: atATime }, copyParts))
    for (const end of ended) if (end.status === 'rejected') throw end.reason
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
