import type { Readable } from 'node:stream'

/** What is said about an object when it is written, and kept with it where the storage can. */
export interface ObjectInfo {
  readonly contentType: string
  /** Bytes, where known: lets a storage choose between one request and many. */
  readonly size?: number
  /** The name a browser offers when somebody saves the file. */
  readonly fileName?: string
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
  write(key: string, body: Readable | Uint8Array, info: ObjectInfo): Promise<void>
  /** The bytes. Rejects with code `object_missing` when there are none. */
  read(key: string): Promise<Readable>
  /** Size in bytes, or undefined when nothing is there. */
  stat(key: string): Promise<{ readonly size: number } | undefined>
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
  copy?(from: Storage, fromKey: string, key: string, info: ObjectInfo): Promise<boolean>
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
