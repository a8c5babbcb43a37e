import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../errors'
import type { FetchHandler } from './direct-uploads'
import { goneSignal } from './gone'
import { type NodeRequest, toRequest } from './node-request'
import { send } from './node-response'

/** A request of Fastify. */
interface WrappedRequest {
  readonly raw: IncomingMessage
  readonly body?: unknown
}

/** A reply of Fastify. */
interface WrappedReply {
  readonly raw: ServerResponse
  hijack(): unknown
  getHeaders(): Record<string, number | string | string[] | undefined>
}

/** What servers on Node call: `(req, res, next?)` or, with Fastify, `(request, reply)`. */
export type NodeHandler = (
  request: IncomingMessage | WrappedRequest,
  response: ServerResponse | WrappedReply,
  next?: (error?: unknown) => void,
) => Promise<void>

/**
 * Makes a handler of the fetch standard one for Node's own server, Express, Connect, Nest and Fastify. It may be mounted below a path,
 * and behind parsers of bodies. Bodies are streamed, both ways; the request's `signal` tells when the client has gone.
 *
 * An error of the handler goes to `next(error)`, or to Fastify as the cause of another; where there is neither, it is a warning of the
 * process, and the answer is an empty 500.
 */
export function toNodeHandler(handler: FetchHandler): NodeHandler {
  return async (given, response, next) => {
    const reply = 'hijack' in response ? response : undefined
    // a middleware of Express may have put something of its own under this name
    const incoming = (reply ? (given as WrappedRequest).raw : given) as NodeRequest
    const outgoing = reply?.raw ?? (response as ServerResponse)
    const gone = goneSignal(outgoing)

    let isOurs = !reply
    async function answer(): Promise<void> {
      const { request, letGo } = toRequest(incoming, (given as WrappedRequest).body, gone)
      try {
        const answer = request ? await handler(request) : new Response(null, { status: 400 })
        if (reply) takeFrom(reply)
        isOurs = true
        await send(answer, outgoing, gone)
      } finally {
        letGo()
      }
    }

    await answer().catch((error) => {
      if (gone.aborted && error === gone.reason) return
      if (!isOurs) throw wrapped(error)
      // Express would take a number, a word or nothing for no error, and go on
      if (next) return next(typeof error === 'object' && error ? error : wrapped(error))
      process.emitWarning(`a request could not be answered: ${messageOf(error)}`, 'AttachmentWarning')
      if (outgoing.headersSent) return outgoing.destroy()
      // the length of the answer that failed, above all
      for (const name of outgoing.getHeaderNames()) outgoing.removeHeader(name)
      outgoing.writeHead(500).end()
    })
  }
}

const wrapped = (error: unknown) => new Error('the handler has failed', { cause: error })

/** From here on Fastify leaves the response alone; what its plugins wanted to be sent with it is not lost. */
function takeFrom(reply: WrappedReply): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value)
  reply.hijack()
}
