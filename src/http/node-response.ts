import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as NodeWebStream } from 'node:stream/web'

/** Sends an answer, as fast as the client reads it. Resolves when all of it is on its way, or the client has gone. */
export async function send(answer: Response, outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return answer.body?.cancel()
  outgoing.statusCode = answer.status
  // HTTP/2 has no words for it
  if (answer.statusText && outgoing.req.httpVersionMajor === 1) outgoing.statusMessage = answer.statusText
  for (const [name, value] of answer.headers) if (name !== 'set-cookie') outgoing.setHeader(name, value)
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
