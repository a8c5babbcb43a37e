import { randomBytes } from 'node:crypto'
import type { VersionFiles } from '../background/job'
import type { Style } from '../style/style'
import type { TemplateContext } from '../template/tokens'

/** One style of one file, as the row knows it. The original is the style called `original`. */
export interface StyleRecord {
  /** Its key in the storage. Planned when the row is written, and never another afterwards. */
  readonly key: string
  readonly contentType: string
  /** Whether it is in the storage, verified. */
  readonly written: boolean
  /** Its key in the staging, while it waits there. */
  readonly staged?: string
  /** Until when somebody else may put it there, in ISO 8601; undefined once it is there. */
  readonly awaited?: string
  /** Whether that somebody was told. */
  readonly handed?: true
  /** Names the bytes that are meant there, where others may write them: see `ObjectFacts`. */
  readonly etag?: string
  /** Bytes; known once it was made. */
  readonly size?: number
  /** Pixels, where they mean something. */
  readonly width?: number
  readonly height?: number
  /** What it was asked to be. Not for the original. */
  readonly style?: Style
  /** The version under which its key was planned, where that is not the row's: the style has outlived a `reprocess()`. */
  readonly version?: string
}

/** Where a file was staged. */
export interface StagedAt {
  /** Of the staging's area: see `Storage.area()`. */
  readonly id: string
  readonly where: string
  /** The machine's name. */
  readonly host: string
}

/** The JSON column. */
export interface Meta {
  /** Name of the storage. */
  readonly storage: string
  /** The row's primary key as templates print it. */
  readonly id: string
  /** When it was attached, in ISO 8601. Into the column TypeORM writes a successor's moment before anybody reads what it replaces. */
  readonly attachedAt?: string
  readonly styles: Styles
  /** What the picture looks like, in base64: from when a job has decoded it. */
  readonly thumbhash?: string
  /** Styles that are made anew, under keys of their own: until they are all there, those in `styles` are shown. */
  readonly next?: Styles
  /** Replaced files that are still to be deleted: by this version's job, once its own are safe. */
  readonly previous?: readonly VersionFiles[]
  /** One of them, or one that is kept, which is shown until this version is ready. */
  readonly shown?: ShownFile
  /** Versions that the row held before, the latest first: a process that has attached one of them and is late cannot bring it back. */
  readonly earlier?: readonly string[]
  /** How many attempts of this version's job have begun, and not come to an end. */
  readonly begun?: number
  /** Where it is staged, as long as it is. */
  readonly area?: StagedAt
  /** Since when its job has come only to workers that do not see that, in ISO 8601, and how often. */
  readonly elsewhere?: { readonly since: string; readonly times: number }
}

/** A replaced file, as far as showing it takes. */
export interface ShownFile extends Pick<AttachmentRecord, 'version' | 'fileName' | 'fingerprint'>, Pick<Meta, 'storage'> {
  /** ISO 8601. */
  readonly attachedAt: string
  /** Those that are in the storage. */
  readonly styles: Styles
}

/** By name. */
export type Styles = Readonly<Record<string, StyleRecord>>

/** What is written on the row of a file whose job gave up. */
export interface Failure {
  readonly code: string
  readonly message: string
  readonly attempts: number
  /** ISO 8601. */
  readonly at: string
}

/** The attachment's columns of one row with a file attached. */
export interface AttachmentRecord {
  readonly fileName: string
  readonly contentType: string
  /** Bytes. */
  readonly fileSize: number
  readonly updatedAt: Date
  /** SHA-256, hex; null where nobody has read all of it. */
  readonly fingerprint: string | null
  readonly version: string
  readonly processing: boolean
  readonly attemptedAt: Date | null
  readonly error: Failure | null
  readonly meta: Meta
}

/** The same columns of a row without a file. */
export const emptyRecord = {
  fileName: null,
  contentType: null,
  fileSize: null,
  updatedAt: null,
  fingerprint: null,
  version: null,
  processing: false,
  attemptedAt: null,
  error: null,
  meta: null,
} as const

/** 128 random bits in hex: the fence for every race, and what keeps keys from ever being used twice. */
export function newVersion(): string {
  return randomBytes(16).toString('hex')
}

/** Every file that a row's version may have, in the storage and in the staging; apart from the rest what a job may still be writing. */
export function filesOf({ version, processing, meta }: Pick<AttachmentRecord, 'version' | 'processing' | 'meta'>): VersionFiles[] {
  const styles = [...Object.values(meta.styles), ...Object.values(meta.next ?? {})]
  const open = processing ? styles.filter(({ written }) => !written) : []
  const keysOf = (some: readonly StyleRecord[]) => some.map(({ key }) => key)
  const known = { version, storage: meta.storage, keys: keysOf(styles.filter((style) => !open.includes(style))), staged: stagedKeys(meta) }
  return open.length > 0 ? [known, { version, storage: meta.storage, keys: keysOf(open), staged: [], unfinished: true }] : [known]
}

/** What waits in the staging, or is to be put there. */
export function stagedKeys({ styles, next }: Pick<Meta, 'styles' | 'next'>): string[] {
  return [...Object.values(styles), ...Object.values(next ?? {})].flatMap(({ staged }) => staged ?? [])
}

/**
 * Every key that a row refers to, in the storage and in the staging: none of them may be deleted. Of what it replaced, that is what
 * was finished, and may be shown until this version is.
 */
export function referredKeys(record: AttachmentRecord | null | undefined): ReadonlySet<string> {
  const { previous = [], shown } = record?.meta ?? {}
  const files = record ? [...filesOf(record), ...previous.filter(({ unfinished }) => !unfinished)] : []
  const shownKeys = Object.values(shown?.styles ?? {}).map(({ key }) => key)
  return new Set([...files.flatMap(({ keys, staged }) => [...keys, ...staged]), ...shownKeys])
}

/** What a row shows while another file takes its place: of one that is not ready, what it shows itself. Undefined where that is nothing. */
export function shownOf({ version, fileName, fingerprint, updatedAt, meta }: AttachmentRecord): ShownFile | undefined {
  if (meta.shown) return meta.shown
  const written = Object.entries(meta.styles).filter(([, style]) => style.written)
  // a staged copy may be there for a moment still, and says nothing of what is shown
  const styles = Object.fromEntries(written.map(([name, { staged: _, etag: __, ...style }]) => [name, style]))
  const { storage, attachedAt = updatedAt.toISOString() } = meta
  return written.length > 0 ? { version, fileName, fingerprint, attachedAt, storage, styles } : undefined
}

/** What templates and storages ask about a file. */
export interface FileFacts extends Pick<AttachmentRecord, 'version' | 'fileName' | 'fingerprint' | 'updatedAt'> {
  readonly meta: Pick<Meta, 'id' | 'storage' | 'styles' | 'next'>
}

/** What a template may ask about one style of a file; without a file, only what the declaration says. */
export function templateContext(entity: string, attachment: string, style: string, record: FileFacts | null): TemplateContext {
  if (!record) return { entity, attachment, style }
  const { fileName, version, fingerprint, updatedAt, meta } = record
  const { contentType, style: declared, version: own } = meta.styles[style] ?? meta.next?.[style] ?? {}
  return { entity, attachment, style, id: meta.id, version: own ?? version, fileName, fingerprint, updatedAt, contentType, format: declared?.format }
}
