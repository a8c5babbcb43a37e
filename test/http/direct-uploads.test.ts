import { expect, it } from 'vitest'
import { StorageError, UsageError } from '../../src/errors'
import { type DirectUploadOptions, directUploads } from '../../src/http/direct-uploads'
import { memoryStorage } from '../../src/storage/memory'
import type { DirectUploads, Storage } from '../../src/storage/storage'
import { asking, codeIn, portOn, posting } from './port'

const anybody = { authorize: () => true }

/** A staging that signs forms, and says what it was asked for. */
function signing(uploads: Partial<DirectUploads>): Storage {
  return { ...memoryStorage(), uploads: uploads as DirectUploads }
}

it('answers what the staging has signed, and a token', async () => {
  const asked: unknown[] = []
  const form = { method: 'POST' as const, url: 'https://bucket.test/', fields: { key: 'a', policy: 'p' }, headers: {} }
  const staging = signing({
    form: async (...args) => {
      asked.push(args)
      return form
    },
  })
  const port = portOn(staging)
  const response = await directUploads(port, { ...anybody, expiresIn: 60 })(posting(asking(7)))
  const [plan] = port.planned
  expect(response.status).toBe(200)
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(await response.json()).toEqual({ ...form, token: plan?.token })
  expect(asked).toEqual([[plan?.key, { fileName: 'été.png', contentType: 'image/png', size: 7 }, 60]])
})

it('signs for an hour where nothing is said', async () => {
  let seconds = 0
  const staging = signing({
    form: async (_key, _info, expiresIn) => {
      seconds = expiresIn
      return { method: 'PUT', url: 'https://bucket.test/', fields: {}, headers: {} }
    },
  })
  await directUploads(portOn(staging), anybody)(posting(asking(7)))
  expect(seconds).toBe(3600)
})

it('takes the bytes itself where the staging cannot', async () => {
  const port = portOn(memoryStorage())
  const response = await directUploads(port, anybody)(posting(asking(7), { url: 'http://app.test/api/uploads?page=1' }))
  const token = port.planned[0]?.token
  const headers = { 'content-type': 'application/octet-stream' }
  expect(await response.json()).toEqual({ method: 'PUT', url: `/api/uploads?upload=${token}`, fields: {}, headers, token })
})

it('never names another host, whatever the path', async () => {
  const response = await directUploads(portOn(memoryStorage()), anybody)(posting(asking(7), { url: 'http://app.test//evil.test/uploads' }))
  expect(await response.json()).toMatchObject({ url: expect.stringMatching(/^\/evil\.test\/uploads\?/) })
})

it.each([
  ['no JSON at all', 'name=me.png'],
  ['JSON cut short', '{"entity":'],
  ['bytes that are no text', new Uint8Array([0x22, 0xff, 0x22])],
  ['a list', [asking(7)]],
  ['null', 'null'],
  ['a string', '"User"'],
  ['an empty body', ''],
  ['a field too many', { ...asking(7), key: 'User/avatar/00/0/original' }],
  ['a __proto__', '{"__proto__":{},"entity":"User","property":"avatar","fileName":"a","contentType":"image/png","size":7}'],
  ['a field too few', { ...asking(7), fileName: undefined }],
  ['a name that is none', { ...asking(7), fileName: ['a.png', 'b.png'] }],
  ['a size as text', { ...asking(7), size: '7' }],
  ['an entity that is an object', { ...asking(7), entity: { toString: 'User' } }],
])('answers 400 to %s', async (_what, body) => {
  const port = portOn(memoryStorage())
  expect(await codeIn(await directUploads(port, anybody)(posting(body)))).toBe('400 bad_request')
  expect(port.planned).toEqual([])
})

it('says which field is wrong', async () => {
  const response = await directUploads(portOn(memoryStorage()), anybody)(posting({ ...asking(7), size: '7' }))
  expect(await response.json()).toEqual({ error: { code: 'bad_request', message: "the field 'size' must be a number" } })
})

it.each([
  ['404 unknown_attachment', { ...asking(7), entity: 'Customer' }],
  ['404 unknown_attachment', { ...asking(7), property: 'constructor' }],
  ['400 bad_size', asking(-1)],
  ['400 bad_size', asking(1.5)],
  ['400 empty', asking(0)],
  ['413 too_large', asking(2 ** 30)],
  ['415 type_not_accepted', { ...asking(7), contentType: 'text/html' }],
])('answers %s as the port refuses', async (answer, body) => {
  expect(await codeIn(await directUploads(portOn(memoryStorage()), anybody)(posting(body)))).toBe(answer)
})

it('does not tell what attachments there are', async () => {
  const handler = directUploads(portOn(memoryStorage()), anybody)
  for (const body of [
    { ...asking(7), entity: 'Nobody' },
    { ...asking(7), property: 'none' },
  ]) {
    expect(await (await handler(posting(body))).text()).not.toMatch(/Customer|secretPlan/)
  }
})

