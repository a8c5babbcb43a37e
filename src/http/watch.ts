import { answer, refusalOf } from './answer'
import type { FetchHandler } from './direct-uploads'
import { loadFrames } from './frames'
import type { Look } from './look-together'
import type { OpenStreams } from './open-streams'
import { badRequest } from './refusals'
import type { WatchPort } from './watch-port'
import { type Show, see, type TokenFor } from './watch-state'
import { type StreamSetup, WatchStream } from './watch-stream'

/** Files that one page watches. */
const mostTokens = 100

export interface WatchOptions {
  /**
   * What pages see of a file, anew whenever something has happened to it, as JSON: by default its `toJSON()`. Only who has the file's token
   * is told, so there may be signed URLs in it. The second parameter says whose file it is.
   */
  show?: Show
  /** Ends streams, each after its first states: before a server waits for its open connections. */
  signal?: AbortSignal
}

/** Against whatever keeps an answer back until there is more of it. */
const streamed = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }

/**
 * Tells pages what becomes of the files whose tokens they have. Who accepts `text/event-stream` gets a stream of events, how each file is
 * now and then each change; anybody else how they are now, in JSON. A refusal is an answer in JSON, an error is thrown.
 */
export function watchHandler(
  port: WatchPort,
  look: Look,
  streams: OpenStreams,
  { show = (file) => file.toJSON(), signal }: WatchOptions = {},
): FetchHandler {
  const setup: StreamSetup = { port, look, streams, show }

  async function answered(request: Request): Promise<Response> {
    if (request.method !== 'GET') return notAllowed()
    const files = filesOf(request, port)
    if (wantsStream(request)) {
      const ends = signal ? AbortSignal.any([request.signal, signal]) : request.signal
      return new Response(await streamOf(files, request.signal, ends), { headers: streamed })
    }
    const seen = await Promise.all(files.map((file) => see(file, look, show, port.topicOf)))
    return answer({ states: await Promise.all(seen.map(({ tell }) => tell())) })
  }

  async function streamOf(files: readonly TokenFor[], gone: AbortSignal, ends: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const frames = await loadFrames()
    gone.throwIfAborted()
    const stream = new WatchStream(files, frames, setup)
    ends.addEventListener('abort', () => stream.end(), { once: true })
    try {
      const body = await stream.begin()
      if (ends.aborted) stream.end()
      return body
    } catch (error) {
      stream.end()
      throw error
    }
  }

  return (request) =>
    answered(request).catch((error) => {
      const refusal = refusalOf(error)
      if (!refusal) throw error
      return answer({ error: refusal.told }, refusal.status)
    })
}

function wantsStream({ headers }: Request): boolean {
  return /\btext\/event-stream\b/i.test(headers.get('accept') ?? '')
}

function filesOf({ url }: Request, port: WatchPort): TokenFor[] {
  const tokens = [...new Set(new URL(url).searchParams.getAll('token'))]
  if (tokens.length === 0) throw badRequest('say which files: ?token=…&token=…, with the tokens of watchToken()')
  if (tokens.length > mostTokens) throw badRequest(`${tokens.length} files are too many for one request: watch up to ${mostTokens}`)
  return tokens.map((token) => ({ token, ...port.open(token) }))
}

function notAllowed(): Response {
  return answer({ error: { code: 'method_not_allowed', message: 'only GET is answered here' } }, 405, { headers: { allow: 'GET' } })
}
