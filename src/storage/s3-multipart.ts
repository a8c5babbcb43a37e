import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { StorageError } from '../errors'
import { statusOf } from './s3-errors'
import { bare, quoted } from './s3-etag'
import type { ObjectHeaders } from './s3-headers'
import { nameOf, type Place } from './s3-read'
import { signing } from './s3-upload'
import type { Validity } from './s3-validity'
import type { UploadedPart } from './storage'

type PartName = Pick<UploadedPart, 'number' | 'etag'>

export async function beginUpload(client: S3Client, place: Place, headers: ObjectHeaders): Promise<string> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...place, ...headers }))
  return UploadId as string
}

/** The URL to PUT a part to. Its size and what is in it are nobody's business before the end. */
export async function signPart(client: S3Client, place: Place, UploadId: string, PartNumber: number, { date, expiresIn }: Validity): Promise<string> {
  const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
  return getSignedUrl(signing(client), new UploadPartCommand({ ...place, UploadId, PartNumber }), { signingDate: date, expiresIn })
}

export async function uploadedParts(client: S3Client, place: Place, UploadId: string): Promise<UploadedPart[]> {
  const found: UploadedPart[] = []
  let PartNumberMarker: string | undefined
  do {
    const asked = new ListPartsCommand({ ...place, UploadId, PartNumberMarker })
    const { Parts = [], IsTruncated, NextPartNumberMarker } = await client.send(asked).catch((error) => refuse(error, place))
    for (const { PartNumber = 0, ETag = '', Size = 0 } of Parts) found.push({ number: PartNumber, etag: bare(ETag), size: Size })
    PartNumberMarker = IsTruncated ? NextPartNumberMarker : undefined
  } while (PartNumberMarker !== undefined)
  return found
}

export async function completeUpload(client: S3Client, place: Place, UploadId: string, parts: readonly PartName[]): Promise<void> {
  // S3 wants them in their order
  const Parts = [...parts].sort((one, other) => one.number - other.number).map(({ number, etag }) => ({ PartNumber: number, ETag: quoted(etag) }))
  const asked = new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts } })
  await client.send(asked).catch(async (error) => {
    // some servers only say that something went wrong
    if (statusOf(error) >= 500) await uploadedParts(client, place, UploadId)
    refuse(error, place)
  })
}

/** One that is not there is no error. */
export async function abortUpload(client: S3Client, place: Place, UploadId: string): Promise<void> {
  await client.send(new AbortMultipartUploadCommand({ ...place, UploadId })).catch((error) => {
    if (!isGone(error)) throw error
  })
}

/** Servers call an upload that has ended by more than one name. */
function isGone(error: { name?: string }): boolean {
  return statusOf(error) === 404 && error.name !== 'NoSuchBucket'
}

function refuse(error: { name?: string }, place: Place): never {
  const because = (code: string, cure: string) => new StorageError(code, `the upload of ${nameOf(place)} ${cure}`, { cause: error })
  if (isGone(error)) throw because('upload_missing', 'is not there: it was completed, given up, or cleared away as unfinished; begin another')
  if (badParts.includes(error.name ?? ''))
    throw because('bad_parts', `cannot be made of these parts (${error.name}): give the ETag of each, which has 5 MiB unless it is the last`)
  throw error
}

/** What S3 says of a list of parts that makes no object. */
const badParts = ['InvalidPart', 'InvalidPartOrder', 'EntityTooSmall', 'MalformedXML']