it.each(['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded', '', 'text/json', 'text/plain; application/json'])(
  'takes no JSON as %o, as a form of another site could send it',
  async (type) => {
    expect(await codeIn(await directUploads(portOn(memoryStorage()), anybody)(posting(asking(7), { type })))).toBe('415 not_json')
  },
)

it.each(['application/json; charset=utf-8', 'Application/JSON'])('takes %s', async (type) => {
  expect((await directUploads(portOn(memoryStorage()), anybody)(posting(asking(7), { type }))).status).toBe(200)
})

it('stops reading a body that is too long, whatever length was said', async () => {
  let read = 0
  let cancelled = false
  const endless = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        read += 4096
        controller.enqueue(new Uint8Array(4096).fill(32))
      },
      cancel() {
        cancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  const headers = { 'content-type': 'application/json', 'content-length': '10' }
  const request = new Request('http://app.test/uploads', { method: 'POST', headers, body: endless, duplex: 'half' })
  expect(await codeIn(await directUploads(portOn(memoryStorage()), anybody)(request))).toBe('413 request_too_large')
  expect(read).toBeLessThanOrEqual(24 * 1024)
  expect(cancelled).toBe(true)
})

it('answers a body that breaks off, so that nobody takes it for a failure of the server', async () => {
  const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error('aborted')) })
  const headers = { 'content-type': 'application/json' }
  const request = new Request('http://app.test/uploads', { method: 'POST', headers, body: broken, duplex: 'half' })
  expect(await codeIn(await directUploads(portOn(memoryStorage()), anybody)(request))).toBe('400 source_failed')
})

it('throws where somebody has read the body before', async () => {
  const request = posting(asking(7))
  await request.text()
  await expect(directUploads(portOn(memoryStorage()), anybody)(request)).rejects.toMatchObject({ code: 'body_used' })
})

it.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('answers 405 to %s', async (method) => {
  const response = await directUploads(portOn(memoryStorage()), anybody)(new Request('http://app.test/uploads', { method }))
  expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, PUT'])
})

it('takes no bytes where the staging takes them', async () => {
  const request = new Request('http://app.test/uploads?upload=x', { method: 'PUT', body: 'bytes' })
  const response = await directUploads(portOn(signing({})), anybody)(request)
  expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
})

it('asks authorize what was asked for, and plans for whom it says', async () => {
  const port = portOn(memoryStorage())
  const seen: unknown[] = []
  const authorize: DirectUploadOptions['authorize'] = async (request, asked) => {
    seen.push(request.headers.get('content-type'), asked)
    return 'user-7'
  }
  await directUploads(port, { authorize })(posting(asking(7)))
  expect(seen).toEqual(['application/json', asking(7)])
  expect(port.planned[0]?.subject).toBe('user-7')
})

it('plans for whoever brings the token, where authorize says true', async () => {
  const port = portOn(memoryStorage())
  await directUploads(port, anybody)(posting(asking(7)))
  expect(port.planned[0]?.subject).toBeNull()
})

it.each([false, null, undefined, '', 0, 7, {}, []])('refuses where authorize answers %o', async (allowed) => {
  const port = portOn(memoryStorage())
  const handler = directUploads(port, { authorize: () => allowed as never })
  expect(await codeIn(await handler(posting(asking(7))))).toBe('403 forbidden')
  expect(port.planned).toEqual([])
})

it('tells nobody anything before authorize has allowed it', async () => {
  const handler = directUploads(portOn(memoryStorage()), { authorize: () => false })
  expect(await codeIn(await handler(posting({ ...asking(7), entity: 'Nobody' })))).toBe('403 forbidden')
})

it('answers a Response that authorize throws, and throws everything else', async () => {
  const port = portOn(memoryStorage())
  const throwing = (thrown: unknown) =>
    directUploads(port, {
      authorize: async () => {
        throw thrown
      },
    })
  const response = await throwing(new Response('log in first', { status: 401 }))(posting(asking(7)))
  expect([response.status, await response.text()]).toEqual([401, 'log in first'])
  for (const thrown of [new Error('the database is away'), new UsageError('bad_token', 'of something else'), 'a string']) {
    await expect(throwing(thrown)(posting(asking(7)))).rejects.toBe(thrown)
  }
})

it('is not made without authorize', () => {
  for (const options of [{}, { authorize: true }, { authorize: undefined }]) {
    expect(() => directUploads(portOn(memoryStorage()), options as never)).toThrow(expect.objectContaining({ code: 'authorize_missing' }))
  }
})

it('throws what the storage says, which names keys and hosts', async () => {
  const failure = new StorageError('s3_failed', "cannot sign 'User/avatar/…' at https://bucket.internal")
  const staging = signing({
    form: async () => {
      throw failure
    },
  })
  await expect(directUploads(portOn(staging), anybody)(posting(asking(7)))).rejects.toBe(failure)
})

it('throws what is a mistake of the program', async () => {
  const mistake = new UsageError('not_connected', 'the attachments are not connected')
  const port = {
    ...portOn(memoryStorage()),
    plan() {
      throw mistake
    },
  }
  await expect(directUploads(port, anybody)(posting(asking(7)))).rejects.toBe(mistake)
})
