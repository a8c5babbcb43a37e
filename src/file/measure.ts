import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
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

/** A source on its way to where it is kept. */
export interface Passing {
  /** What is to be written. */
  readonly body: Readable | Buffer
  /** Bytes, where that is known by now. */
  readonly size?: number
  /** Resolves once everything was looked at, and rejects where the body does not come to its end. */
  readonly facts: Promise<Measured>
}

/** What is looked at in one go: so that others, and what is being written, get their turn meanwhile. Bytes. */
const pieceSize = 256 * 1024

/**
 * Measures a source while it is being written. A stream ends with an error as soon as more than `maxSize` bytes came, when the source
 * breaks, and when it was empty; `letGo()` of the source then. Bytes that are refused are so at once.
 */
export function measured(source: Readable | Buffer, limits: { maxSize: number }): Passing {
  const meter = meterOf(limits)
  if (Buffer.isBuffer(source)) {
    meter.check(source.length)
    return { body: source, size: source.length, facts: inTheirTurn(meter, source) }
  }
  let tell: (facts: Measured) => void
  let fail: (error: Error) => void
  const facts = new Promise<Measured>((resolve, reject) => {
    tell = resolve
    fail = reject
  })
  facts.catch(() => undefined)

  async function* pass(): AsyncGenerator<Buffer> {
    try {
      yield* read(source as Readable, meter)
      tell(meter.facts())
    } finally {
      // which says nothing to whoever was told
      fail(new Error('the file was not read to its end'))
    }
  }
  return { body: Readable.from(pass(), { objectMode: false }), facts }
}

async function inTheirTurn(meter: Meter, bytes: Buffer): Promise<Measured> {
  for (const piece of piecesOf(bytes)) {
    await setImmediate()
    meter.take(piece)
  }
  return meter.facts()
}

async function* read(source: Readable, meter: Meter): AsyncGenerator<Buffer> {
  try {
    // destroying it here would be too early for whoever has to answer the request that it belongs to
    for await (const chunk of source.iterator({ destroyOnReturn: false })) {
      for (const piece of piecesOf(bytesOf(chunk))) {
        meter.take(piece)
        yield piece
      }
    }
  } catch (error) {
    if (error instanceof AttachmentError) throw error
    throw new RefusedFileError('source_failed', `the file did not arrive whole: ${messageOf(error)}`, { cause: error })
  }
  // busboy, under multer and @fastify/multipart, ends a stream that hit its own limit as if nothing were wrong
  if ('truncated' in source && source.truncated === true) {
    throw new RefusedFileError('too_large', "the upload was cut off by the multipart parser's own size limit: raise it, or tell the visitor")
  }
  meter.check()
}

type Meter = ReturnType<typeof meterOf>

/** Adds up what passes. */
function meterOf({ maxSize }: { maxSize: number }) {
  const hash = createHash('sha256')
  const head: Buffer[] = []
  const end = jpegEnd()
  let size = 0
  /** Throws where a whole of so many bytes is refused. */
  const check = (whole = size) => {
    if (whole > maxSize) throw new RefusedFileError('too_large', `the file is larger than the ${maxSize} bytes that are accepted`)
    if (whole === 0) throw new RefusedFileError('empty', 'the file is empty')
  }
  return {
    check,
    take(piece: Buffer): void {
      if (size < headLength) head.push(Buffer.from(piece.subarray(0, headLength - size)))
      size += piece.length
      check()
      hash.update(piece)
      end.take(piece)
    },
    facts: (): Measured => ({ size, fingerprint: hash.digest('hex'), head: Buffer.concat(head), cutShort: end.missing }),
  }
}

function* piecesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += pieceSize) yield bytes.subarray(at, at + pieceSize)
}

function bytesOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (typeof chunk === 'string') return Buffer.from(chunk)
  throw new RefusedFileError('source_failed', `the stream to attach gives ${typeof chunk}s, not bytes`)
}
