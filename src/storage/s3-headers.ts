import type { PutObjectCommandInput } from '@aws-sdk/client-s3'
import { create as contentDisposition } from 'content-disposition'
import type { ObjectInfo } from './storage'

/** What an application may have sent with every object. */
export type OwnHeaders = Pick<
  PutObjectCommandInput,
  'ACL' | 'CacheControl' | 'ContentDisposition' | 'Metadata' | 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass' | 'Tagging'
>

export type ObjectHeaders = OwnHeaders & { readonly ContentType: string }

/** Types that a browser shows without running anything in them. */
const harmless = /^(image\/(?!svg)|video\/|audio\/|application\/pdf$|text\/plain$)/

/** What S3 is told of an object, as the SDK names it. */
export function headersOf({ contentType, fileName }: ObjectInfo, own: OwnHeaders = {}): ObjectHeaders {
  const type = harmless.test(contentType) ? 'inline' : 'attachment'
  return {
    ContentType: contentType,
    CacheControl: 'max-age=31536000, immutable',
    ContentDisposition: fileName === undefined ? type : contentDisposition(fileName, { type }),
    ...own,
  }
}

const names = {
  ContentType: 'content-type',
  CacheControl: 'cache-control',
  ContentDisposition: 'content-disposition',
  ACL: 'x-amz-acl',
  ServerSideEncryption: 'x-amz-server-side-encryption',
  SSEKMSKeyId: 'x-amz-server-side-encryption-aws-kms-key-id',
  StorageClass: 'x-amz-storage-class',
  Tagging: 'x-amz-tagging',
} as const

/** The same as they are named in a request, for those who make one without the SDK. */
export function namedHeaders({ Metadata = {}, ...headers }: ObjectHeaders): Record<string, string> {
  const given = Object.entries(names).map(([key, name]): [string, string | undefined] => [name, headers[key as keyof typeof names]])
  const own = Object.entries(Metadata).map(([key, value]): [string, string] => [`x-amz-meta-${key.toLowerCase()}`, value])
  return Object.fromEntries([...given, ...own].filter((entry): entry is [string, string] => entry[1] !== undefined))
}
