import { type AttachmentRecord, newVersion, type StyleRecord } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import type { Definition } from '../definition/definition'
import { RefusedFileError } from '../errors'
import type { Storage } from '../storage/storage'
import type { Announced } from './direct'
import { stagedHere } from './elsewhere'
import type { FencedRow } from './fence'
import { lookAt } from './look'
import { planArrived } from './plan'
import type { Ports } from './ports'
import { columnsOf, stagedOriginal } from './staged'

/** The upload that a file waits for has not come, and may still. */
export class StillAwaited extends Error {}

/** The columns of a file that is yet to be uploaded, without what only the row's id can tell. All of its styles are planned, whatever it may turn out to be. */
export async function awaited(
  { fileName, contentType, size }: Announced,
  definition: Definition,
  entity: string,
  owner: object,
  until: Date,
  staging: Storage,
): Promise<AttachmentRecord> {
  const file = { entity, version: newVersion(), fileName, contentType, size, fingerprint: null }
  const wanted = definition.stylesFor(owner)
  const columns = columnsOf(file, wanted, definition, await stagedHere(staging))
  const { styles } = columns.meta
  const original = { ...(styles['original'] as StyleRecord), awaited: until.toISOString() }
  // as they are declared: their form is settled once it is known what has come
  const asked = Object.fromEntries(wanted.map((style) => [style.name, { ...(styles[style.name] as StyleRecord), style }]))
  return { ...columns, meta: { ...columns.meta, styles: { ...asked, original } } }
}

/**
 * Takes the awaited upload of a row, if it has come: looks at what it is, and holds on to exactly these bytes. Rejects with
 * `StillAwaited` while it may come, and with a `RefusedFileError` once it may not, or is not taken.
 */
export async function arrive(ref: AttachmentRef, row: FencedRow, { staging, definition: definitionOf, now }: Ports): Promise<void> {
  const { version, fileName, fileSize, meta } = await row.read()
  const until = meta.styles['original']?.awaited
  if (until === undefined) return
  const definition = definitionOf(ref.entity, ref.attachment)
  const key = stagedOriginal(ref.entity, ref.attachment, version)
  const found = await staging.stat(key)
  if (!found) {
    if (now() < new Date(until)) throw new StillAwaited('the upload has not come')
    throw new RefusedFileError('never_uploaded', `'${fileName}' was announced and never uploaded: attach a file anew`)
  }
  const seen = await lookAt(key, { fileName, size: fileSize }, found, definition, staging)
  const place = { definition, ref, storage: meta.storage }
  await row.change((record) => planArrived(place, record, { ...seen, etag: found.etag }, now()))
}
