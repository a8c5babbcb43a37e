import { UsageError } from '../errors'

/**
 * A body that a parser has read already, as bytes again: what it has kept of them, or else what it made of them, written anew. The
 * headers are made to fit. Throws a `UsageError` with `body_parsed` where nothing of that can be had.
 */
export function parsedBody({ rawBody }: { readonly rawBody?: unknown }, body: unknown, headers: Headers): Uint8Array<ArrayBuffer> | undefined {
  const bytes = rawBody instanceof Uint8Array ? rawBody : bytesOf(body, headers)
  headers.delete('content-encoding')
  headers.delete('transfer-encoding')
  headers.set('content-length', String(bytes.length))
  return bytes.length === 0 ? undefined : Buffer.from(bytes)
}

function bytesOf(body: unknown, headers: Headers): Uint8Array {
  if (body instanceof Uint8Array) return body
  if (body === undefined) return Buffer.alloc(0)
  const type = headers.get('content-type') ?? ''
  // whatever it came in, it is written in UTF-8 now
  headers.set('content-type', type.replace(/;\s*charset=[^;]*/i, ''))
  if (/^[^;]*[/+]json\s*(;|$)/i.test(type)) return Buffer.from(jsonOf(body))
  // a replacement character stands for bytes that were no text
  if (typeof body === 'string' && !body.includes('\ufffd')) return Buffer.from(body)
  if (/^application\/x-www-form-urlencoded/i.test(type)) return Buffer.from(String(new URLSearchParams([...pairsOf(body)])))
  throw new UsageError(
    'body_parsed',
    `the body of this request (${type}) was read before, and what came of it cannot be made bytes again: mount toNodeHandler() before that parser`,
  )
}

/** A parser of texts leaves JSON as it came. */
function jsonOf(body: unknown): string {
  return typeof body === 'string' && isJson(body) ? body : JSON.stringify(body)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The fields of a form, nested ones as `a[b]`. */
function* pairsOf(value: unknown, name = ''): Generator<[string, string]> {
  if (typeof value !== 'object' || value === null) return yield [name, String(value ?? '')]
  for (const [key, inner] of Object.entries(value)) yield* pairsOf(inner, Array.isArray(value) ? name : name === '' ? key : `${name}[${key}]`)
}
