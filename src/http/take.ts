import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { codeOf, UsageError } from '../errors'
import type { Storage, UploadForm } from '../storage/storage'
import { answer } from './answer'
import { bytesOf, contentTypeOf } from './body'
import { fileOf } from './form-body'
import { alreadyUploaded, tooLarge, tooSmall } from './refusals'
import type { PlannedUpload, UploadPort } from './upload-port'

/** No parser of bodies takes this one apart: what it gives back of others may be other bytes. */
const anyBytes = 'application/octet-stream'

/** How an upload is sent to the handler itself, which is mounted at `path`. */
export function formHere(path: string, token: string): UploadForm {
  return { method: 'PUT', url: `${path}?upload=${token}`, fields: {}, headers: { 'content-type': anyBytes } }
}

/**
 * Takes the bytes of an upload, by PUT or as the `file` of a form, for a staging to which browsers cannot write. Exactly what was
 * promised is kept, and once; of anything else nothing stays. What is too large is not read to its end.
 */
export async function take(request: Request, token: string, port: UploadPort): Promise<Response> {
  const planned = port.open(token)
  const { key, info } = planned
  // without this a second upload would be refused only after all of it came
  if (await port.staging.stat(key)) {
    // it is sent again where the answer was none, and then nobody may have been told
    await port.arrived(key)
    throw alreadyUploaded()
  }
  await keep(request.method === 'POST' ? fileOf(request, info.size) : bodyOf(request, info.size), planned, port.staging)
  await port.arrived(key)
  // Uppy waits for an ETag
  return answer({}, 200, { headers: { etag: `"${createHash('sha256').update(token).digest('hex')}"` } })
}

/** The body of a request, which is the file. A length that is wrong is refused before a byte is read. */
function bodyOf(request: Request, size: number): AsyncIterable<Uint8Array> {
  const type = contentTypeOf(request)
  if (type !== '' && type !== anyBytes) {
    throw new UsageError('not_bytes', `send the file with the headers that came with its URL: content-type: ${anyBytes}, not ${type}`)
  }
  const length = Number(request.headers.get('content-length') ?? size)
  if (length > size) throw tooLarge(size)
  if (length < size) throw tooSmall(size)
  return bytesOf(request)
}

async function keep(file: AsyncIterable<Uint8Array>, { key, info }: PlannedUpload, staging: Storage): Promise<void> {
  const seen = exactly(file, info.size)
  try {
    await staging.write(key, Readable.from(seen.file, { objectMode: false }), { ...info, once: true })
  } catch (error) {
    // a storage may have its own words for a stream that breaks
    if (seen.refusal) throw seen.refusal
    throw codeOf(error) === 'object_exists' ? alreadyUploaded() : error
  }
}

/** A file that breaks where it has not exactly this size, and says why it did. */
function exactly(file: AsyncIterable<Uint8Array>, size: number): { readonly file: AsyncIterable<Uint8Array>; refusal?: unknown } {
  const seen = { file: checked(), refusal: undefined as unknown }
  async function* checked(): AsyncGenerator<Uint8Array> {
    let come = 0
    try {
      for await (const piece of file) {
        come += piece.length
        if (come > size) throw tooLarge(size)
        yield piece
      }
      if (come < size) throw tooSmall(size)
    } catch (error) {
      seen.refusal = error
      throw error
    }
  }
  return seen
}
