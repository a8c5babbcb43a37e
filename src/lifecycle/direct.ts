import type { AttachmentRecord } from '../attachment/record'
import type { Definition } from '../definition/definition'
import { RefusedFileError, UsageError } from '../errors'
import { accepts } from '../file/content-type'
import type { Storage } from '../storage/storage'
import { makeAtOnce } from './at-once'
import { type AttachOptions, checkedName } from './attach'
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
export function checkAnnounced(announced: Announced, definition: Definition): Announced {
  const { fileName, contentType, size } = Object(announced) as Announced
  const { accept, maxSize, namesFingerprint } = definition
  const name = `${definition.entity}.${definition.property}`
  if (namesFingerprint) {
    const why = 'its path or url names :fingerprint, which nobody knows of a file that the browser brings to the storage'
    throw new UsageError('fingerprint_unknown', `${name} takes no direct uploads: ${why}. Leave :fingerprint out, :version is as unique`)
  }
  if (!Number.isSafeInteger(size) || size < 0) throw new UsageError('bad_size', `the size of a file is a whole number of bytes, not ${size}`)
  if (size === 0) throw new RefusedFileError('empty', 'the file is empty')
  if (size > maxSize) throw new RefusedFileError('too_large', `the file is larger than the ${maxSize} bytes that are accepted`)
  const type = String(contentType).split(';')[0]?.trim().toLowerCase() ?? ''
  // RFC 6838 gives each half 127 characters, and MariaDB the column 255
  if (!/^[a-z0-9!#$&^_.+-]{1,127}\/[a-z0-9!#$&^_.+-]{1,127}$/.test(type))
    throw new UsageError(
      'bad_content_type',
      `'${String(contentType).slice(0, 100)}' is no content type: where a browser tells none, send application/octet-stream`,
    )
  if (type !== unknown && !accepts(accept, type)) {
    const taken = accept === 'any' ? accept : accept.join(', ')
    throw new RefusedFileError('type_not_accepted', `${name} does not take ${type}: it takes ${taken}`)
  }
  return { fileName: checkedName(fileName), contentType: type, size }
}

/**
 * The columns of a file that a browser has brought to the staging, by what lies there: its size, its beginning, its ETag, which is
 * held on to from here. A client's word counts for the name alone; of a file that we have read before, ours for its type, too. What is refused
 * is deleted.
 */
export async function takeOver(
  claim: Claim,
  options: AttachOptions,
  definition: Definition,
  owner: object,
  staging: Storage,
): Promise<AttachmentRecord> {
  const { entity, attachment, version, size } = claim
  const fileName = options.fileName === undefined ? claim.fileName : checkedName(options.fileName)
  const hint = options.contentType ?? (claim.fingerprint === undefined ? undefined : claim.contentType)
  const key = stagedOriginal(entity, attachment, version)
  const found = await staging.stat(key)
  if (!found) {
    throw new RefusedFileError('upload_missing', `'${fileName}' was not uploaded, or has been taken already: upload it again`)
  }
  const seen = await lookAt(key, { fileName, size, hint }, found, definition, staging)
  const file = { ...seen, entity, version, fileName, size, fingerprint: claim.fingerprint ?? null, etag: found.etag }
  return makeAtOnce(columnsOf(file, wantedOf(file, definition, owner), definition, await stagedHere(staging)), definition, staging)
}
