import { expect, it } from 'vitest'
import { StorageError } from '../../src/errors'
import { directUploads, type FetchHandler } from '../../src/http/direct-uploads'
import { memoryStorage } from '../../src/storage/memory'
import type { DirectUploads, Storage, UploadedPart, UploadForm } from '../../src/storage/storage'
import { bytes, digest, stored } from '../../src/testing/bodies'
import { asking, codeIn, portOn, type TestPort } from './port'

const MB = 1024 * 1024
const base = 'http://app.test/api/uploads'

/** A staging that signs what it is asked to, and whose parts are what a test says. */
interface Bucket extends Storage {
  readonly calls: unknown[][]
  readonly arrived: Map<string, UploadedPart[]>
}

function bucket({ method = 'POST' }: { method?: 'POST' | 'PUT' } = {}): Bucket {
  const calls: unknown[][] = []
  const arrived = new Map<string, UploadedPart[]>()
  const missing = () => new StorageError('upload_missing', 'there is no such upload in bucket internal')
  const note = (...call: unknown[]) => void calls.push(call)
  const uploads: Partial<DirectUploads> = {
    async form(key, info, expiresIn): Promise<UploadForm> {
      note('form', key, info, expiresIn)
      if (method === 'POST') return { method, url: 'https://bucket.test/', fields: { key: `staging/${key}`, policy: 'p' }, headers: {} }
      return { method, url: `https://bucket.test/${key}?signed`, fields: {}, headers: { 'content-type': 'image/png' } }
    },
    async begin(key, info) {
      note('begin', key, info)
      arrived.set('an/id', [])
      return 'an/id'
    },
    async part(key, id, number, expiresIn) {
      note('part', key, id, number, expiresIn)
      return `https://bucket.test/part?${number}`
    },
    async parts(_key, id) {
      const found = arrived.get(id)
      if (!found) throw missing()
      return found
    },
    async complete(key, id, parts) {
      note('complete', key, id, parts)
      if (!arrived.delete(id)) throw missing()
      await staging.write(key, Buffer.alloc(12), { contentType: 'image/png' })
    },
    async abort(key, id) {
      note('abort', key, id)
      arrived.delete(id)
    },
  }
  const staging: Bucket = { ...memoryStorage(), uploads: uploads as DirectUploads, calls, arrived }
  return staging
}

interface Uppy {
  readonly port: TestPort
  readonly handler: FetchHandler
  /** A call below `/s3`, as Uppy makes it. */
  call(method: string, path: string, body?: unknown): Promise<Response>
}

function uppyOn(staging: Storage, { maxSize }: { maxSize?: number } = {}): Uppy {
  const port = portOn(staging, { maxSize })
  const handler = directUploads(port, { authorize: () => 'ada', expiresIn: 600 })
  return {
    port,
    handler,
    call: (method, path, body) =>
      handler(
        new Request(`${base}/s3/${path}`, {
          method,
          ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
        }),
      ),
  }
}

/** What both versions send before a file in one piece; `relativePath` as it comes from the page. */
function params(metadata: Record<string, unknown>, { filename = 'été.png', type = 'image/png' } = {}): string {
  const fields = Object.entries({ name: 'été.png', relativePath: 'null', ...metadata }).map(([name, value]) => [`metadata[${name}]`, String(value)])
  return `params?${new URLSearchParams([['filename', filename], ['type', type], ...(fields as [string, string][])])}`
}

const meta = { entity: 'User', property: 'avatar', size: 12 }

it('answers the form of the staging, with the token in it', async () => {
  const staging = bucket()
  const { call, port } = uppyOn(staging)
  const response = await call('GET', params(meta))
  const [plan] = port.planned
  expect(await response.json()).toEqual({
    method: 'POST',
    url: 'https://bucket.test/',
    fields: { key: `staging/${plan?.key}`, policy: 'p' },
    headers: {},
  })
  expect(staging.calls).toEqual([['form', plan?.key, { fileName: 'été.png', contentType: 'image/png', size: 12, token: plan?.token }, 600]])
  expect(plan).toMatchObject({ subject: 'ada', asked: asking(12) })
})

it('gives the token as the key where a PUT is sent, which has no fields', async () => {
  const { call, port } = uppyOn(bucket({ method: 'PUT' }))
  const response = await call('GET', params(meta))
  expect(await response.json()).toMatchObject({ method: 'PUT', fields: { key: port.planned[0]?.token }, headers: { 'content-type': 'image/png' } })
})

