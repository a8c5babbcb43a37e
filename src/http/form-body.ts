import { UsageError } from '../errors'
import { bytesOf } from './body'
import { badRequest, tooLarge, tooSmall } from './refusals'

/** What may stand before the file. Bytes. */
const longestStart = 16 * 1024

/**
 * The file of a form, as S3 takes it by POST: the last part of `multipart/form-data` (RFC 7578), called `file`. It must have exactly
 * `size` bytes, and so nothing has to look for its end.
 */
export async function* fileOf(request: Request, size: number): AsyncGenerator<Uint8Array> {
  const boundary = `--${boundaryOf(request)}`
  const close = Buffer.from(`\r\n${boundary}--\r\n`)
  let start: Buffer | undefined = Buffer.alloc(0)
  let left = size
  let end = Buffer.alloc(0)
  for await (const piece of bytesOf(request)) {
    let bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.length)
    if (start) {
      start = Buffer.concat([start, bytes])
      const at = startOfFile(start, boundary)
      if (at === undefined && start.length > longestStart) throw badRequest("the form has too much before its part 'file'")
      if (at === undefined) continue
      bytes = start.subarray(at)
      start = undefined
    }
    if (left > 0) yield bytes.subarray(0, left)
    end = Buffer.concat([end, bytes.subarray(left)])
    left = Math.max(0, left - bytes.length)
    if (end.length > close.length) throw tooLarge(size)
  }
  if (start) throw badRequest("the form has no part 'file'")
  // the last line may do without its end (RFC 2046, 5.1.1)
  const closes = [close, close.subarray(0, -2)]
  if (closes.some((close) => close.equals(end))) return
  // the end of the form, or its beginning, was taken for the file
  throw closes.some((close) => close.subarray(close.length - end.length).equals(end)) ? tooSmall(size) : tooLarge(size)
}

function boundaryOf(request: Request): string {
  const type = request.headers.get('content-type') ?? ''
  const [, quoted, plain] = /^multipart\/form-data\s*;.*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(type) ?? []
  const boundary = quoted ?? plain
  if (boundary === undefined) throw new UsageError('not_bytes', 'what is posted here must be multipart/form-data, with the file as its last part')
  return boundary
}

/** Where the bytes of the part `file` begin; undefined where more has to come first. */
function startOfFile(form: Buffer, boundary: string): number | undefined {
  let at = 0
  for (;;) {
    const head = form.indexOf('\r\n\r\n', at)
    if (head < 0) return undefined
    const lines = form.toString('latin1', at, head).split('\r\n')
    if (lines[0] !== boundary) throw badRequest('the form is not as its content-type says')
    if (lines.some((line) => /^content-disposition:.*;\s*name="?file"?\s*(;|$)/i.test(line))) return head + 4
    const next = form.indexOf(`\r\n${boundary}\r\n`, head + 2)
    if (next < 0) return undefined
    at = next + 2
  }
}
