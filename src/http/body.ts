import { UsageError } from '../errors'
import { badRequest } from './refusals'

/**
 * The JSON object of a request. Its content type is asked for because another site cannot send it without the browser asking first.
 *
 * @param most bytes
 */
export async function readJson(request: Request, most: number): Promise<Readonly<Record<string, unknown>>> {
  if (contentTypeOf(request) !== 'application/json') {
    throw new UsageError('not_json', 'the body must be JSON, with the header content-type: application/json')
  }
  const value = parsed(await readAtMost(request, most))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badRequest('the body must be a JSON object')
  return value as Record<string, unknown>
}

/** The content type of a request, without parameters; empty where it says none. */
export function contentTypeOf(request: Request): string {
  const [type = ''] = (request.headers.get('content-type') ?? '').split(';')
  return type.trim().toLowerCase()
}

/** The body of a request, as it comes. Where it breaks off, that is a refusal: whoever sent it has gone. */
export async function* bytesOf(request: Request): AsyncGenerator<Uint8Array> {
  if (request.bodyUsed) {
    throw new UsageError('body_used', 'the body of this request was read before: pass the request on unread, or a clone of it')
  }
  if (!request.body) return
  const pieces = request.body[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { done, value } = await pieces.next().catch((error) => {
        throw new UsageError('source_failed', 'the body did not arrive whole', { cause: error })
      })
      if (done) return
      yield value
    }
  } finally {
    await pieces.return?.().catch(() => undefined)
  }
}

async function readAtMost(request: Request, most: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of bytesOf(request)) {
    size += piece.length
    if (size > most) throw new UsageError('request_too_large', `the body has more than ${most} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw badRequest('the body is no JSON')
  }
}
