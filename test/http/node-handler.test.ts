import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request as open, type RequestOptions } from 'node:http'
import { connect as connectHttp2, constants, createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import express from 'express'
import fastify from 'fastify'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FetchHandler } from '../../src/http/direct-uploads'
import { toNodeHandler } from '../../src/http/node-handler'
import { bytes } from '../../src/testing/bodies'
import { warnings } from '../support/warnings'
import { bare, digestOf, listening, mirror, onExpress, onFastify, onNode, settled, toldTo, withoutParsers } from './servers'

const MB = 1024 * 1024

/** A request by Node's own client, which leaves everything to us. */
function asking(url: string, options: RequestOptions, body?: Uint8Array): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = open(url, options, resolve)
    request.on('error', reject)
    request.end(body)
  })
}

/** What a server answers to these very bytes. */
async function answerTo(url: string, request: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.end(request)
  return text(socket)
}

/** Pieces of 64 KiB, made while they are read. */
function* pieces(size: number): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < size; at += 64 * 1024) yield new Uint8Array(bytes(Math.min(64 * 1024, size - at), at % 251))
}

describe.each(bare)('%s', (_name, serve) => {
  it('passes on method, path, query, headers and body', async () => {
    const told = await toldTo(serve, '/a%20b/c?d=e&d=%2F', { method: 'POST', body: 'é', headers: { 'x-one': '1', cookie: 'a=b; c=d' } })
    expect(told).toMatchObject({ method: 'POST', url: `${told.base}/a%20b/c?d=e&d=%2F`, text: 'é' })
    expect(told.headers).toMatchObject({ 'x-one': '1', cookie: 'a=b; c=d', 'content-length': '2', host: new URL(told.base).host })
  })

  it('passes on requests without a body', async () => {
    for (const method of ['GET', 'DELETE', 'POST']) expect(await toldTo(serve, '/', { method })).toMatchObject({ method, text: '' })
  })

  it('sends status, headers and body', async () => {
    const headers = { 'x-kind': 'brown', 'content-type': 'text/plain' }
    const { url } = await serve(async () => new Response('teapot', { status: 418, statusText: 'Short and stout', headers }))
    const response = await fetch(url)
    expect([response.status, response.statusText]).toEqual([418, 'Short and stout'])
    expect([response.headers.get('x-kind'), response.headers.get('content-type')]).toEqual(['brown', 'text/plain'])
    expect(await response.text()).toBe('teapot')
  })

  it('sends each cookie by itself', async () => {
    const headers = new Headers([
      ['set-cookie', 'a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT'],
      ['set-cookie', 'b=2'],
    ])
    const { url } = await serve(async () => new Response(null, { headers }))
    expect((await fetch(url)).headers.getSetCookie()).toEqual(['a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT', 'b=2'])
  })

  it('sends no body to HEAD', async () => {
    const { url } = await serve(async ({ method }) => new Response(`for ${method}`, { headers: { 'content-length': '8' } }))
    const response = await asking(url, { method: 'HEAD' })
    expect([response.statusCode, response.headers['content-length'], await text(response)]).toEqual([200, '8', ''])
  })

  it.each([204, 304])('sends no body with %i', async (status) => {
    const { url } = await serve(async () => new Response(null, { status, headers: { etag: '"a"' } }))
    const response = await asking(url, {})
    expect([response.statusCode, response.headers.etag, await text(response)]).toEqual([status, '"a"', ''])
  })

  it('streams 30 MB both ways, whole', async () => {
    const { url } = await serve(async (request) => new Response(request.body))
    const response = await fetch(url, { method: 'PUT', body: ReadableStream.from(pieces(30 * MB)), duplex: 'half' })
    expect(await digestOf(response.body as never)).toBe(await digestOf(pieces(30 * MB)))
  })

  it('reads a body no faster than the handler', async () => {
    const ahead: number[] = []
    const { url, sockets } = await serve(async ({ body }) => {
      const arrived = () => sockets[0]?.bytesRead ?? 0
      let read = 0
      for await (const piece of body as ReadableStream<Uint8Array>) {
        read += piece.length
        if (ahead.length >= 5) continue
        await settled(arrived)
        ahead.push(arrived() - read)
      }
      return new Response(String(read))
    })
    const response = await fetch(url, { method: 'PUT', body: ReadableStream.from(pieces(30 * MB)), duplex: 'half' })
    expect(await response.text()).toBe(String(30 * MB))
    expect(Math.max(...ahead)).toBeLessThan(MB)
  })

  it('makes no more of an answer than the client reads', async () => {
    let made = 0
    const { url } = await serve(async () => {
      const source = pieces(30 * MB)
      const body = new ReadableStream({
        pull(controller) {
          const { done, value } = source.next()
          if (done) return controller.close()
          made += value.length
          controller.enqueue(value)
        },
      })
      return new Response(body)
    })
    const response = await asking(url, {})
    await settled(() => made)
    // what is on its way is in the buffers of the two sockets
    expect(made).toBeLessThan(16 * MB)
    expect(await digestOf(response)).toBe(await digestOf(pieces(30 * MB)))
  })

  it('answers before it has read a body, and the connection goes on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    const { url, sockets } = await serve(async ({ body, method }) => {
      const reader = body?.getReader()
      if (method === 'PUT') await reader?.read()
      return new Response(null, { status: method === 'GET' ? 200 : 413 })
    })
    for (const method of ['POST', 'PUT', 'GET']) {
      const response = await asking(url, { method, agent }, method === 'GET' ? undefined : bytes(5 * MB))
      expect(response.statusCode).toBe(method === 'GET' ? 200 : 413)
      await buffer(response)
    }
    expect(sockets).toHaveLength(1)
  })

  it('says that the client has gone while it waited', async () => {
    let heard = false
    const { url } = await serve(async ({ signal }) => {
      const aborted = once(signal, 'abort')
      client.destroy()
      await aborted
      heard = true
      return new Response('for nobody')
    })
    const client = open(url, { method: 'POST' })
    client.on('error', () => undefined).end('body')
    await expect.poll(() => heard).toBe(true)
  })

  it('breaks the body where the client has gone', async () => {
    let ended = ''
    let signal: AbortSignal | undefined
    const { url } = await serve(async (request) => {
      signal = request.signal
      const reader = request.body?.getReader()
      await reader?.read()
      client.destroy()
      ended = (await reader?.read().then(
        () => 'whole',
        () => 'broken',
      )) as string
      throw signal.reason
    })
    const client = open(url, { method: 'POST', headers: { 'content-length': '1000' } })
    client.on('error', () => undefined).write('half')
    await expect.poll(() => [ended, signal?.aborted]).toEqual(['broken', true])
  })

  it('makes no more of an answer when the client has gone', async () => {
    let cancelled = false
    const { url } = await serve(async () => {
      const body = new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(1000)),
        cancel() {
          cancelled = true
        },
      })
      return new Response(body)
    })
    const response = await asking(url, {})
    response.destroy()
    await expect.poll(() => cancelled).toBe(true)
  })

  it('does not call an answer aborted that was sent', async () => {
    let signal: AbortSignal | undefined
    const { url, sockets } = await serve(async (request) => {
      signal = request.signal
      return new Response('done')
    })
    await (await asking(url, { agent: new Agent({ keepAlive: false }) })).resume()
    await expect.poll(() => sockets[0]?.destroyed).toBe(true)
    expect(signal?.aborted).toBe(false)
  })

  it('knows by the socket that a request was encrypted', async () => {
    const { url, sockets } = await serve(mirror)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    await buffer(await asking(url, { agent }))
    Object.assign(sockets[0] as object, { encrypted: true })
    const response = await asking(`${url}/a`, { agent, headers: { 'x-forwarded-proto': 'http' } })
    expect(JSON.parse(await text(response)).url).toBe(`${url.replace('http:', 'https:')}/a`)
  })

  it.each(['a b', 'user:secret@host', 'app.test/api', 'app.test?a', '['])('answers 400 to the host %o', async (host) => {
    const { url } = await serve(mirror)
    expect(await answerTo(url, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 /)
  })

  it('never takes a path for a host', async () => {
    const { url } = await serve(mirror)
    const answer = await answerTo(url, 'GET //evil.test/a HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n')
    expect(answer).toContain('"url":"http://app.test//evil.test/a"')
  })

  it('breaks off an answer that breaks', async () => {
    const { url } = await serve(async () => {
      let sent = false
      const body = new ReadableStream({
        pull(controller) {
          if (sent) controller.error(new Error('the source broke'))
          else controller.enqueue(new Uint8Array(1000))
          sent = true
        },
      })
      return new Response(body)
    })
    await expect(asking(url, {}).then(buffer)).rejects.toMatchObject({ code: 'ECONNRESET' })
  })
})

