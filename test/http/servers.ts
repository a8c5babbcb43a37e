import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import express, { type RequestHandler } from 'express'
import fastify, { type FastifyInstance } from 'fastify'
import { onTestFinished } from 'vitest'
import type { FetchHandler } from '../../src/http/direct-uploads'
import { toNodeHandler } from '../../src/http/node-handler'

/** A server that is closed when the test ends, and its connections. */
export interface Running {
  readonly url: string
  readonly sockets: Socket[]
}

/** Starts a server that hands everything on to a handler. */
export type Serve = (handler: FetchHandler) => Promise<Running>

export async function listening(server: Server): Promise<Running> {
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

export const onNode: Serve = (handler) => listening(createServer(toNodeHandler(handler) as RequestListener))

/** Express, with what stands before the handler. */
export const onExpress =
  (...before: RequestHandler[]): Serve =>
  (handler) => {
    const app = express()
    for (const middleware of before) app.use(middleware)
    app.use(toNodeHandler(handler))
    return listening(createServer(app))
  }

/** Fastify, as `prepare` makes it. */
export const onFastify =
  (prepare: (app: FastifyInstance) => void = () => undefined): Serve =>
  async (handler) => {
    const app = fastify()
    prepare(app)
    app.all('/*', toNodeHandler(handler))
    await app.ready()
    onTestFinished(() => app.close())
    return listening(app.server)
  }

/** Leaves every body unread. */
export function withoutParsers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
}

/** Each server, with nothing between it and the handler. */
export const bare: [string, Serve][] = [
  ['Node', onNode],
  ['Express', onExpress()],
  ['Fastify', onFastify(withoutParsers)],
]

/** What a handler is told of a request. */
export interface Told {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly text: string
}

/** Answers what it was told. */
export const mirror: FetchHandler = async (request) =>
  Response.json({ method: request.method, url: request.url, headers: Object.fromEntries(request.headers), text: await request.text() })

export async function toldTo(serve: Serve, path: string, init?: RequestInit): Promise<Told & { readonly base: string }> {
  const { url } = await serve(mirror)
  const response = await fetch(url + path, init)
  return { ...((await response.json()) as Told), base: url }
}

export async function digestOf(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

/** Resolves when a number has not changed for many turns of the event loop. */
export async function settled(number: () => number): Promise<void> {
  let last = Number.NaN
  for (let still = 0; still < 300; still++) {
    await new Promise(setImmediate)
    if (number() !== last) still = 0
    last = number()
  }
}
