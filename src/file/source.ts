import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { IncomingMessage } from 'node:http'
import { basename } from 'node:path'
import { Readable } from 'node:stream'
import type { ReadableStream as NodeWebStream } from 'node:stream/web'
import { messageOf, RefusedFileError, UsageError } from '../errors'

/** A file somewhere that can be opened when it is needed. Made by `fromPath()`; a request body cannot imitate one. */
export class FileSource {
  constructor(
    readonly open: () => Promise<Readable>,
    readonly fileName?: string,
  ) {}
}

/** A file that a browser has uploaded under a token of ours. Made by `fromDirectUpload()`. */
export class DirectUpload {
  constructor(
    readonly token: string,
    readonly subject: string | null,
  ) {}
}

/**
 * What a browser has uploaded by itself, straight to S3 or to `directUploads()`. The token may come with a request: it is signed.
 *
 * @param token the one that was given with the form; or what Uppy tells as `response.body.key`, with which the token is kept
 * @param subject whose upload it has to be: what `authorize` has returned for it
 */
export function fromDirectUpload(token: string, { subject = null }: { subject?: string | null } = {}): DirectUpload {
  return new DirectUpload(token, subject)
}

/** What multer's memory storage, and so NestJS, hands over. */
export interface BufferedUpload {
  readonly buffer: Uint8Array
  readonly originalname?: string
}

/** What `@fastify/multipart` hands over. */
export interface StreamedUpload {
  readonly file: Readable
  readonly filename?: string
}

/** A web stream, by whoever's types: a `fetch` body, a `Request` body. */
export interface WebStream {
  readonly locked: boolean
  getReader(): unknown
  cancel(reason?: unknown): Promise<void>
}

/** Everything that `attach()` can read a file from. */
export type Source =
  | Uint8Array
  | ArrayBufferView
  | ArrayBuffer
  | Readable
  | WebStream
  | Blob
  | BufferedUpload
  | StreamedUpload
  | FileSource
  | DirectUpload

/**
 * A file on this machine's disk, such as one that formidable or multer's disk storage has put there. It is copied and
 * left where it is. Never give it a path that came with a request.
 *
 * @param fileName the name a person gave it; default the last part of `path`
 */
export function fromPath(path: string, { fileName = basename(path) }: { fileName?: string } = {}): FileSource {
  return new FileSource(async () => {
    const found = await stat(path).catch((error) => {
      throw new RefusedFileError('source_failed', `cannot read the file to attach: ${messageOf(error)}`, { cause: error })
    })
    if (!found.isFile()) throw new RefusedFileError('source_failed', `cannot attach ${path}: it is no regular file`)
    return createReadStream(path, { highWaterMark: 256 * 1024 })
  }, fileName)
}

/**
 * Ends a source that nobody wants any more. What is part of a request is read to its end and thrown away: its connection
 * would be stuck otherwise, and the visitor without an answer.
 */
export function letGo(content: Readable | Buffer): void {
  if (Buffer.isBuffer(content)) return
  const fromRequest = content instanceof IncomingMessage || 'truncated' in content
  if (fromRequest) content.resume()
  else content.destroy()
}

export interface OpenSource {
  readonly content: Readable | Buffer
  readonly fileName?: string
}

/** Opens whatever was given. Refuses what a JSON body could contain, naming the way that works. */
export async function openSource(source: unknown): Promise<OpenSource> {
  if (source instanceof FileSource) return { content: unread(await source.open()), fileName: source.fileName }
  if (source instanceof Readable) return { content: unread(source) }
  if (source instanceof Blob) return { content: fromWeb(source.stream()), fileName: 'name' in source ? text(source.name) : undefined }
  if (source instanceof ReadableStream) return { content: fromWeb(source) }
  const bytes = bytesOf(source)
  if (bytes) return { content: bytes }
  if (source !== null && typeof source === 'object') {
    const upload = source as Record<string, unknown>
    const content = bytesOf(upload['buffer'])
    if (content) return { content, fileName: text(upload['originalname']) }
    if (upload['file'] instanceof Readable) return { content: unread(upload['file']), fileName: text(upload['filename']) }
  }
  throw refusal(source)
}

function bytesOf(value: unknown): Buffer | undefined {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return Buffer.from(value)
  return undefined
}

function unread(stream: Readable): Readable {
  // it may break before it is read; whoever reads it then sees the same error
  stream.on('error', () => undefined)
  if (stream.errored)
    throw new RefusedFileError('source_failed', `the stream to attach broke: ${messageOf(stream.errored)}`, { cause: stream.errored })
  if (stream.readableEncoding) {
    throw new UsageError('source_encoded', `the stream to attach gives text in ${stream.readableEncoding}, not its bytes: leave out setEncoding()`)
  }
  if (stream.readableDidRead || stream.destroyed || stream.readableEnded) {
    throw new RefusedFileError('source_consumed', 'the stream to attach was already read or closed: attach it before anything else reads it')
  }
  return stream
}

function fromWeb(stream: WebStream): Readable {
  if (stream.locked || Readable.isDisturbed(stream as never))
    throw new RefusedFileError('source_consumed', 'the web stream to attach is locked or was read: attach it before anything else reads it')
  return unread(Readable.fromWeb(stream as NodeWebStream))
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function refusal(source: unknown): UsageError {
  const path = ['filepath', 'path'].find((key) => text(Object(source)[key]) !== undefined)
  const cure = path
    ? `if your server wrote that file, say so: attach(…, fromPath(file.${path}, { fileName: … }))`
    : typeof source === 'string'
      ? 'use fromPath(path) for a file of this machine, or Buffer.from(text) for its content'
      : 'give a Buffer, a stream, a Blob, an upload of multer (memory) or @fastify/multipart, or fromPath(path)'
  return new UsageError('source_unknown', `cannot attach ${described(source, path)}, which a request body could contain: ${cure}`)
}

function described(source: unknown, path: string | undefined): string {
  if (source === null || source === undefined) return String(source)
  if (path) return `an object with a '${path}'`
  return typeof source === 'object' ? 'a plain object' : `a ${typeof source}`
}
