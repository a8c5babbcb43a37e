import type { Readable } from 'node:stream'
import { checkStyleName, type Definition } from '../definition/definition'
import { UsageError } from '../errors'
import { isOpaque } from '../processor/thumbhash'
import { encodeKey, type SignedUrlOptions, type Storage } from '../storage/storage'
import type { TemplateContext } from '../template/tokens'
import { type Choice, choiceOf } from './choice'
import { type PictureOptions, pictureOf, type SrcsetOptions, srcsetOf } from './picture'
import { placeholderUrl } from './placeholder'
import { type News, type ReadyOptions, untilReady } from './ready'
import { type Failure, type FileFacts, type Meta, type StyleRecord, templateContext } from './record'

/** Seconds. */
const year = 365 * 24 * 60 * 60

declare const styleNames: unique symbol

/** What an attached file knows besides its columns: set once for each entity's attachment, when `connect()` is called. */
export interface Surroundings {
  /** The entity's class name, for templates. */
  readonly entity: string
  readonly staging: Storage
  readonly news: News
  /** Throws a `UsageError` for a name that is not configured. */
  storage(name: string | undefined): Storage
}

/**
 * The value on an entity: `user.avatar`. Its own properties are the columns; everything else is worked out from them,
 * with no query and no file access but for `signedUrl()` and `stream()`.
 */
export class Attached<S extends string = never> {
  /** Set by the decorator on a class of its own for each attachment. */
  static readonly definition: Definition | undefined
  /** Set by `connect()` on a class of its own for each connected entity. */
  static readonly surroundings: Surroundings | undefined
  /** For the compiler alone: a file with more styles may stand where one with fewer is asked for, and no other way round. */
  declare readonly [styleNames]: (style: S) => void

  /** What the file is called, made safe. Null without a file, like the other facts. */
  declare readonly fileName: string | null
  /** By the file's bytes, not by what anybody said. */
  declare readonly contentType: string | null
  /** Bytes. */
  declare readonly fileSize: number | null
  /** When it was attached. */
  declare readonly updatedAt: Date | null
  /** SHA-256 of the original, in hex. Null too for what a browser brought to the storage by itself. */
  declare readonly fingerprint: string | null
  /** Random, new for every file. */
  declare readonly version: string | null
  /** True from save until every style is verified in the storage. */
  declare readonly processing: boolean
  /** When a job was last enqueued for it, or was at work on it, or is to try again; null when nothing is left to do. */
  declare readonly attemptedAt: Date | null
  /** Why its job gave up; null otherwise. */
  declare readonly error: Failure | null
  /** What the library remembers: not for use. */
  declare readonly meta: Meta | null

  /** Whether a file is attached. */
  get present(): boolean {
    return this.fileName != null
  }

  /** Whether the upload that `expect()` has announced is yet to come. */
  get awaiting(): boolean {
    return this.meta?.styles['original']?.awaited !== undefined
  }

  /** Pixels of the original as it is looked at, or null where it has none. */
  get width(): number | null {
    return this.meta?.styles['original']?.width ?? null
  }

  get height(): number | null {
    return this.meta?.styles['original']?.height ?? null
  }

  /**
   * Where a browser finds the style: once it is made, its own URL; until then that of the file which this one has replaced, where the
   * attachment is declared so, else `processingUrl`, else `defaultUrl`, else the original's. Null when there is nothing to show. Throws
   * a `UsageError` for a style that is not declared.
   */
  url(style: S | 'original' = 'original'): string | null {
    const sight = sightOf(this, style)
    const own = sight && urlOf(this, style, sight)
    if (own || sight?.record.written) return own ?? null
    const original = sightOf(this, 'original')
    return fallbackFor(this, style, sight?.record) ?? (sight && original ? urlOf(this, 'original', original) : null)
  }

  /** The style's key in its storage, planned or written; null without a file. */
  path(style: S | 'original' = 'original'): string | null {
    return recordOf(this, style)?.key || null
  }

  /**
   * A URL that works for `expiresIn` seconds (default 3600), for files that are not public, be it in the storage or in the staging.
   * What is not made yet answers as by `url()`: `processingUrl`, else `defaultUrl`, else the original's, signed; or the replaced file's.
   *
   * @param fileName asks the browser to save the file, under this name
   * @param stable gives the same URL for a while, so that browsers and CDNs cache what is behind it. From `s3Storage` it changes
   * every `expiresIn / 2` seconds, and with the credentials; it works for `expiresIn` seconds at least, half as long again at
   * most, and `expiresIn` is 403,200 at most. Storages of other kinds may ignore it. Default false.
   */
  async signedUrl(
    style: S | 'original' = 'original',
    { expiresIn = 3600, fileName, stable }: { expiresIn?: number; fileName?: string; stable?: boolean } = {},
  ): Promise<string | null> {
    const options = { expiresIn, fileName, stable }
    const sight = sightOf(this, style)
    const own = sight && (await signedUrlOf(this, sight, options))
    if (own || sight?.record.written) return own ?? null
    const original = sightOf(this, 'original')
    return fallbackFor(this, style, sight?.record) ?? (sight && original ? signedUrlOf(this, original, options) : null)
  }

