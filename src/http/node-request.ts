import type { IncomingMessage } from 'node:http'
import { parsedBody } from './parsed-body'

/** A request as Node has it, and what a server above may have put on it. */
export type NodeRequest = IncomingMessage & {
  /** The whole path, where the request was handed on to something mounted below a path. */
  readonly originalUrl?: string
  readonly body?: unknown
  readonly rawBody?: unknown
}

/** A request on its way from one form to the other. */
export interface Converted {
  /** Undefined for one that the fetch standard does not know. */
  readonly request?: Request
  /** Lets pass what nobody has read of the body: the connection would be stuck otherwise. */
  letGo(): void
}

/**
 * The same request for a handler of the fetch standard. Its body comes as it is read; where a parser was there before, it is what the
 * parser has left.
 *
 * @param body what a parser has made of it
 */
export function toRequest(incoming: NodeRequest, body: unknown, signal: AbortSignal): Converted {
  const pieces = incoming.iterator({ destroyOnReturn: false })
  const { method = 'GET' } = incoming
  const headers = headersOf(incoming)
  const bytes = incoming.readableDidRead ? parsedBody(incoming, body, headers) : ReadableStream.from<Uint8Array>(pieces)
  const init = method === 'GET' || method === 'HEAD' ? {} : { body: bytes, duplex: 'half' as const }
  return { request: requestOf(urlOf(incoming, headers), { method, headers, signal, ...init }), letGo }

  function letGo(): void {
    if (incoming.readableEnded || incoming.destroyed) return
    incoming.on('error', () => undefined)
    const over = async () => pieces.return?.()
    over()
      .catch(() => undefined)
      .then(() => incoming.resume())
  }
}

function requestOf(...parts: ConstructorParameters<typeof Request>): Request | undefined {
  try {
    return new Request(...parts)
  } catch {
    return undefined
  }
}

function headersOf(incoming: IncomingMessage): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming.headers)) {
    // HTTP/2 has its own there, beginning with a colon
    if (value !== undefined && !name.startsWith(':')) headers.set(name, [value].flat().join(', '))
  }
  return headers
}

function urlOf(incoming: NodeRequest, headers: Headers): string {
  const protocol = 'encrypted' in incoming.socket && incoming.socket.encrypted ? 'https' : 'http'
  const host = String(incoming.headers[':authority'] ?? headers.get('host') ?? 'localhost')
  const url = incoming.originalUrl ?? incoming.url ?? '/'
  // what is sent to a proxy is a whole URL
  if (!url.startsWith('/')) return url
  // a host that is more than one would change the path, or be no URL
  return /[/?#@\\]/.test(host) ? '' : `${protocol}://${host}${url}`
}
