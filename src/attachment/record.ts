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
  /** Bytes; known once it was made. */
  readonly size?: number
  /** Pixels, where they mean something. */
  readonly width?: number
  readonly height?: number
  /** What it was asked to be. Not for the original. */
  readonly style?: Style
}

/** The JSON column. */
export interface Meta {
  /** Name of the storage. */
  readonly storage: string
  /** The row's primary key as templates print it. */
  readonly id: string
  readonly styles: Readonly<Record<string, StyleRecord>>
  /** Replaced versions whose files are still to be deleted: by this version's job, once its own are safe. */
  readonly previous?: readonly VersionFiles[]
}

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
  /** SHA-256, hex. */
  readonly fingerprint: string
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

/** Every file that a row's version may have, in the storage and in the staging. */
export function filesOf({ version, meta }: Pick<AttachmentRecord, 'version' | 'meta'>): VersionFiles {
  const styles = Object.values(meta.styles)
  return {
    version,
    storage: meta.storage,
    keys: styles.map(({ key }) => key),
    staged: styles.flatMap(({ staged }) => staged ?? []),
  }
}

/** What a template may ask about one style of a file; without a file, only what the declaration says. */
export function templateContext(entity: string, attachment: string, style: string, record: AttachmentRecord | null): TemplateContext {
  if (!record) return { entity, attachment, style }
  const { fileName, version, fingerprint, updatedAt, meta } = record
  const { contentType, style: declared } = meta.styles[style] ?? {}
  return { entity, attachment, style, id: meta.id, version, fileName, fingerprint, updatedAt, contentType, format: declared?.format }
}
