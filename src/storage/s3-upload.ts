import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { UsageError } from '../errors'
import { namedHeaders, type ObjectHeaders } from './s3-headers'
import type { Place } from './s3-read'
import { timeOf, type Validity } from './s3-validity'
import type { UploadForm } from './storage'

/** Signs the upload of one object. */
export type SignUpload = (client: S3Client, place: Place, headers: ObjectHeaders, size: number, validity: Validity) => Promise<UploadForm>

/** A POST policy: it holds for exactly this key, these headers and so many bytes, and for nothing else in the form. */
export const signPost: SignUpload = async (client, { Bucket, Key }, headers, size, { expiresIn }) => {
  // the server puts the name of the user's file there, so the key would not be bound
  if (/\$\{filename\}/.test(Key))
    throw new UsageError('bad_key', `a form cannot upload to '${Key}', whose \${filename} S3 would replace: choose another key`)
  const { createPresignedPost } = await import('@aws-sdk/s3-presigned-post')
  const { 'x-amz-acl': acl, 'x-amz-tagging': tagging, ...named } = namedHeaders(headers)
  const Fields = { ...named, ...(acl && { acl }), ...(tagging && { tagging: tagsOf(tagging) }) }
  const asked = { Bucket, Key, Fields, Expires: expiresIn }
  const { url, fields } = await createPresignedPost(signing(client), { ...asked, Conditions: [['content-length-range', size, size]] })
  return { method: 'POST', url, fields, headers: {} }
}

/** A PUT that holds for exactly this key, these headers and so many bytes, and only where nothing is. */
export const signPut: SignUpload = async (client, place, headers, size, validity) => {
  const command = new PutObjectCommand({ ...place, ...headers, ContentLength: size, IfNoneMatch: '*' })
  return signed(client, command, { ...namedHeaders(headers), 'if-none-match': '*' }, validity)
}

/** A PUT of whatever size, and again and again: for a service that is trusted. */
export async function signPlace(client: S3Client, place: Place, headers: ObjectHeaders, validity: Validity): Promise<UploadForm> {
  return signed(client, new PutObjectCommand({ ...place, ...headers }), namedHeaders(headers), validity)
}

async function signed(client: S3Client, command: PutObjectCommand, named: Record<string, string>, validity: Validity): Promise<UploadForm> {
  const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
  const { date, expiresIn } = validity
  const url = await getSignedUrl(signing(client), command, {
    signingDate: date,
    expiresIn,
    // some would be left out of the signature, and others become parameters, which not every server reads
    signableHeaders: new Set(Object.keys(named)),
    unhoistableHeaders: new Set(Object.keys(named)),
  })
  return { method: 'PUT', url, fields: {}, headers: named }
}

/**
 * The client as it signs what others will send: without a checksum, which would be that of no bytes, and by the time that the
 * server has.
 */
export function signing(client: S3Client): S3Client {
  const requestChecksumCalculation = async () => 'WHEN_REQUIRED' as const
  const systemClockOffset = timeOf(client) - Date.now()
  return Object.create(client, { config: { value: { ...client.config, requestChecksumCalculation, systemClockOffset } } })
}

/** Tags as a form has them, which is another way than headers have. */
function tagsOf(tagging: string): string {
  const tags = [...new URLSearchParams(tagging)].map(([key, value]) => `<Tag><Key>${escaped(key)}</Key><Value>${escaped(value)}</Value></Tag>`)
  return `<Tagging><TagSet>${tags.join('')}</TagSet></Tagging>`
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)
}
