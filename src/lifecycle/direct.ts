import type { AttachmentRecord } from '../attachment/record'
import type { Definition } from '../definition/definition'
import { RefusedFileError, UsageError } from '../errors'
import { accepts } from '../file/content-type'
import { cleanFileName } from '../file/file-name'
import type { Storage } from '../storage/storage'
import { makeAtOnce } from './at-once'
import { stagedHere } from './elsewhere'
import { lookAt } from './look'
import { columnsOf, stagedOriginal, wantedOf } from './staged'
import type { Claim } from './token'

/** What a browser says of the file that it wants to bring. */
export interface Announced {
  /** What a person should see as its name. */
  readonly fileName: string
  /** What the browser takes it for. Nothing relies on that but the upload itself. */
  readonly contentType: string
  /** Bytes. */
  readonly size: number
}

/** What a browser calls a file that it does not know: then the bytes will tell. */
const unknown = 'application/octet-stream'

/** Makes what clients send fit to be signed. Throws a `RefusedFileError` where the attachment would not take it anyway. */
export function checkAnnounced({ fileName, contentType, size }: Announced, definition: Definition): Announced {
  const { accept, maxSize, namesFingerprint } = definition
  const name = `${definition.entity}.${definition.property}`
  if (namesFingerprint) {
    const why = 'its path or url names :fingerprint, which nobody knows of a file that the browser brings to the storage'
    throw new UsageError('fingerprint_unknown', `${name} takes no direct uploads: ${why}. Leave :fingerprint out, :version is as unique`)
  }
  if (!Number.isSafeInteger(size) || size < 0) throw new UsageError('bad_size', `the size of a file is a whole number of bytes, not ${size}`)
  if (size === 0) throw new RefusedFileError('empty', 'the file is empty')
  if (size > maxSize) throw new RefusedFileError('too_large', `the file is larger than the ${maxSize} bytes that are accepted`)
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? ''
  // RFC 6838 gives each half 127 characters, and MariaDB the column 255
  if (!/^[a-z0-9!#$&^_.+-]{1,127}\/[a-z0-9!#$&^_.+-]{1,127}$/.test(type))
    throw new UsageError(
      'bad_content_type',
      `'${contentType.slice(0, 100)}' is no content type: where a browser tells none, send application/octet-stream`,
    )
  if (type !== unknown && !accepts(accept, type)) {
    const taken = accept === 'any' ? accept : accept.join(', ')
    throw new RefusedFileError('type_not_accepted', `${name} does not take ${type}: it takes ${taken}`)
  }
  return { fileName: cleanFileName(fileName), contentType: type, size }
}

/**
 * The columns of a file that a browser has brought to the staging, by what lies there: its size, its beginning, its ETag, which is
 * held on to from here. The client's word counts for the name alone. What is refused is deleted.
 */
export async function takeOver(claim: Claim, definition: Definition, owner: object, staging: Storage): Promise<AttachmentRecord> {
  const { entity, attachment, version, fileName, size } = claim
  const key = stagedOriginal(entity, attachment, version)
  const found = await staging.stat(key)
  if (!found) {
    throw new RefusedFileError('upload_missing', `'${fileName}' was not uploaded, or has been taken already: upload it again`)
  }
  const seen = await lookAt(key, { fileName, size }, found, definition, staging)
  const file = { ...seen, entity, version, fileName, size, fingerprint: claim.fingerprint ?? null, etag: found.etag }
  return makeAtOnce(columnsOf(file, wantedOf(file, definition, owner), definition, await stagedHere(staging)), definition, staging)
}