it('takes a whole URL, as it is sent to a proxy', async () => {
  const { url } = await onNode(mirror)
  const answer = await answerTo(url, 'GET http://other.test/a?b HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n')
  expect(answer).toContain('"url":"http://other.test/a?b"')
})

it.each(['TRACE / HTTP/1.1', 'OPTIONS * HTTP/1.1'])('answers 400 to %s, which the fetch standard does not know', async (line) => {
  const { url } = await onNode(mirror)
  expect(await answerTo(url, `${line}\r\nHost: app.test\r\nConnection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 /)
})

it('knows the whole path where it is mounted below one, in Express', async () => {
  const app = express()
  const inner = express.Router()
  inner.use('/uploads', toNodeHandler(mirror))
  app.use('/api', inner)
  const { url } = await listening(createServer(app))
  expect(await (await fetch(`${url}/api/uploads/s3/params?a=b`)).json()).toMatchObject({ url: `${url}/api/uploads/s3/params?a=b` })
})

it('keeps the headers that were set before, in Express', async () => {
  const { url } = await onExpress((_request, response, next) => {
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('content-type', 'text/html')
    response.cookie('before', '1')
    next()
  })(async () => new Response('{}', { headers: { 'content-type': 'application/json', 'set-cookie': 'after=2' } }))
  const { headers } = await fetch(url)
  expect([headers.get('access-control-allow-origin'), headers.get('content-type')]).toEqual(['*', 'application/json'])
  expect(headers.getSetCookie()).toEqual(['before=1; Path=/', 'after=2'])
})

it('keeps the headers that were set before, in Fastify', async () => {
  const { url } = await onFastify((app) => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.headers({ 'access-control-allow-origin': '*', 'content-type': 'text/html', 'set-cookie': ['before=1', 'more=1'] })
    })
  })(async () => new Response('{}', { headers: { 'content-type': 'application/json', 'set-cookie': 'after=2' } }))
  const { headers } = await fetch(url)
  expect([headers.get('access-control-allow-origin'), headers.get('content-type')]).toEqual(['*', 'application/json'])
  expect(headers.getSetCookie()).toEqual(['before=1', 'more=1', 'after=2'])
})

it('lets Fastify know when an answer was sent', async () => {
  const sent: number[] = []
  const { url } = await onFastify((app) => {
    app.addHook('onResponse', async (_request, reply) => void sent.push(reply.raw.statusCode))
  })(async () => new Response(null, { status: 204 }))
  await fetch(url)
  await expect.poll(() => sent).toEqual([204])
})

const failure = new Error("cannot write 'User/avatar/original'")
const failing = async () => {
  throw failure
}

it('hands errors to Express', async () => {
  const app = express()
  const seen: unknown[] = []
  app.use(toNodeHandler(failing))
  app.use(((error, _request, response, _next) => {
    seen.push(error)
    response.status(503).end()
  }) satisfies express.ErrorRequestHandler)
  const { url } = await listening(createServer(app))
  expect((await fetch(url, { method: 'POST', body: bytes(5 * MB) as never })).status).toBe(503)
  expect(seen).toEqual([failure])
})

it('hands errors to Fastify as a cause, and its own answer tells nothing of them', async () => {
  const seen: unknown[] = []
  const { url } = await onFastify((app) => {
    app.addHook('onError', async (_request, _reply, error) => void seen.push(error.cause))
  })(failing)
  const response = await fetch(url)
  expect(response.status).toBe(500)
  expect(await response.text()).not.toContain('avatar')
  expect(seen).toEqual([failure])
})

it("answers an empty 500 on Node's own server, and warns", async () => {
  const seen = warnings()
  const { url } = await onNode(failing)
  const response = await fetch(url, { method: 'POST', body: 'a' })
  expect([response.status, await response.text()]).toEqual([500, ''])
  expect(seen).toEqual([expect.stringContaining(failure.message)])
})

describe.each(bare)('on %s', (_name, serve) => {
  it.each([undefined, null, 0, 'route', 'router', {}])('is answered what throws something that is no error: %s', async (thrown) => {
    warnings()
    const { url } = await serve(async () => {
      throw thrown
    })
    expect((await fetch(url)).status).toBe(500)
  })

  it('is answered where the answer cannot be sent: one that was sent before', async () => {
    warnings()
    const told = new Response('not you', { headers: { 'content-length': '7' } })
    const { url } = await serve(async () => told)
    expect(await (await fetch(url)).text()).toBe('not you')
    const response = await fetch(url)
    expect(response.status).toBe(500)
    expect(await response.text()).not.toBe('not you')
  })
})

it('knows of a client that had gone before it was asked', async () => {
  const aborted: boolean[] = []
  const handler = toNodeHandler(async ({ signal }) => {
    aborted.push(signal.aborted)
    return new Response('for nobody')
  })
  const { url } = await listening(
    createServer(async (request, response) => {
      client.destroy()
      await once(response, 'close')
      await handler(request, response)
    }),
  )
  const client = open(url, { method: 'POST' })
  client.on('error', () => undefined).end('body')
  await expect.poll(() => aborted).toEqual([true])
})

describe('on HTTP/2', () => {
  /** A server, whose calls of the handler are told when they end, and a client. */
  async function onHttp2(handler: FetchHandler, before: () => Promise<unknown> = async () => undefined) {
    const ended: string[] = []
    const answer = toNodeHandler(handler)
    const server = createHttp2Server(async (request, response) => {
      await before()
      await answer(request as never, response as never)
      ended.push('ended')
    })
    server.listen(0)
    await once(server, 'listening')
    const origin = `http://localhost:${(server.address() as AddressInfo).port}`
    const client = connectHttp2(origin)
    onTestFinished(() => {
      client.close()
      server.close()
    })
    const call = () => {
      const stream = client.request({ ':method': 'POST', ':path': '/a?b', 'x-one': '1' })
      return stream.on('error', () => undefined)
    }
    return { origin, call, ended }
  }

  it('speaks it', async () => {
    const { origin, call } = await onHttp2(mirror)
    expect(JSON.parse(await text(call().end('body')))).toMatchObject({
      method: 'POST',
      url: `${origin}/a?b`,
      text: 'body',
      headers: { 'x-one': '1' },
    })
  })

  it('leaves out what only HTTP/1 has, such as the answer of another server may hold', async () => {
    const headers = { connection: 'close', 'keep-alive': 'timeout=5', 'transfer-encoding': 'chunked', upgrade: 'h2c', 'x-one': '1' }
    const { call, ended } = await onHttp2(async () => new Response('done', { headers }))
    const stream = call().end('body')
    const [told] = await once(stream, 'response')
    expect([told[':status'], told['x-one'], told['transfer-encoding'], await text(stream)]).toEqual([200, '1', undefined, 'done'])
    await expect.poll(() => ended).toEqual(['ended'])
  })

  it('says that the client has gone while it waited, and comes to its end', async () => {
    const { call, ended } = await onHttp2(async ({ signal }) => {
      const aborted = once(signal, 'abort')
      stream.close(constants.NGHTTP2_CANCEL)
      await aborted
      return new Response('for nobody')
    })
    const stream = call().end('body')
    await expect.poll(() => ended).toEqual(['ended'])
  })

  it('does not call an answer aborted that was sent', async () => {
    let signal: AbortSignal | undefined
    const { call, ended } = await onHttp2(async (request) => {
      signal = request.signal
      return new Response('done')
    })
    const stream = call().end('body')
    expect(await text(stream)).toBe('done')
    await expect.poll(() => ended).toEqual(['ended'])
    await expect.poll(() => stream.closed).toBe(true)
    expect(signal?.aborted).toBe(false)
  })

  it('knows of a client that had gone before it was asked', async () => {
    const aborted: boolean[] = []
    const { call, ended } = await onHttp2(
      async ({ signal }) => {
        aborted.push(signal.aborted)
        return new Response('for nobody')
      },
      async () => {
        stream.close(constants.NGHTTP2_CANCEL)
        await once(stream, 'close')
        await settled(() => 0)
      },
    )
    const stream = call().end('body')
    await expect.poll(() => ended).toEqual(['ended'])
    expect(aborted).toEqual([true])
  })
})

it('has a type that each of them takes', async () => {
  const handler = toNodeHandler(mirror)
  express().use(handler)
  express().post('/uploads', handler)
  fastify().all('/uploads', handler)
  createServer(handler)
  expect(typeof withoutParsers).toBe('function')
})
