import type { AttachmentRecord, StagedAt } from '../attachment/record'
import type { Definition } from '../definition/definition'
import type { Style } from '../style/style'
import type { Identity } from './identify'
import { plannedStyle } from './plan'

/** Where a file of a version waits, with the styles that came with it. A sweep, and an event, tell by it what a key belongs to. */
export function stagedFolder(entity: string, attachment: string, version: string): string {
  return `${entity}/${attachment}/${version.slice(0, 2)}/${version}`
}

/** Key of its original in the staging. */
export function stagedOriginal(entity: string, attachment: string, version: string): string {
  return `${stagedFolder(entity, attachment, version)}/original`
}

/** What a key in the staging belongs to; undefined where it is none of a file. */
export function stagedName(key: string): { entity: string; attachment: string; version: string } | undefined {
  const [, entity, attachment, start = '', version = ''] = /^([^/]+)\/([^/]+)\/([0-9a-f]{2})\/([0-9a-f]{32})\/[^/]+$/.exec(key) ?? []
  return entity && attachment && version.startsWith(start) ? { entity, attachment, version } : undefined
}

/** An original in the staging, and what was found out about it. */
export interface StagedFile extends Identity {
  /** The entity's name. */
  readonly entity: string
  readonly version: string
  readonly fileName: string
  /** Bytes. */
  readonly size: number
  /** SHA-256, in hex; null where nobody has read all of it. */
  readonly fingerprint: string | null
  /** As the staging told it, where others may write there. */
  readonly etag?: string
}

/** The styles that are wanted of a file: none, where no processor reads it. */
export function wantedOf({ contentType }: Identity, definition: Definition, owner: object): readonly Style[] {
  return definition.processor.reads(contentType) ? definition.stylesFor(owner) : []
}

/** The columns of a file that is staged, without what only the row's id can tell. */
export function columnsOf(file: StagedFile, wanted: readonly Style[], definition: Definition, here: StagedAt | undefined): AttachmentRecord {
  const { entity, version, fileName, contentType, size, fingerprint, width, height, etag } = file
  const staged = stagedOriginal(entity, definition.property, version)
  const original = { key: '', contentType, written: false, staged, ...(etag !== undefined && { etag }), size, width, height }
  const styles = { original, ...Object.fromEntries(wanted.map((style) => [style.name, plannedStyle(style, definition, contentType)])) }
  const now = new Date()
  return {
    fileName,
    contentType,
    fileSize: size,
    updatedAt: now,
    fingerprint,
    version,
    processing: true,
    attemptedAt: null,
    error: null,
    meta: { storage: definition.storage ?? '', id: '', attachedAt: now.toISOString(), styles, ...(here && { area: here }) },
  }
}
