import { createServer } from 'node:http'
import { gzipSync } from 'node:zlib'
import express, { type RequestHandler } from 'express'
import { describe, expect, it } from 'vitest'
import { directUploads } from '../../src/http/direct-uploads'
import { toNodeHandler } from '../../src/http/node-handler'
import { memoryStorage } from '../../src/storage/memory'
import { bytes } from '../../src/testing/bodies'
import { asking, portOn } from './port'
import { listening, mirror, onExpress, onFastify, type Serve, toldTo, withoutParsers } from './servers'

const allParsers = [express.json(), express.urlencoded({ extended: true }), express.text(), express.raw()]

/** What a body parser of before Express 5 left on requests that it did not read. */
const emptyBody: RequestHandler = (request, _response, next) => {
  request.body ??= {}
  next()
}

const json = { 'content-type': 'application/json' }

it.each<[string, Serve]>([
  ['no parser', onExpress()],
  ['express.json()', onExpress(express.json())],
  ['express.text()', onExpress(express.text({ type: '*/*' }))],
  ['express.raw()', onExpress(express.raw({ type: '*/*' }))],
  ['all parsers', onExpress(...allParsers)],
  ['a parser that leaves {}', onExpress(emptyBody)],
  ["Fastify's own parser", onFastify()],
  ['Fastify without parsers', onFastify(withoutParsers)],
])('gets JSON behind %s', async (_name, serve) => {
  const given = { name: 'é', list: [1, { a: null }] }
  const { text, headers } = await toldTo(serve, '/', { method: 'POST', body: JSON.stringify(given, null, 2), headers: json })
  expect(JSON.parse(text)).toEqual(given)
  expect(headers).toMatchObject({ ...json, 'content-length': String(Buffer.byteLength(text)) })
})

it.each(['"text"', '5', 'null', 'true', '[]'])('gets the JSON %s', async (body) => {
  for (const serve of [onExpress(express.json({ strict: false })), onExpress(express.text({ type: '*/*' })), onFastify()]) {
    expect(await toldTo(serve, '/', { method: 'POST', body, headers: json })).toMatchObject({ text: body })
  }
})

it('gets JSON that came compressed, and no longer is', async () => {
  const body = gzipSync('{"a":1}') as never
  const told = await toldTo(onExpress(express.json()), '/', { method: 'POST', body, headers: { ...json, 'content-encoding': 'gzip' } })
  expect(told.text).toBe('{"a":1}')
  expect(told.headers['content-encoding']).toBeUndefined()
})

it('says no charset that the text no longer is in', async () => {
  const headers = { 'content-type': 'text/plain; charset=iso-8859-1' }
  const told = await toldTo(onExpress(express.text()), '/', { method: 'POST', body: Buffer.from('é', 'latin1') as never, headers })
  expect([told.text, told.headers['content-type']]).toEqual(['é', 'text/plain'])
})

it.each([
  ['a=1&b=%C3%A9+x&a=2', express.urlencoded({ extended: false })],
  ['a=1&b=%C3%A9+x&a=2', express.urlencoded({ extended: true })],
  ['user[name]=ada&user[tags][]=x&user[tags][]=y', express.urlencoded({ extended: true })],
])('gets the form %s', async (body, parser) => {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const { text } = await toldTo(onExpress(parser), '/', { method: 'POST', body, headers })
  const app = express()
  app.use(parser, (request, response) => void response.json(request.body))
  const { url } = await listening(createServer(app))
  const parsed = async (form: string) => (await fetch(url, { method: 'POST', body: form, headers })).json()
  expect(await parsed(text)).toEqual(await parsed(body))
})

const keeping = (name: string) =>
  express.json({
    verify: (request, _response, bytes) => {
      Object.assign(request, { [name]: bytes })
    },
  })

it('prefers the bytes where somebody has kept them', async () => {
  const body = '{ "a":  1e2 }'
  expect(await toldTo(onExpress(keeping('rawBody')), '/', { method: 'POST', body, headers: json })).toMatchObject({ text: body })
})

it('takes no request for one of Fastify because somebody has kept something as raw', async () => {
  expect(await toldTo(onExpress(keeping('raw')), '/', { method: 'POST', body: '{"a":1}', headers: json })).toMatchObject({ text: '{"a":1}' })
})

/** Reads a body, and leaves something else. */
const reading: RequestHandler = (request, _response, next) => {
  request.resume().on('end', () => {
    request.body = { parsed: 'somehow' }
    next()
  })
}

it.each<[string, RequestHandler, string | Uint8Array<ArrayBuffer>, string]>([
  ['nothing of a body was left', reading, '<a/>', 'application/xml'],
  // as many bytes as they become, which nobody would notice by their number
  ['bytes were read as a text', express.text({ type: '*/*' }), new Uint8Array([0xf0, 0x9f, 0x98, 0x41]), 'application/octet-stream'],
])('says so where %s', async (_what, parser, body, type) => {
  const app = express()
  const seen: unknown[] = []
  app.use(parser, toNodeHandler(mirror))
  app.use(((error, _request, response, _next) => {
    seen.push(error.code)
    response.status(500).end()
  }) satisfies express.ErrorRequestHandler)
  const { url } = await listening(createServer(app))
  await fetch(url, { method: 'POST', body, headers: { 'content-type': type } })
  expect(seen).toEqual(['body_parsed'])
})

describe.each<[string, Serve]>([
  ['Express, with all parsers', onExpress(...allParsers.slice(0, 3))],
  ['Express, with express.raw() of enough', onExpress(express.raw({ limit: '1mb' }))],
  ['Fastify, without parsers', onFastify(withoutParsers)],
])('%s', (_name, serve) => {
  it('asks for an upload and makes it', async () => {
    const staging = memoryStorage()
    const port = portOn(staging)
    const { url } = await serve(directUploads(port, { authorize: () => 'ada' }))
    const body = bytes(200_000)
    const response = await fetch(`${url}/uploads`, { method: 'POST', body: JSON.stringify(asking(body.length)), headers: json })
    const form = (await response.json()) as { method: string; url: string; headers: Record<string, string> }
    const { method, headers } = form
    expect((await fetch(url + form.url, { method, headers, body: body as never })).status).toBe(200)
    expect(staging.objects.get(port.planned[0]?.key as string)?.body.equals(body)).toBe(true)
  })
})
