import type { ServerResponse } from 'node:http'
import type { Http2Stream } from 'node:http2'

/** The response of HTTP/2 has a stream, which alone says what became of it. */
type Outgoing = ServerResponse & { readonly stream?: Http2Stream }

/** Aborts when the client has gone without its answer, which may have been before anybody asked. */
export function goneSignal(outgoing: Outgoing): AbortSignal {
  const gone = new AbortController()
  const closed = () => {
    const wasSent = outgoing.stream ? !outgoing.stream.aborted : outgoing.writableFinished
    if (!wasSent) gone.abort()
  }
  if ((outgoing.stream ?? outgoing).destroyed) closed()
  else outgoing.once('close', closed)
  return gone.signal
}
