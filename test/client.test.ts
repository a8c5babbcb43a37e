import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { PutBucketCorsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { Page } from 'playwright-core'
import { describe, expect, inject, it } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { browserPages } from './support/browser'
import { type Behavior, type Taken, type WebServer, webServer } from './support/web-server'
import { folder, newBucket } from './support/world'

const built = readFile(join(__dirname, '../dist/client.mjs'))

it('is small, and needs nothing', async () => {
  expect(gzipSync(await built, { level: 9 }).length).toBeLessThan(1024)
  expect(String(await built)).not.toMatch(/\bimport\b|\brequire\b/)
})

/** A page that uses the built file as it is. Pauses are noted and not waited for, if nobody says `patient`. */
const html = `<!doctype html><input type="file"><script type="module">
  import { send, upload } from '/client.mjs'
  const soon = setTimeout.bind(globalThis)
  const aborter = new AbortController()
  const progress = []
  const pauses = []
  Object.assign(globalThis, { aborter, progress, pauses })
  globalThis.setTimeout = (resume, pause) => { pauses.push(pause); if (!globalThis.patient) soon(resume) }
  const told = { onProgress: ({ loaded, total }) => progress.push([loaded, total]), signal: aborter.signal }
  const outcome = (promise) => promise.then((value) => ({ value }), (error) =>
    error === aborter.signal.reason ? 'the reason' : { isError: error instanceof Error, code: error.code, message: error.message, status: error.status })
  const file = () => document.querySelector('input').files[0]
  globalThis.uploading = (options) => outcome(upload(file(), { url: '/uploads', entity: 'User', property: 'avatar', ...told, ...options }))
  globalThis.sending = (form, options) => outcome(send(file(), form, { ...told, ...options }))
</script>`

const picture = { name: 'me & <you>.png', mimeType: 'image/png', buffer: Buffer.from('\x89PNG, more or less') }
/** More than connections hold that nobody reads from. */
const largeSize = 24 * 2 ** 20
const refusal = (code: string, message: string) => ({
  headers: { 'content-type': 'application/xml' },
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
})

describe.skipIf(inject('chromium') === null)('in Chromium', () => {
  const newPage = browserPages()

  /** An application with that page and that handler, the page in Chromium with a file chosen, and what the handler was asked. */
  async function open(handler: Behavior, file: string | typeof picture = picture): Promise<{ page: Page; app: WebServer; asked: Taken[] }> {
    const asked: Taken[] = []
    const app = await webServer((request) => {
      if (request.url === '/client.mjs') return { body: client, headers: { 'content-type': 'text/javascript' } }
      if (request.method === 'GET') return { body: html, headers: { 'content-type': 'text/html', 'set-cookie': 'session=mine' } }
      asked.push(request)
      return handler(request, asked.length)
    })
    const client = await built
    const page = await newPage()
    await page.goto(app.origin)
    await page.setInputFiles('input', file)
    return { page, app, asked }
  }

  /** The path of a large file. */
  async function large(): Promise<string> {
    const path = join(await folder(), 'large.png')
    await writeFile(path, Buffer.alloc(largeSize, 'large'))
    return path
  }

  const uploading = (page: Page, options: object = {}) => page.evaluate(`uploading(${JSON.stringify(options)})`)
  const sending = (page: Page, form: object, options: object = {}) => page.evaluate(`sending(${JSON.stringify(form)}, ${JSON.stringify(options)})`)
  const abort = (page: Page) => page.evaluate('aborter.abort(new Error("enough"))')
  const pausesOf = (page: Page) => page.evaluate('pauses') as Promise<number[]>
  const post = (bucket: WebServer, token = 'token') => ({
    method: 'POST',
    url: `${bucket.origin}/photos`,
    fields: { key: 'a/b', policy: 'cG9saWN5', 'Content-Type': 'image/png' },
    headers: {},
    token,
  })
  const put = (url: string) => ({ method: 'PUT', url, fields: {}, headers: { 'content-type': 'image/png' }, token: 'token' })

  it('asks for a form, posts its fields and then the file, and gives the token', async () => {
    const bucket = await webServer(() => ({ status: 204 }), { cors: 'POST' })
    const { page, asked } = await open(() => ({ body: post(bucket) }))
    expect(await uploading(page, { headers: { 'x-csrf-token': 'known' } })).toEqual({ value: { token: 'token' } })

    expect(asked).toHaveLength(1)
    const [{ method, url, headers, body }] = asked as [Taken]
    expect([method, url]).toEqual(['POST', '/uploads'])
    expect(headers).toMatchObject({ 'content-type': 'application/json', cookie: 'session=mine', 'x-csrf-token': 'known' })
    expect(JSON.parse(String(body))).toEqual({
      entity: 'User',
      property: 'avatar',
      fileName: picture.name,
      contentType: 'image/png',
      size: picture.buffer.length,
    })
    expect(bucket.taken).toHaveLength(1)
    const [posted] = bucket.taken as [Taken]
    expect(posted).toMatchObject({ method: 'POST', url: '/photos' })
    expect(posted.headers).not.toHaveProperty('x-csrf-token')
    expect(posted.headers).not.toHaveProperty('cookie')
    const fields = [...(await formOf(posted))]
    expect(fields.map(([name]) => name)).toEqual(['key', 'policy', 'Content-Type', 'file'])
    expect(fields.slice(0, 3).map(([, value]) => value)).toEqual(['a/b', 'cG9saWN5', 'image/png'])
    expect(await bytesOf(fields[3]?.[1])).toEqual(picture.buffer)
  })

  it('sends the bytes alone where the form is a PUT, and says octet-stream of what has no type', async () => {
    const path = join(await folder(), 'from-the-disk.unheard-of')
    await writeFile(path, picture.buffer)
    const bucket = await webServer(() => ({}), { cors: 'PUT' })
    const { page, asked } = await open(() => ({ body: put(`${bucket.origin}/photos/a?signature=1`) }), path)
    expect(await uploading(page)).toEqual({ value: { token: 'token' } })
    expect(JSON.parse(String(asked[0]?.body))).toMatchObject({ fileName: 'from-the-disk.unheard-of', contentType: 'application/octet-stream' })
    expect(bucket.taken).toHaveLength(1)
    expect(bucket.taken[0]).toMatchObject({ method: 'PUT', url: '/photos/a?signature=1', headers: { 'content-type': 'image/png' } })
    expect(bucket.taken[0]?.body).toEqual(picture.buffer)
  })

  it('a path in a form is the application, also at another origin, and is sent the same headers', async () => {
    const api = await webServer(({ method }) => (method === 'POST' ? { body: put('/uploads?upload=token') } : {}), { cors: 'POST, PUT' })
    const { page, asked } = await open(() => ({ status: 500 }))
    const options = { url: `${api.origin}/uploads`, headers: { authorization: 'Bearer me' } }
    expect(await uploading(page, options)).toEqual({ value: { token: 'token' } })
    expect(asked).toEqual([])
    expect(api.taken.map(({ method, url }) => `${method} ${url}`)).toEqual(['POST /uploads', 'PUT /uploads?upload=token'])
    expect(api.taken.map(({ headers }) => headers.authorization)).toEqual(['Bearer me', 'Bearer me'])
    expect(api.taken[1]).toMatchObject({ headers: { 'content-type': 'image/png' }, body: picture.buffer })
  })

  it('tells the progress', async () => {
    const [reading, read] = gate()
    const bucket = await webServer(() => ({}), { cors: 'POST', reading })
    const { page } = await open(() => ({ body: post(bucket) }), await large())
    const progress = () => page.evaluate('progress') as Promise<Array<[number, number]>>
    const result = uploading(page)
    await expect.poll(progress).not.toEqual([])
    const [loaded, total] = (await progress()).at(-1) as [number, number]
    expect(total).toBeGreaterThan(largeSize)
    expect(total).toBeLessThan(largeSize + 1024)
    expect(loaded).toBeGreaterThan(0)
    expect(loaded).toBeLessThan(total)
    read()
    expect(await result).toEqual({ value: { token: 'token' } })
    const all = (await progress()).map(([loaded]) => loaded)
    expect(all).toEqual([...all].sort((one, other) => one - other))
    expect(all.at(-1)).toBe(total)
  })

  it('asks for another form, after longer and longer pauses, when a server is busy or the connection ends', async () => {
    const failures = [{ status: 503, ...refusal('SlowDown', 'Please reduce your request rate.') }, { status: 429 }, 'cut' as const]
    const bucket = await webServer((_, count) => failures[count - 1] ?? { status: 204 }, { cors: 'POST' })
    const { page } = await open((_, count) => (count === 1 ? { status: 502 } : { body: post(bucket, `token ${count}`) }))
    expect(await uploading(page, { retries: 4 })).toEqual({ value: { token: 'token 5' } })
    expect(bucket.taken).toHaveLength(4)
    const pauses = await pausesOf(page)
    // how many times half a second
    expect(pauses.map((pause) => Math.floor(Math.log2(pause / 500)))).toEqual([0, 1, 2, 3])
  })

  it('gives up after the tries it has, with what was said last', async () => {
    const bucket = await webServer((_, count) => ({ status: 503, ...refusal('SlowDown', `No, ${count} times`) }), { cors: 'POST' })
    const { page, asked } = await open(() => ({ body: post(bucket) }))
    const error = { isError: true, code: 'SlowDown', status: 503 }
    expect(await uploading(page)).toEqual({ ...error, message: 'No, 4 times' })
    expect(asked).toHaveLength(4)
    expect(await uploading(page, { retries: 1 })).toEqual({ ...error, message: 'No, 6 times' })
    expect(await sending(page, post(bucket), { retries: 0 })).toEqual({ ...error, message: 'No, 7 times' })
  })

  it('does not try again what was refused: the words of the application and of S3 pass through', async () => {
    const message = "User.avatar takes 'image/png', not 'image/svg+xml'"
    const { page, asked } = await open(() => ({ status: 415, body: { error: { code: 'type_not_accepted', message } } }))
    expect(await uploading(page)).toEqual({ isError: true, code: 'type_not_accepted', message, status: 415 })
    const bucket = await webServer(() => ({ status: 403, ...refusal('AccessDenied', 'Failed: [&quot;eq&quot;, &quot;$key&quot;]') }), {
      cors: 'POST',
    })
    expect(await sending(page, post(bucket))).toEqual({ isError: true, code: 'AccessDenied', message: 'Failed: ["eq", "$key"]', status: 403 })
    expect([asked.length, bucket.taken.length, await pausesOf(page)]).toEqual([1, 1, []])
  })

  it('says who answered where the answer says nothing, also where a form should have come', async () => {
    const answers = [
      { status: 404, body: '<h1>Not here</h1>' },
      { status: 401, body: { error: 'Unauthorized' } },
      { status: 418, ...refusal('', '') },
      { status: 200, body: '<h1>Please log in</h1>' },
      { status: 200, body: null },
      { status: 200, body: {} },
    ]
    const { page, app, asked } = await open((_, count) => answers[count - 1] ?? 'cut')
    for (const { status } of answers) {
      expect(await uploading(page)).toEqual({ isError: true, code: `http_${status}`, message: `${app.origin} answered ${status}`, status })
    }
    expect(asked).toHaveLength(answers.length)
  })

  it.each(['POST', 'PUT'])('says in words that a CORS rule for %s is missing, before the file has gone', async (method) => {
    const bucket = await webServer(() => ({}))
    const { page, app } = await open(() => ({ body: method === 'POST' ? post(bucket) : put(bucket.origin) }))
    const rule = `the bucket's CORS rule must allow ${method} from ${app.origin}`
    const message = `No answer from ${bucket.origin}: the network is down, or ${rule}`
    const error = { isError: true, code: 'no_answer', message, status: 0 }
    expect(await uploading(page, { onProgress: null })).toEqual(error)
    expect(bucket.counts.begun).toBe(0)
  })

  it('speaks of no CORS rule where none is needed', async () => {
    const { page, app } = await open(() => 'cut')
    const message = `No answer from ${app.origin}: the network is down`
    expect(await uploading(page)).toEqual({ isError: true, code: 'no_answer', message, status: 0 })
  })

  it.skipIf(!inject('s3').faithful)('a real bucket takes the file once it has the CORS rule of the docs', async () => {
    const { client, bucket, keys } = await newBucket()
    const { page, app } = await open(() => 'cut')
    const form = await signedPut(bucket)
    expect(await sending(page, form)).toMatchObject({ code: 'no_answer', message: expect.stringContaining('CORS') })
    expect(await keys()).toEqual([])
    const rule = {
      AllowedOrigins: [app.origin],
      AllowedMethods: ['POST', 'PUT'],
      AllowedHeaders: ['*'],
      ExposeHeaders: ['ETag'],
      MaxAgeSeconds: 3600,
    }
    await client.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration: { CORSRules: [rule] } }))
    expect(await sending(page, form)).toEqual({ value: undefined })
    expect(await keys()).toEqual(['a.png'])
  })

  it('send() tries the same form again, and a place that is taken by then has the file', async () => {
    const behaviors = ['cut', { status: 503 }, { status: 412, ...refusal('PreconditionFailed', 'It is there') }] as const
    const bucket = await webServer((_, count) => behaviors[count - 1] ?? 'cut', { cors: 'POST, PUT' })
    const { page, asked } = await open((_, count) => (count === 1 ? 'cut' : { status: 409 }))
    const form = put(`${bucket.origin}/photos/a`)
    expect(await sending(page, form)).toEqual({ value: undefined })
    expect(bucket.taken.map(({ url, body }) => [url, body.equals(picture.buffer)])).toEqual(Array(3).fill(['/photos/a', true]))
    expect(await sending(page, put('/uploads?upload=token'))).toEqual({ value: undefined })
    expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual(Array(2).fill('PUT /uploads?upload=token'))
  })

  it.each(['ConditionalRequestConflict', 'OperationAborted'])(
    'send() tries again where S3 does not know yet what becomes of another try: %s',
    async (code) => {
      const conflict = { status: 409, ...refusal(code, 'Try again') }
      const behaviors = [conflict, conflict, { status: 200 }]
      const bucket = await webServer((_, count) => behaviors[count - 1] ?? 'cut', { cors: 'PUT' })
      const { page } = await open(() => 'cut')
      expect(await sending(page, put(`${bucket.origin}/photos/a`))).toEqual({ value: undefined })
      expect(bucket.taken).toHaveLength(3)
    },
  )

  it('send() to a place that was taken before is refused', async () => {
    const { page, asked } = await open(() => ({ status: 409, body: { error: { code: 'already_uploaded', message: 'It is there' } } }))
    expect(await sending(page, put('/uploads?upload=token'))).toMatchObject({ code: 'already_uploaded', status: 409 })
    expect(asked).toHaveLength(1)
  })

  describe('given up', () => {
    it('before it begins', async () => {
      const { page, asked } = await open(() => 'cut')
      await abort(page)
      expect([await uploading(page), await sending(page, put('/uploads'))]).toEqual(['the reason', 'the reason'])
      expect(asked).toEqual([])
    })

    it('while it asks', async () => {
      const { page, app, asked } = await open(() => 'silent')
      const result = uploading(page)
      await expect.poll(() => asked).toHaveLength(1)
      const closed = app.counts.closed
      await abort(page)
      expect(await result).toBe('the reason')
      await expect.poll(() => app.counts.closed).toBe(closed + 1)
      expect([asked.length, await pausesOf(page)]).toEqual([1, []])
    })

    it('while the file is on its way', async () => {
      const [reading, read] = gate()
      const bucket = await webServer(() => ({}), { cors: 'POST', reading })
      const { page, asked } = await open(() => ({ body: post(bucket) }), await large())
      const result = uploading(page)
      await expect.poll(() => page.evaluate('progress.length')).toBeGreaterThan(0)
      await abort(page)
      expect(await result).toBe('the reason')
      read()
      await expect.poll(() => bucket.counts).toEqual({ begun: 1, closed: 1 })
      expect(bucket.taken).toEqual([])
      expect([asked.length, await pausesOf(page)]).toEqual([1, []])
    })

    it('while it waits for another try', async () => {
      const { page, asked } = await open(() => ({ status: 503 }))
      await page.evaluate('patient = true')
      const result = uploading(page)
      await expect.poll(() => pausesOf(page)).toHaveLength(1)
      await abort(page)
      expect(await result).toBe('the reason')
      expect(asked).toHaveLength(1)
    })
  })
})

/** What waits until it is let go. */
function gate(): [closed: Promise<void>, open: () => void] {
  let open = () => {}
  const closed = new Promise<void>((resolve) => {
    open = resolve
  })
  return [closed, open]
}

async function signedPut(bucket: string): Promise<object> {
  const client = new S3Client({ ...clientConfig(inject('s3')), requestChecksumCalculation: 'WHEN_REQUIRED' })
  const put = new PutObjectCommand({ Bucket: bucket, Key: 'a.png', ContentType: 'image/png' })
  const url = await getSignedUrl(client, put, { signableHeaders: new Set(['content-type']) })
  return { method: 'PUT', url, fields: {}, headers: { 'content-type': 'image/png' } }
}

function formOf({ headers, body }: Taken): Promise<FormData> {
  return new Response(new Uint8Array(body), { headers: { 'content-type': headers['content-type'] as string } }).formData()
}

async function bytesOf(file: unknown): Promise<Buffer> {
  return Buffer.from(await (file as Blob).arrayBuffer())
}
