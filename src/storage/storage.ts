import type { Readable } from 'node:stream'

/** What is said about an object when it is written, and kept with it where the storage can. */
export interface ObjectInfo {
  readonly contentType: string
  /** Bytes, where known: lets a storage choose between one request and many. */
  readonly size?: number
  /** The name a browser offers when somebody saves the file. */
  readonly fileName?: string
}

/** What is written by somebody who may write it once. */
export interface WriteInfo extends ObjectInfo {
  /** Refuses, with `object_exists`, where something is there already. */
  readonly once?: boolean
}

/** What a storage tells of an object. */
export interface ObjectFacts {
  /** Bytes. */
  readonly size: number
  /** Names exactly these bytes, where the storage can tell: other ones under the same key have another. */
  readonly etag?: string
  /** What `UploadInfo` says of it. */
  readonly token?: string
}

/** Which bytes are to be read. */
export interface ReadOptions {
  /** As `stat()` told it: what has another is refused with `object_changed`. */
  readonly etag?: string
  /** Only so many bytes from the beginning, at least 1; all of them where there are fewer. */
  readonly length?: number
}

/** What is copied. */
export interface CopyInfo extends ObjectInfo {
  /** As in `ReadOptions`, of what is copied. */
  readonly etag?: string
}

export interface SignedUrlOptions {
  /** Seconds for which the URL works, at least. */
  readonly expiresIn: number
  /** The name under which it is to be saved; asks the browser to download instead of showing. */
  readonly fileName?: string
  /** Whether the same URL is to be given for a while, for caches, and then another. A storage that cannot may ignore it. */
  readonly stable?: boolean
}

/** One of the things that a storage holds. */
export interface StoredObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** When it was written, by the clock of the storage. */
  readonly modified: Date
}

/** How a browser brings an object to a storage by itself. */
export interface UploadForm {
  /** A form that is posted, its fields first and then the file as `file`; or the bytes alone. */
  readonly method: 'POST' | 'PUT'
  readonly url: string
  readonly fields: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

/** A part of a large upload that has arrived. Parts count from 1. */
export interface UploadedPart {
  readonly number: number
  readonly etag: string
  /** Bytes. */
  readonly size: number
}

/** An object that somebody else is to write: its size and type are signed. */
export interface UploadInfo extends ObjectInfo {
  readonly size: number
  /** Kept with the object, and signed as all of it: `stat()` tells it. At most 1 KiB of ASCII. */
  readonly token?: string
}

/** Lets others write objects, each under a signature that expires. */
export interface DirectUploads {
  /** Signs the upload of exactly this: key, type and size. Seconds. */
  form(key: string, info: UploadInfo, expiresIn: number): Promise<UploadForm>
  /** Signs one PUT of a size that nobody knows yet, for a service that is trusted. Seconds. */
  place(key: string, contentType: string, expiresIn: number): Promise<UploadForm>
  /** Begins an upload in parts, and gives its id. Nobody signs the size of all parts: look at `parts()` before `complete()`. */
  begin(key: string, info: UploadInfo): Promise<string>
  /** Signs the upload of one part: the URL to PUT it to. Seconds. */
  part(key: string, uploadId: string, number: number, expiresIn: number): Promise<string>
  /** What has arrived. Rejects with `upload_missing` where the upload has ended, or never began. */
  parts(key: string, uploadId: string): Promise<readonly UploadedPart[]>
  /**
   * Makes one object of the parts. Rejects with `upload_missing` where the upload has ended or never began, and with `bad_parts`
   * where these are not what has arrived, or one before the last is too small (5 MiB on S3).
   */
  complete(key: string, uploadId: string, parts: readonly Pick<UploadedPart, 'number' | 'etag'>[]): Promise<void>
  /** Gives it up, and what has arrived. One that is not there is no error. */
  abort(key: string, uploadId: string): Promise<void>
  /** The key here of an object of some bucket, or of this one; undefined where it is none of this storage. */
  keyOf(objectKey: string, bucket?: string): string | undefined
}

/** A place that some machines share and others do not see. */
export interface StorageArea {
  /** Whoever sees the same id sees the same objects. */
  readonly id: string
  /** In words, for people: `/srv/app/staging`, `bucket 'photos' below 'staging/'`. */
  readonly where: string
}

/**
 * Where originals and styles live. A handful of verbs; `memoryStorage` is the smallest example. Keys are relative
 * paths with `/` between segments. Every failure is a `StorageError`.
 */
export interface Storage {
  /**
   * Makes `key` hold exactly these bytes, or throws and leaves nothing under it that was not there before. When it
   * returns the bytes are durable. A stream is read to its end or destroyed.
   */
  write(key: string, body: Readable | Uint8Array, info: WriteInfo): Promise<void>
  /** The bytes. Rejects with code `object_missing` when there are none. */
  read(key: string, options?: ReadOptions): Promise<Readable>
  /** What is there, or undefined when nothing is. */
  stat(key: string): Promise<ObjectFacts | undefined>
  /** Deletes what exists of these keys, and folders that this leaves empty. A key that is not there is no error. */
  delete(keys: readonly string[]): Promise<void>
  /** Where a browser finds the object, or null when no web server shows it. Must not wait for anything. */
  url(key: string): string | null
  /**
   * What is stored below a prefix, in any order; a key that vanishes meanwhile may be missing. The prefix is the beginning
   * of a key, of whole segments or not: `a/b` finds `a/b`, `a/bc` and `a/b/c`, and `''` finds everything. Needed of a
   * staging, so that what nobody saved can be swept.
   */
  list?(prefix: string): AsyncIterable<StoredObject>
  /** Called once by `connect()`, before anything else: reach what has to be reached, or say what is wrong. */
  prepare?(): Promise<void>
  /** A URL that works for a while without any other credential. */
  signedUrl?(key: string, options: SignedUrlOptions): Promise<string>
  /**
   * Makes `key` hold what another storage holds under `fromKey`, without its bytes passing through this process; otherwise like
   * `write()`. False, and nothing has happened, where that cannot be done; then it is read and written.
   */
  copy?(from: Storage, fromKey: string, key: string, info: CopyInfo): Promise<boolean>
  /** Lets browsers write to it. Without, they send the bytes to the application, which writes them. */
  readonly uploads?: DirectUploads
  /** Which place this is. Lets a worker that does not see what is staged say so, and leave the job to another. */
  area?(): Promise<StorageArea>
  /** Path of the object on this machine's disk: lets a processor read it without a copy. */
  localPath?(key: string): string
}

/** Percent-encodes each segment of a key, for a URL. */
export function encodeKey(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/')
}

/** The URL of a key below a base URL. */
export function urlBelow(base: string, key: string): string {
  return `${base.replace(/\/+$/, '')}/${encodeKey(key)}`
}