it.each([
  [
    'PUT, as Uppy 5 sends it',
    (url: string, body: Buffer, headers: Record<string, string>) => new Request(url, { method: 'PUT', headers, body: body as never }),
  ],
  [
    'a form, as Uppy 6 sends it whatever was answered',
    (url: string, body: Buffer, _headers: Record<string, string>, fields: Record<string, string>) => {
      const form = new FormData()
      for (const [name, value] of Object.entries(fields)) form.set(name, value)
      form.set('file', new File([body as never], 'été.png'))
      return new Request(url, { method: 'POST', body: form })
    },
  ],
])('takes the bytes itself where the staging cannot, by %s', async (_how, request) => {
  const staging = memoryStorage()
  const { call, handler, port } = uppyOn(staging)
  const answer = (await (await call('GET', params(meta))).json()) as { url: string; headers: Record<string, string>; fields: Record<string, string> }
  const [plan] = port.planned
  expect(answer).toMatchObject({ method: 'PUT', url: `${base}?upload=${plan?.token}`, fields: { key: plan?.token } })
  const response = await handler(request(answer.url, bytes(12), answer.headers, answer.fields))
  expect([response.status, response.headers.get('etag')]).toEqual([200, expect.stringMatching(/^"\w+"$/)])
  expect(await stored(staging, plan?.key as string)).toBe(digest(bytes(12)))
})

it('names itself as the page sees it, behind a proxy', async () => {
  const { handler } = uppyOn(memoryStorage())
  const urlFor = async (headers: Record<string, string>) => {
    const response = await handler(new Request(`${base}/s3/${params(meta)}`, { headers }))
    return new URL(((await response.json()) as { url: string }).url).origin
  }
  const referer = 'https://shop.test/new?a'
  expect(await urlFor({ referer, 'sec-fetch-site': 'same-origin' })).toBe('https://shop.test')
  expect(await urlFor({ referer, 'sec-fetch-site': 'same-site' })).toBe('http://app.test')
  expect(await urlFor({ referer: 'no url', 'sec-fetch-site': 'same-origin' })).toBe('http://app.test')
  expect(await urlFor({ referer })).toBe('http://app.test')
})

it('finds its calls below a path that ends with a slash, too', async () => {
  const { handler, port } = uppyOn(memoryStorage())
  const response = await handler(new Request(`${base}//s3/${params(meta)}`))
  expect(await response.json()).toMatchObject({ url: `${base}?upload=${port.planned[0]?.token}` })
})

it('looks at a path once, however many slashes it has', async () => {
  const { handler } = uppyOn(memoryStorage())
  const response = await handler(new Request(`http://app.test${'/'.repeat(1_000_000)}`))
  expect(await codeIn(response)).toBe('405 method_not_allowed')
})

it.each([
  ['no entity', { property: 'avatar', size: 12 }, "metadata must say 'entity' and 'property'"],
  ['no property', { entity: 'User', size: 12 }, "metadata must say 'entity' and 'property'"],
  ['no size', { entity: 'User', property: 'avatar' }, "uppy.on('file-added', (file) => uppy.setFileMeta(file.id, { size: file.size }))"],
  ['a size that is none', { ...meta, size: 'null' }, "metadata must say the 'size'"],
  ['a negative size', { ...meta, size: -1 }, "metadata must say the 'size'"],
])('says what the page has to add where there is %s', async (_what, metadata, message) => {
  const { call } = uppyOn(bucket())
  const calls = [call('GET', params(metadata)), call('POST', 'multipart', { filename: 'a.png', type: 'image/png', metadata })]
  for (const response of await Promise.all(calls)) {
    expect(response.status).toBe(400)
    const told = (await response.json()) as { message: string; error: { code: string; message: string } }
    expect(told).toMatchObject({ error: { code: 'bad_request', message: expect.stringContaining(message) } })
    // where Uppy 5 looks for it, and where Uppy 6 does
    expect([told.message, response.statusText]).toEqual([told.error.message, told.error.message])
  }
})

it.each(['', 'undefined', 'null'])('takes the type %o for unknown', async (type) => {
  const { call } = uppyOn(bucket())
  const response = await call('GET', params(meta, { type }))
  expect(await response.json()).toMatchObject({ error: { message: 'User.avatar does not take application/octet-stream' } })
})

