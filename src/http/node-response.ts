import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as NodeWebStream } from 'node:stream/web'

/** What says how a connection of HTTP/1 is used. HTTP/2 forbids it (RFC 9113, 8.2.2), and Node would throw where nobody catches it. */
const ofConnection = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']

/** Sends an answer, as fast as the client reads it. Resolves when all of it is on its way, or the client has gone. */
export async function send(answer: Response, outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return answer.body?.cancel()
  const isHttp1 = outgoing.req.httpVersionMajor === 1
  const left = isHttp1 ? ['set-cookie'] : ['set-cookie', ...ofConnection]
  outgoing.statusCode = answer.status
  // HTTP/2 has no words for it
  if (answer.statusText && isHttp1) outgoing.statusMessage = answer.statusText
  for (const [name, value] of answer.headers) if (!left.includes(name)) outgoing.setHeader(name, value)
  // each has its own line, beside those that others have set
  for (const cookie of answer.headers.getSetCookie()) outgoing.appendHeader('set-cookie', cookie)
  if (!answer.body || outgoing.req.method === 'HEAD') {
    await answer.body?.cancel()
    outgoing.end()
    return
  }
  await pipeline(Readable.fromWeb(answer.body as NodeWebStream), outgoing, { signal: gone }).catch((error) => {
    const isGone = error.code === 'ERR_STREAM_PREMATURE_CLOSE' || (gone.aborted && error.code === 'ABORT_ERR')
    if (!isGone) throw error
  })
}