  /** The signed URLs of all styles, by name, as `signedUrl()` gives each: for `picture()`, or the answer of an API. The original is not among them. */
  async signedUrls(options: { expiresIn?: number; stable?: boolean } = {}): Promise<Record<S, string | null>> {
    const signed = stylesOf(this).map(async (style) => [style, await this.signedUrl(style, options)] as const)
    return Object.fromEntries(await Promise.all(signed)) as Record<S, string | null>
  }

  /**
   * A data URL to show until the picture is there, about 1 KB: what it looks like, from when a job has decoded it, and before that a
   * grey rectangle of its size. Null for what has no pixels.
   */
  placeholder(): string | null {
    const { width, height } = this
    const thumbhash = thumbhashOf(this)
    if (!this.present || !width || !height) return null
    return placeholderUrl({ width, height }, thumbhash)
  }

  /**
   * For the attribute `srcset` of an `<img>`: the styles that are in the storage, as browsers choose from by their widths, in one form
   * that every browser shows. Empty while there are none.
   */
  srcset(options: SrcsetOptions<S> = {}): string {
    const choice = chosen(this, options)
    return choice ? srcsetOf(choice.img, urlsFor(this, options)) : ''
  }

  /**
   * The HTML of a picture from which browsers choose the size and the form that they need, with the placeholder until it is there, and
   * room for it from the beginning. Without a file, and where its job has failed, it shows `defaultUrl`, and is empty where that is null.
   */
  picture(options: PictureOptions<S>): string {
    const thumbhash = thumbhashOf(this)
    const instead = this.present && !this.error ? this.placeholder() : fallbackFor(this, 'original', undefined)
    // which is not that of a picture that is shown in its place
    const behind = thumbhash && isOpaque(thumbhash) && !this.meta?.shown ? this.placeholder() : null
    return pictureOf(chosen(this, options), { instead, behind }, options, urlsFor(this, options))
  }

  /**
   * Waits until the style is in the storage, be it brought there by this process or another, and shows this value what its row says
   * then. Rejects with a `ProcessingError` where the job has failed, and with a `UsageError`: `not_ready` after the timeout, and
   * where there is nothing to wait for; `file_gone` where the row has another file by now.
   */
  async ready(style: S | 'original' = 'original', options: ReadyOptions = {}): Promise<this> {
    const { definition, surroundings } = attachmentOf(this)
    checkStyleName(definition, style)
    const name = `${surroundings.entity}.${definition.property}`
    return Object.assign(this, await untilReady(this, style, name, surroundings.news, options))
  }

  /**
   * A token that lets a page watch this file by `attachments.watch()`, whatever becomes of it. Throws a `UsageError` without a file, and
   * where `new Attachments()` has no `secret`.
   *
   * @param expiresIn seconds in which watching has to begin, up to a year; default 3600
   */
  watchToken({ expiresIn = 3600 }: { expiresIn?: number } = {}): string {
    const { definition, surroundings } = attachmentOf(this)
    if (!(expiresIn >= 1 && expiresIn <= year)) {
      throw new UsageError('bad_expiry', `a token to watch cannot be good for ${expiresIn} seconds: give 1 to ${year} (a year)`)
    }
    if (this.version) return surroundings.news.watchToken(this.version, expiresIn)
    throw new UsageError('nothing_attached', `${surroundings.entity}.${definition.property} has no file that could be watched: attach() one first`)
  }

  /** The style's bytes: from the storage, or from the staging while it waits there. Rejects with `not_ready` when it is in neither. */
  async stream(style: S | 'original' = 'original'): Promise<Readable> {
    const { definition, surroundings } = attachmentOf(this)
    const record = recordOf(this, style)
    const stored = () => surroundings.storage(this.meta?.storage).read(record?.key as string)
    if (record?.written) return stored()
    // this value may be older than its row: then the file has moved to the key that was planned for it
    if (record?.staged && !record.awaited)
      return surroundings.staging.read(record.staged, { etag: record.etag }).catch((error) => stored().catch(() => Promise.reject(error)))
    const why = this.awaiting ? 'its upload has not arrived' : this.present ? `'${style}' is not made yet` : 'no file is attached'
    throw new UsageError('not_ready', `${surroundings.entity}.${definition.property} has nothing to read: ${why}`)
  }

  /** URLs and facts for an API's answer; never keys, digests or the text of errors. */
  toJSON() {
    const styles = stylesOf(this)
    return {
      present: this.present,
      processing: this.processing ?? false,
      failed: this.error != null,
      fileName: this.fileName ?? null,
      contentType: this.contentType ?? null,
      fileSize: this.fileSize ?? null,
      updatedAt: this.updatedAt ?? null,
      width: this.width,
      height: this.height,
      url: this.url(),
      styles: Object.fromEntries(styles.map((style) => [style, this.url(style)])) as Record<S, string | null>,
    }
  }
}

/** An attached file of whatever styles. */
export type AnyAttached = Attached<never>