it('asks authorize before an upload in parts begins, too', async () => {
  const staging = bucket()
  const handler = directUploads(portOn(staging), { authorize: () => false })
  const body = JSON.stringify({ filename: 'a.png', type: 'image/png', metadata: meta })
  const request = new Request(`${base}/s3/multipart`, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
  expect(await codeIn(await handler(request))).toBe('403 forbidden')
  expect(staging.calls).toEqual([])
})

/** An upload of 12 MB that has begun: its token as a query. */
async function begun(staging: Bucket, metadata: Record<string, unknown> = { ...meta, size: 12 * MB }) {
  const uppy = uppyOn(staging, { maxSize: 2 ** 40 })
  const response = await uppy.call('POST', 'multipart', {
    filename: 'été.png',
    type: 'image/png',
    metadata: { name: 'a', relativePath: null, ...metadata },
  })
  expect(response.status).toBe(200)
  const { uploadId, key } = (await response.json()) as { uploadId: string; key: string }
  const [plan] = uppy.port.planned
  expect([uploadId, key]).toEqual(['an/id', plan?.token])
  return { ...uppy, plan, at: (rest: string) => `multipart/an%2Fid${rest}?key=${key}` }
}

it('begins an upload in parts, whose key is the token', async () => {
  const staging = bucket()
  for (const size of [12 * MB, String(12 * MB)]) await begun(staging, { ...meta, size })
  expect(staging.calls.map(([what, , info]) => [what, info])).toEqual(
    Array(2).fill(['begin', { fileName: 'été.png', contentType: 'image/png', size: 12 * MB }]),
  )
})

it('signs each part', async () => {
  const staging = bucket()
  const { call, at, plan } = await begun(staging)
  const response = await call('GET', at('/3'))
  expect(await response.json()).toEqual({ method: 'PUT', url: 'https://bucket.test/part?3', expires: 600 })
  expect(staging.calls.at(-1)).toEqual(['part', plan?.key, 'an/id', 3, 600])
})

it.each(['0', '4', '10001', '-1', '1.5', '1e1', 'x', '01234567', '%31'])('signs no part %s of a file that has three', async (part) => {
  const staging = bucket()
  const { call, at } = await begun(staging)
  const calls = staging.calls.length
  expect(await codeIn(await call('GET', at(`/${part}`)))).toBe('400 bad_request')
  expect(staging.calls).toHaveLength(calls)
})

it('signs no more than ten thousand parts', async () => {
  const { call, at } = await begun(bucket(), { ...meta, size: 2 ** 40 })
  expect((await call('GET', at('/10000'))).status).toBe(200)
  expect(await codeIn(await call('GET', at('/10001')))).toBe('400 bad_request')
})

it('says what has arrived', async () => {
  const staging = bucket()
  const { call, at } = await begun(staging)
  staging.arrived.set('an/id', [{ number: 2, etag: 'b', size: 5 * MB }])
  expect(await (await call('GET', at(''))).json()).toEqual([{ PartNumber: 2, ETag: 'b', Size: 5 * MB }])
})

const three = [5, 5, 2].map((size, at) => ({ number: at + 1, etag: `e${at + 1}`, size: size * MB }))
const named = three.map(({ number, etag }) => ({ PartNumber: number, ETag: `"${etag}"` }))

it('completes what has the size that was announced, and gives the token as the key', async () => {
  const staging = bucket()
  const { call, at, plan } = await begun(staging)
  staging.arrived.set('an/id', three)
  expect(await (await call('POST', at('/complete'), { parts: named })).json()).toEqual({ key: plan?.token })
  expect(staging.calls.at(-1)).toEqual(['complete', plan?.key, 'an/id', named.map(({ PartNumber, ETag }) => ({ number: PartNumber, etag: ETag }))])
})

it('completes no part but the one whose size it has seen, which a larger one may replace', async () => {
  const staging = bucket()
  const { call, at } = await begun(staging)
  staging.arrived.set('an/id', three)
  const parts = named.map((part) => (part.PartNumber === 2 ? { ...part, ETag: '"of what comes next"' } : part))
  expect(await codeIn(await call('POST', at('/complete'), { parts }))).toBe('400 bad_request')
  expect(staging.calls).toHaveLength(1)
})

it('knows no upload whose id is too long to be asked for', async () => {
  const staging = bucket()
  const { call, plan } = await begun(staging)
  for (const [method, step] of [
    ['GET', ''],
    ['GET', '/1'],
    ['POST', '/complete'],
    ['DELETE', ''],
  ] as const) {
    const body = method === 'POST' ? { parts: named } : undefined
    expect(await codeIn(await call(method, `multipart/${'x'.repeat(1025)}${step}?key=${plan?.token}`, body))).toBe('404 unknown_upload')
  }
  expect(staging.calls).toHaveLength(1)
})

it('completes once more where the first answer was lost', async () => {
  const staging = bucket()
  const { call, at, plan } = await begun(staging, meta)
  staging.arrived.set('an/id', [{ number: 1, etag: 'a', size: 12 }])
  const parts = [{ PartNumber: 1, ETag: 'a' }]
  for (const _time of [1, 2]) expect(await (await call('POST', at('/complete'), { parts })).json()).toEqual({ key: plan?.token })
})

it.each([
  ['413 too_large', [...three, { number: 4, etag: 'e4', size: 1 }], [...named, { PartNumber: 4, ETag: 'e4' }]],
  ['400 size_mismatch', three, named.slice(0, 2)],
  ['400 size_mismatch', three.slice(0, 2), named],
])('gives up with %s what has another size', async (answer, arrived, parts) => {
  const staging = bucket()
  const { call, at, plan } = await begun(staging)
  staging.arrived.set('an/id', arrived)
  expect(await codeIn(await call('POST', at('/complete'), { parts }))).toBe(answer)
  expect(staging.calls.at(-1)).toEqual(['abort', plan?.key, 'an/id'])
})

it.each([
  ['no list', { parts: { 1: 'a' } }],
  ['nothing', {}],
  ['an empty list', { parts: [] }],
  ['a part that is none', { parts: [null] }],
  ['a number as text', { parts: [{ PartNumber: '1', ETag: 'a' }] }],
  ['a number that no part has', { parts: [{ PartNumber: 10_001, ETag: 'a' }] }],
  ['no ETag', { parts: [{ PartNumber: 1 }] }],
  ['an ETag that is none', { parts: [{ PartNumber: 1, ETag: { $ne: 1 } }] }],
  [
    'a number twice',
    {
      parts: [
        { PartNumber: 1, ETag: 'a' },
        { PartNumber: 1, ETag: 'b' },
      ],
    },
  ],
])('completes nothing by %s', async (_what, body) => {
  const staging = bucket()
  const { call, at } = await begun(staging)
  expect(await codeIn(await call('POST', at('/complete'), body))).toBe('400 bad_request')
  expect(staging.calls).toHaveLength(1)
})

it('takes a list of ten thousand parts', async () => {
  const staging = bucket()
  const { call, at } = await begun(staging, { ...meta, size: 10_000 })
  const numbers = Array.from({ length: 10_000 }, (_, at) => at + 1)
  staging.arrived.set(
    'an/id',
    numbers.map((number) => ({ number, etag: 'a'.repeat(64), size: 1 })),
  )
  const response = await call('POST', at('/complete'), { parts: numbers.map((PartNumber) => ({ PartNumber, ETag: `"${'a'.repeat(64)}"` })) })
  expect(response.status).toBe(200)
})

it('gives an upload up, and says so in JSON', async () => {
  const staging = bucket()
  const { call, at, plan } = await begun(staging)
  for (const _time of [1, 2]) expect(await (await call('DELETE', at(''))).json()).toEqual({})
  expect(staging.calls.at(-1)).toEqual(['abort', plan?.key, 'an/id'])
})

it.each([
  ['GET', '', undefined],
  ['POST', '/complete', { parts: named }],
])('answers 404 to %s of an upload that is not there', async (method, rest, body) => {
  const staging = bucket()
  const { call, at } = await begun(staging)
  staging.arrived.clear()
  const response = await call(method, at(rest), body)
  expect(await response.clone().text()).not.toContain('internal')
  expect(await codeIn(response)).toBe('404 unknown_upload')
})

it.each([
  ['GET', 'multipart/id'],
  ['GET', 'multipart/id/1'],
  ['POST', 'multipart/id/complete'],
  ['DELETE', 'multipart/id'],
])('checks the token of %s %s', async (method, path) => {
  const staging = bucket()
  const { call } = uppyOn(staging)
  const body = method === 'POST' ? { parts: named } : undefined
  for (const query of ['', '?key=', '?key=forged', '?key=User/avatar/00/00/original']) {
    expect(await codeIn(await call(method, path + query, body))).toBe('403 bad_token')
  }
  expect(staging.calls).toEqual([])
})

it('says that a staging takes no parts', async () => {
  const { call } = uppyOn(memoryStorage())
  const response = await call('POST', 'multipart', { filename: 'a', type: 'image/png', metadata: meta })
  expect(await response.clone().text()).toContain('shouldUseMultipart: false')
  expect(await codeIn(response)).toBe('400 no_parts')
})

it.each([
  ['POST', 'params'],
  ['GET', 'sts'],
  ['GET', 'multipart'],
  ['PUT', 'multipart/id/1'],
  ['POST', 'multipart/id'],
  ['POST', 'multipart/id/complete/now'],
  ['DELETE', 'multipart/'],
])('answers 404 to %s %s', async (method, path) => {
  const { call } = uppyOn(bucket())
  expect(await codeIn(await call(method, path))).toBe('404 unknown_route')
})

it('answers 400 to a path that nobody can decode', async () => {
  const staging = bucket()
  const { call, plan } = await begun(staging)
  expect(await codeIn(await call('GET', `multipart/%E0%A4%A?key=${plan?.token}`))).toBe('400 bad_request')
})

it('puts nothing into the status line that cannot stand there', async () => {
  const { call } = uppyOn(bucket())
  const response = await call('GET', params(meta, { type: 'é/\r\nx' }))
  expect(response.statusText).toBe('User.avatar does not take ?/??x')
})
