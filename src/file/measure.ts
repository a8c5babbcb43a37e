import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { AttachmentError, messageOf, RefusedFileError } from '../errors'
import { jpegEnd } from './jpeg-end'

/** As much of a file's beginning as is kept to tell by what it is. Bytes. */
export const headLength = 64 * 1024

/** What one pass over the bytes tells. */
export interface Measured {
  /** Bytes. */
  readonly size: number
  /** SHA-256, in hex. */
  readonly fingerprint: string
  /** The first 64 KiB. */
  readonly head: Buffer
  /** Whether it starts as a JPEG and never comes to that picture's end. */
  readonly cutShort: boolean
}

function bytesOf(piece: unknown): Buffer {
  if (Buffer.isBuffer(piece)) return piece
  if (ArrayBuffer.isView(piece)) return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
  if (typeof piece === 'string') return Buffer.from(piece)
  throw new RefusedFileError('source_failed', `the stream to attach gives ${typeof piece}s, not bytes`)
}

/** What is handed on at a time of what came in one: so that it is hashed while what came before is being written. Bytes. */
const pieceSize = 256 * 1024

/**
 * Passes a source on while measuring it. The stream ends with an error as soon as more than `maxSize` bytes came, when
 * the source breaks, and when it was empty; `letGo()` of the source then. `facts` resolves once it was read to its end, and rejects
 * when it was not.
 */
export function measured(source: Readable, { maxSize }: { maxSize: number }): { stream: AsyncIterable<Buffer>; facts: Promise<Measured> } {
  const hash = createHash('sha256')
  const head: Buffer[] = []
  const end = jpegEnd()
  let size = 0
  let tell: (facts: Measured) => void
  let fail: (error: unknown) => void
  const facts = new Promise<Measured>((resolve, reject) => {
    tell = resolve
    fail = reject
  })
  facts.catch(() => undefined)

  function* take(chunk: Buffer): Generator<Buffer> {
    for (let at = 0; at < chunk.length; at += pieceSize) {
      const piece = chunk.subarray(at, at + pieceSize)
      if (size < headLength) head.push(piece.subarray(0, headLength - size))
      size += piece.length
      if (size > maxSize) throw new RefusedFileError('too_large', `the file is larger than the ${maxSize} bytes that are accepted`)
      hash.update(piece)
      end.take(piece)
      yield piece
    }
  }

  async function* read(): AsyncGenerator<Buffer> {
    try {
      // destroying it here would be too early for whoever has to answer the request that it belongs to
      for await (const chunk of source.iterator({ destroyOnReturn: false })) yield* take(bytesOf(chunk))
    } catch (error) {
      if (error instanceof AttachmentError) throw error
      throw new RefusedFileError('source_failed', `the file did not arrive whole: ${messageOf(error)}`, { cause: error })
    }
    // busboy, under multer and @fastify/multipart, ends a stream that hit its own limit as if nothing were wrong
    if ('truncated' in source && source.truncated === true) {
      throw new RefusedFileError('too_large', "the upload was cut off by the multipart parser's own size limit: raise it, or tell the visitor")
    }
    if (size === 0) throw new RefusedFileError('empty', 'the file is empty')
    tell({ size, fingerprint: hash.digest('hex'), head: Buffer.concat(head), cutShort: end.missing })
  }

  async function* pass(): AsyncGenerator<Buffer> {
    try {
      yield* read()
    } finally {
      // which says nothing to whoever was told
      fail(new Error('the file was not read to its end'))
    }
  }

  return { stream: pass(), facts }
}
