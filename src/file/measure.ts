import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { AttachmentError, messageOf, RefusedFileError } from '../errors'
import { jpegEnd } from './jpeg-end'

/** As much of a file's beginning as is kept to tell its type by. */
const headLength = 64 * 1024

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

/**
 * Passes a source on while measuring it. The stream ends with an error as soon as more than `maxSize` bytes came, when
 * the source breaks, and when it was empty; `letGo()` of the source then. Ask for `result()` once it was read to its end.
 */
export function measured(source: Readable, { maxSize }: { maxSize: number }): { stream: AsyncIterable<Buffer>; result(): Measured } {
  const hash = createHash('sha256')
  const head: Buffer[] = []
  const end = jpegEnd()
  let size = 0

  async function* pass(): AsyncGenerator<Buffer> {
    try {
      // destroying it here would be too early for whoever has to answer the request that it belongs to
      for await (const piece of source.iterator({ destroyOnReturn: false })) {
        const chunk = bytesOf(piece)
        if (size < headLength) head.push(chunk.subarray(0, headLength - size))
        size += chunk.length
        if (size > maxSize) throw new RefusedFileError('too_large', `the file is larger than the ${maxSize} bytes that are accepted`)
        hash.update(chunk)
        end.take(chunk)
        yield chunk
      }
    } catch (error) {
      if (error instanceof AttachmentError) throw error
      throw new RefusedFileError('source_failed', `the file did not arrive whole: ${messageOf(error)}`, { cause: error })
    }
    // busboy, under multer and @fastify/multipart, ends a stream that hit its own limit as if nothing were wrong
    if ('truncated' in source && source.truncated === true) {
      throw new RefusedFileError('too_large', "the upload was cut off by the multipart parser's own size limit: raise it, or tell the visitor")
    }
    if (size === 0) throw new RefusedFileError('empty', 'the file is empty')
  }

  return {
    stream: pass(),
    result: () => ({ size, fingerprint: hash.digest('hex'), head: Buffer.concat(head), cutShort: end.missing }),
  }
}
