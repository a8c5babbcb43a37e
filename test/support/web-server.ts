import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** A request as it arrived, with all of its body. */
export interface Taken {
  readonly method: string
  /** From the path on. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Answer {
  /** 200, if nothing is said. */
  readonly status?: number
  readonly headers?: Record<string, string>
  /** A string, bytes, or what is to be written as JSON. */
  readonly body?: unknown
}

export interface WebServer {
  readonly origin: string
  /** What was asked for and has arrived, without what browsers ask by themselves before. */
  readonly taken: readonly Taken[]
  /** How many requests have begun to arrive, and how many of these were given up or are done. */
  readonly counts: { begun: number; closed: number }
}

export interface WebServerOptions {
  /** Which methods pages of other origins may use; none, if nothing is said. */
  readonly cors?: string
  /** Nothing is read of a body before this. */
  readonly reading?: Promise<unknown>
}

/** `cut` ends the connection instead of answering; `silent` never answers. */
export type Behavior = (request: Taken, count: number) => Answer | 'cut' | 'silent'

/** A server at an origin of its own, which answers as it is told. Gone when the test ends. */
export async function webServer(behavior: Behavior, { cors, reading }: WebServerOptions = {}): Promise<WebServer> {
  const taken: Taken[] = []
  const counts = { begun: 0, closed: 0 }

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = incoming
    // a browser that uses a connection again repeats by itself what fails on it
    outgoing.setHeader('connection', 'close')
    if (cors) outgoing.setHeader('access-control-allow-origin', headers.origin ?? '*')
    if (method === 'OPTIONS') {
      if (cors) outgoing.setHeader('access-control-allow-methods', cors).setHeader('access-control-allow-headers', 'authorization, content-type')
      return void outgoing.writeHead(cors ? 204 : 403).end()
    }
    counts.begun++
    outgoing.once('close', () => counts.closed++)
    await reading
    const request = { method, url, headers, body: Buffer.concat(await incoming.toArray()) }
    taken.push(request)
    const told = behavior(request, taken.length)
    if (told === 'cut') incoming.socket.destroy()
    else if (told !== 'silent') write(outgoing, told)
  }

  const server = createServer((incoming, outgoing) => {
    // whoever gives up while his bytes arrive
    answer(incoming, outgoing).catch(() => outgoing.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, taken, counts }
}

function write(outgoing: ServerResponse, { status = 200, headers = {}, body = '' }: Answer): void {
  const plain = typeof body === 'string' || body instanceof Uint8Array
  outgoing.writeHead(status, { 'content-type': plain ? 'text/plain' : 'application/json', ...headers })
  outgoing.end(plain ? body : JSON.stringify(body))
}