/** Definition and surroundings of a value's class. Throws a `UsageError` before `connect()`. */
export function attachmentOf(value: AnyAttached): { definition: Definition; surroundings: Surroundings } {
  const { definition, surroundings } = value.constructor as typeof Attached
  if (!definition || !surroundings) {
    const name = definition ? `${definition.entity}.${definition.property}` : 'this attachment'
    throw new UsageError(
      'not_connected',
      `${name} is not connected: call await attachments.connect(dataSource) first, and let TypeORM or attach() make the value`,
    )
  }
  return { definition, surroundings }
}

/** The names of all styles: as they are declared, or where a function does that, those of this file. */
function stylesOf<S extends string>(value: Attached<S>): S[] {
  const { styleNames } = attachmentOf(value).definition
  const known = { ...value.meta?.shown?.styles, ...value.meta?.styles }
  return (styleNames ?? Object.keys(known).filter((name) => name !== 'original')) as S[]
}

function thumbhashOf({ meta }: AnyAttached): Uint8Array | undefined {
  return meta?.thumbhash === undefined ? undefined : Buffer.from(meta.thumbhash, 'base64')
}

/** What a page may choose from. */
function chosen<S extends string>(value: Attached<S>, { styles }: SrcsetOptions<S>): Choice | null {
  for (const style of styles ?? []) recordOf(value, style)
  const { shown, next, styles: own } = value.meta ?? {}
  return shown ? choiceOf(shown.styles, styles, true) : choiceOf({ ...next, ...own }, styles, !value.processing)
}

/** The URLs of styles that are in the storage. */
function urlsFor<S extends string>(value: Attached<S>, { urls }: SrcsetOptions<S>): (name: string) => string {
  const { definition, surroundings } = attachmentOf(value)
  return (name) => {
    const sight = sightOf(value, name)
    const url = urls ? urls[name] : sight && urlOf(value, name, sight)
    if (url) return url
    const cure = urls
      ? `urls has none for '${name}': give those of signedUrls(), or styles that it has`
      : `its storage has URLs only when they are signed: give { urls: await ${definition.property}.signedUrls() }`
    throw new UsageError('url_missing', `${surroundings.entity}.${definition.property} cannot be shown: ${cure}`)
  }
}

/** What the row knows of a style; undefined where the file has none. Throws for a name nobody declared. */
function recordOf(value: AnyAttached, style: string): StyleRecord | undefined {
  const styles = { ...value.meta?.next, ...value.meta?.styles }
  const record = Object.hasOwn(styles, style) ? styles[style] : undefined
  if (!record) checkStyleName((value.constructor as typeof Attached).definition, style)
  return record
}

/** A style of the file that is shown. */
interface Sight {
  readonly file: FileFacts
  readonly record: StyleRecord
}

/** What is shown as a style: until a file that has replaced another is ready, that is the other, as far as it has this style. */
function sightOf(value: AnyAttached, style: string): Sight | undefined {
  const record = recordOf(value, style)
  const { shown, id = '' } = value.meta ?? {}
  const earlier = shown && Object.hasOwn(shown.styles, style) ? shown.styles[style] : undefined
  if (!shown || !earlier) return record && { file: value as FileFacts, record }
  const { storage, styles, attachedAt, ...facts } = shown
  return { file: { ...facts, updatedAt: new Date(attachedAt), meta: { id, storage, styles } }, record: earlier }
}

function urlOf(value: AnyAttached, style: string, { file, record: { key, written, staged, awaited } }: Sight): string | null {
  const { definition, surroundings } = attachmentOf(value)
  if (!written) return staged === undefined || awaited ? null : surroundings.staging.url(staged)
  if (!definition.url) return surroundings.storage(file.meta.storage).url(key)
  return definition.url.render({ ...contextOf(value, style, file), key }, encodeKey)
}

async function signedUrlOf(value: AnyAttached, { file, record }: Sight, options: SignedUrlOptions): Promise<string | null> {
  const { key, written, staged, awaited } = record
  const { definition, surroundings } = attachmentOf(value)
  if (!written) {
    const { staging } = surroundings
    return staged === undefined || awaited ? null : (staging.signedUrl?.(staged, options) ?? staging.url(staged))
  }
  const storage = surroundings.storage(file.meta.storage)
  if (storage.signedUrl) return storage.signedUrl(key, options)
  throw new UsageError(
    'no_signed_urls',
    `${surroundings.entity}.${definition.property} is in a storage that signs no URLs: use url(), or keep it in s3Storage`,
  )
}

/** What is shown instead of a style that is not there. */
function fallbackFor(value: AnyAttached, style: string, record: StyleRecord | undefined): string | null {
  const { definition } = attachmentOf(value)
  const context = contextOf(value, style, value.meta ? (value as FileFacts) : null)
  // a style that this file has none of will not come: there is nothing to wait for
  const processing = value.processing && record ? definition.processingUrl(style, value, context) : null
  return processing ?? definition.defaultUrl(style, value, context)
}

/** What a template may ask about a style of a file. */
function contextOf(value: AnyAttached, style: string, file: FileFacts | null): TemplateContext {
  const { definition, surroundings } = attachmentOf(value)
  return templateContext(surroundings.entity, definition.property, style, file)
}
