import type { Processor } from '../processor/processor'
import type { StyleOptions } from '../style/style'

/** The attachment's columns; each has a property of the same name on the attached file. */
export const columnNames = [
  'fileName',
  'contentType',
  'fileSize',
  'updatedAt',
  'fingerprint',
  'version',
  'processing',
  'attemptedAt',
  'error',
  'meta',
] as const
export type ColumnName = (typeof columnNames)[number]

/** What a `defaultUrl` or `processingUrl` function is told of the file; all but the attachment's name may be missing. */
export interface FallbackFile {
  readonly present: boolean
  readonly processing: boolean
  readonly fileName: string | null
  readonly contentType: string | null
  readonly fileSize: number | null
  readonly version: string | null
}

/** A template, or a function of style and file, that gives the URL to show when a style has none yet. */
export type Fallback<S extends string> = string | ((style: S | 'original', file: FallbackFile) => string | null)

/** Styles by name. */
export type StyleMap<S extends string> = { readonly [name in S]: StyleOptions }

/** How the job of an attachment is carried. What an engine does not have, it leaves out: see its own page. */
export interface BackgroundOptions<S extends string> {
  /** The styles that are made later; the others are made while attaching. Default: all of them. */
  readonly only?: readonly S[]
  /** Name of the queue. Default `'default'`. */
  readonly queue?: string
  /** Lower numbers come first: an integer from 0, the default, to 2,097,152. */
  readonly priority?: number
  /** Milliseconds to wait before the first attempt, at most a day. Default 0. */
  readonly delay?: number
}

/** What `@Attachment()` is told. */
export interface AttachmentOptions<S extends string> {
  /**
   * What to make of each file. A function is asked once per file, with the entity, when the file is attached; it must
   * always name the same styles.
   */
  styles?: StyleMap<S> | ((entity: never) => StyleMap<S>)
  /** Content types that are taken, such as `['image/jpeg', 'image/*']`. `'any'` takes everything, and must be said. */
  accept: readonly string[] | 'any'
  /** The largest file taken: bytes, or `'10 MB'` (1024-based). Default: no limit. */
  maxSize?: number | string
  /** Template of the keys. Default `':class/:attachment/:id_partition/:version/:style/:filename'`. */
  path?: string
  /** Template of the URLs; `:path` is the key. Default: the storage's own URL. */
  url?: string
  /** Shown when there is nothing else to show. Default: `url()` is null. */
  defaultUrl?: Fallback<NoInfer<S>>
  /** Shown while a style is not made. Default: `defaultUrl`. */
  processingUrl?: Fallback<NoInfer<S>>
  /**
   * What is shown of a file that has replaced another, until all of it is ready: `'placeholder'` (the default), which is `processingUrl`
   * and so on as for a first file; or `'previous'`, the one that it has replaced.
   */
  whileProcessing?: 'placeholder' | 'previous'
  /**
   * When styles are made and files move to the storage. `true` (the default): later, by the background adapter; an object says
   * more about that. `false`: right after the commit.
   */
  processInBackground?: boolean | BackgroundOptions<NoInfer<S>>
  /**
   * Leaves the files in the storage when another is attached, or the file is detached. Styles that `reprocess()` replaces go in
   * any case. Default false.
   */
  keepOldFiles?: boolean
  /** The same, and also when the entity is removed. Default false. */
  preserveFiles?: boolean
  /** Name of the storage, where the set-up has several. Default: the first. */
  storage?: string
  /** Makes the styles; several form a chain. Default `[imageProcessor()]`. */
  processors?: readonly Processor[]
  /** Names of single columns. Default: the property in snake case, then `_file_name` and so on. */
  columns?: Partial<Record<ColumnName, string>>
  /** Tokens of your own for the templates, by name. */
  tokens?: Readonly<
    Record<string, (file: { readonly style: string; readonly fileName?: string; readonly id?: string; readonly version?: string }) => string>
  >
  /** Makes `:hash` possible: the key of its HMAC. */
  secret?: string
  /** What `:hash` is made of. Default `':class/:attachment/:id/:style/:updated_at'`. */
  hashData?: string
}

/** Every option that exists, so that a misspelt one can be told. */
export const optionNames = [
  'styles',
  'accept',
  'maxSize',
  'path',
  'url',
  'defaultUrl',
  'processingUrl',
  'whileProcessing',
  'processInBackground',
  'keepOldFiles',
  'preserveFiles',
  'storage',
  'processors',
  'columns',
  'tokens',
  'secret',
  'hashData',
] as const satisfies ReadonlyArray<keyof AttachmentOptions<string>>

/** All defaults, in one place. */
export const defaults = {
  path: ':class/:attachment/:id_partition/:version/:style/:filename',
  hashData: ':class/:attachment/:id/:style/:updated_at',
  processInBackground: true,
  whileProcessing: 'placeholder',
} as const
