import { buffer } from 'node:stream/consumers'
import {
  type CompleteMultipartUploadCommandInput,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { type S3StorageOptions, s3Storage } from '../src/storage/s3'
import type { DirectUploads, UploadForm } from '../src/storage/storage'
import { bytes, digest, MB, stored } from '../src/testing/bodies'
import { sessionClient } from './support/session'
import { newBucket } from './support/world'

const server = inject('s3')
const faithfully = describe.skipIf(!server.faithful)

/** A storage in a bucket of its own, whose objects browsers may bring. */
async function setUp({ config, ...options }: { config?: S3ClientConfig } & Partial<S3StorageOptions> = {}) {
  const { client: direct, bucket, keys } = await newBucket()
  const client = new S3Client({ ...clientConfig(server), ...config })
  onTestFinished(() => client.destroy())
  const storage = s3Storage({ client, bucket, ...options })
  return {
    storage,
    uploads: storage.uploads as DirectUploads,
    client,
    direct,
    bucket,
    keys,
    head: (Key: string) => direct.send(new HeadObjectCommand({ Bucket: bucket, Key })),
    tags: async (Key: string) => (await direct.send(new GetObjectTaggingCommand({ Bucket: bucket, Key }))).TagSet,
  }
}

/** Uploads as a browser does. The HTTP status. */
async function send({ method, url, fields, headers }: UploadForm, given: Uint8Array): Promise<number> {
  const body = given as Uint8Array<ArrayBuffer>
  if (method === 'PUT') return statusOf(await fetch(url, { method, headers, body }))
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('file', new File([body], 'whatever.html', { type: 'text/html' }))
  return statusOf(await fetch(url, { method, body: form }))
}

async function statusOf(answer: Response): Promise<number> {
  await answer.arrayBuffer()
  return answer.status
}

const image = { contentType: 'image/png', size: 1_000, fileName: 'Grüße "1".png' }
const odd = ['a', 'User/avatar/ab/abc/original', 'me at the sea/100%+Zoë#1?&=.jpg', '🏖️/שלום/日本 .png', `it's!/(1)*;,:@$~"<>.png`]

describe('s3Storage', () => {
  const { uploads } = s3Storage({ client: new S3Client({ region: 'eu-central-1' }), bucket: 'photos', prefix: 'staging/' })

  it.each([
    ['photos', 'staging/User/avatar/ab', 'User/avatar/ab'],
    ['photos', 'staging/staging/a', 'staging/a'],
    ['photos', 'staging/', undefined],
    ['photos', 'production/a', undefined],
    ['photos', 'stagin', undefined],
    ['others', 'staging/a', undefined],
  ])('knows which key an object of a bucket has: %s, %s', (bucket, objectKey, key) => {
    expect(uploads?.keyOf(objectKey, bucket)).toBe(key)
  })

  it.each([0, -1, 0.5, 604_801])('signs no upload that is valid for %d seconds', async (expiresIn) => {
    await expect(uploads?.form('a', image, expiresIn)).rejects.toMatchObject({ name: 'UsageError', code: 'bad_expiry' })
    await expect(uploads?.part('a', 'id', 1, expiresIn)).rejects.toMatchObject({ name: 'UsageError', code: 'bad_expiry' })
  })

  it('makes no form for a key that the form would replace', async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: that is how S3 writes it
    for (const key of ['a/${filename}', '${filename}/a']) {
      await expect(uploads?.form(key, image, 60)).rejects.toMatchObject({ name: 'UsageError', code: 'bad_key' })
    }
  })
})

describe.each(['POST', 'PUT'] as const)('by %s', (uploadBy) => {
  faithfully('a direct upload', () => {
    it.each(odd)('brings the bytes right to %s', async (key) => {
      const { storage, uploads, keys } = await setUp({ uploadBy, prefix: 'our own+/' })
      const form = await uploads.form(key, image, 60)
      expect(form.method).toBe(uploadBy)
      expect(await send(form, bytes(1_000))).toBeLessThan(300)
      expect(await stored(storage, key)).toBe(digest(bytes(1_000)))
      expect(await keys()).toEqual([`our own+/${key}`])
    })

    it.each([0, 1, 6 * MB])('brings %d bytes', async (size) => {
      const { storage, uploads } = await setUp({ uploadBy })
      expect(await send(await uploads.form('a', { ...image, size }, 60), bytes(size))).toBeLessThan(300)
      expect(await stored(storage, 'a')).toBe(digest(bytes(size)))
    })

    it('has the type that was signed, and not the one of the file', async () => {
      const { uploads, head } = await setUp({ uploadBy })
      await send(await uploads.form('a', image, 60), bytes(1_000))
      expect((await head('a')).ContentType).toBe('image/png')
    })

    it('has the headers that all objects of the storage have', async () => {
      const headers = {
        ACL: 'public-read',
        CacheControl: 'no-store',
        ContentDisposition: 'attachment',
        Metadata: { Origin: 'a test', 'more-of': 'it' },
        StorageClass: 'STANDARD',
        Tagging: 'kind=a%20%3Cb%3E%26c&of=staging',
      } as const
      const { storage, uploads, head, tags } = await setUp({ uploadBy, headers })
      expect(await send(await uploads.form('a', image, 60), bytes(1_000))).toBeLessThan(300)
      expect(await head('a')).toMatchObject({ ContentType: 'image/png', Metadata: { origin: 'a test', 'more-of': 'it' } })
      expect(await tags('a')).toEqual(
        expect.arrayContaining([
          { Key: 'kind', Value: 'a <b>&c' },
          { Key: 'of', Value: 'staging' },
        ]),
      )
      await storage.prepare?.()
      expect(await statusOf(await fetch(storage.url('a') as string))).toBe(200)
    })

    const harmful: Record<string, (form: UploadForm) => UploadForm> = {
      'another key': (form) => changed(form, { key: 'b' }, ({ pathname }) => pathname.replace(/a$/, 'b')),
      'another type': (form) => changed(form, { 'content-type': 'text/html' }),
      'no type': (form) => without(form, 'content-type'),
      'another disposition': (form) => changed(form, { 'content-disposition': 'inline; filename=evil.html' }),
      'another life in caches': (form) => changed(form, { 'cache-control': 'no-store' }),
      'other metadata': (form) => changed(form, { 'x-amz-meta-of': 'somebody' }),
      'another ACL': (form) => changed(form, { [uploadBy === 'POST' ? 'acl' : 'x-amz-acl']: 'public-read-write' }),
      'no ACL': (form) => without(form, uploadBy === 'POST' ? 'acl' : 'x-amz-acl'),
    }

    it.each(Object.entries(harmful))('with %s is refused, and nothing is there', async (_, harm) => {
      const { uploads, keys } = await setUp({ uploadBy, headers: { ACL: 'public-read', Metadata: { of: 'a test' } } })
      const form = await uploads.form('a', { contentType: 'text/plain', size: 1_000 }, 60)
      expect(await send(harm(form), bytes(1_000))).toBe(403)
      expect(await keys()).toEqual([])
      expect(await send(form, bytes(1_000))).toBeLessThan(300)
    })

    it.each([999, 1_001, 0, 5 * MB])('of %d bytes instead of 1000 is refused, and nothing is there', async (size) => {
      const { uploads, keys } = await setUp({ uploadBy })
      const status = await send(await uploads.form('a', image, 60), bytes(size))
      expect([400, 403]).toContain(status)
      expect(await keys()).toEqual([])
    })

    it('is refused when its time is over', async () => {
      const { storage, uploads, keys } = await setUp({ uploadBy })
      const form = await uploads.form('a', image, 1)
      const expired = async () => {
        await storage.delete(['a'])
        return send(form, bytes(1_000))
      }
      await expect.poll(expired, { timeout: 10_000 }).toBe(403)
      expect(await keys()).toEqual([])
    })

    it('works although the clock is an hour late, once the client knows', async () => {
      const { storage, uploads } = await setUp({ uploadBy })
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3600_000 })
      onTestFinished(() => void vi.useRealTimers())
      await storage.stat('a')
      expect(await send(await uploads.form('a', image, 60), bytes(1_000))).toBeLessThan(300)
    })

    it('is signed by the clock and not by how long an answer took', async () => {
      const { uploads, client } = await setUp({ uploadBy })
      client.config.systemClockOffset = -200_000
      expect(await send(await uploads.form('a', image, 60), bytes(1_000))).toBeLessThan(300)
    })

    it.each(['WHEN_SUPPORTED', 'WHEN_REQUIRED'] as const)(
      'asks for no checksum of a client that adds them %s',
      async (requestChecksumCalculation) => {
        const { uploads, client } = await setUp({ uploadBy, config: { requestChecksumCalculation } })
        const form = await uploads.form('a', image, 60)
        expect(JSON.stringify(form)).not.toMatch(/checksum|crc32|md5/i)
        expect(await send(form, bytes(1_000))).toBeLessThan(300)
        expect(await client.config.requestChecksumCalculation()).toBe(requestChecksumCalculation)
      },
    )

    it('may be signed by credentials that expire', async ({ skip }) => {
      const { uploads: signing, keys, bucket } = await setUp()
      expect(await signing.begin('never', image)).toBeTruthy()
      const client = await sessionClient(`uploads-${bucket}`, ['s3:*'], [`${bucket}/*`])
      if (!client) return skip('the server gives out no such credentials')
      const storage = s3Storage({ client, bucket, uploadBy })
      const uploads = storage.uploads as DirectUploads
      expect(await send(await uploads.form('a b+/ü', image, 60), bytes(1_000))).toBeLessThan(300)
      expect(await stored(storage, 'a b+/ü')).toBe(digest(bytes(1_000)))
      const id = await uploads.begin('parts', image)
      expect((await put(await uploads.part('parts', id, 1, 60), bytes(100))).status).toBe(200)
      await uploads.complete('parts', id, await uploads.parts('parts', id))
      expect(await keys()).toEqual(['a b+/ü', 'parts'])
    })
  })

  function changed(form: UploadForm, values: Record<string, string>, path = ({ pathname }: URL) => pathname): UploadForm {
    if (form.method === 'POST') return { ...form, fields: { ...form.fields, ...values } }
    const url = new URL(form.url)
    url.pathname = path(url)
    return { ...form, url: url.href, headers: { ...form.headers, ...values, ...(values['key'] && { key: '' }) } }
  }

  function without(form: UploadForm, name: string): UploadForm {
    const rest = (given: UploadForm['fields']) => Object.fromEntries(Object.entries(given).filter(([key]) => key !== name))
    return { ...form, fields: rest(form.fields), headers: rest(form.headers) }
  }
})

faithfully('a form that is posted', () => {
  it.each([
    ['metadata', { 'x-amz-meta-evil': '1' }],
    ['ACL', { acl: 'public-read' }],
    ['encoding', { 'Content-Encoding': 'gzip' }],
    ['address to go to', { success_action_redirect: 'https://evil.test' }],
    ['class', { 'x-amz-storage-class': 'STANDARD' }],
    ['tags', { tagging: '<Tagging><TagSet/></Tagging>' }],
    ['second type', { 'Content-Type': 'text/html' }],
  ])('with a field that was not signed is refused, and nothing is there: %s', async (_, more) => {
    const { uploads, keys } = await setUp()
    const form = await uploads.form('a', image, 60)
    expect(await send({ ...form, fields: { ...form.fields, ...more } }, bytes(1_000))).toBe(403)
    expect(await keys()).toEqual([])
  })

  it('to another bucket is refused, and nothing is there', async () => {
    const [{ uploads, bucket }, other] = [await setUp(), await setUp()]
    const form = await uploads.form('a', image, 60)
    expect(await send({ ...form, url: form.url.replace(bucket, other.bucket) }, bytes(1_000))).toBe(403)
    expect(await other.keys()).toEqual([])
  })

  it('without a signature is refused, and nothing is there', async () => {
    const { uploads, keys } = await setUp()
    const form = await uploads.form('a', image, 60)
    for (const name of ['X-Amz-Signature', 'Policy']) {
      const fields = Object.fromEntries(Object.entries(form.fields).filter(([key]) => key !== name))
      expect(await send({ ...form, fields }, bytes(1_000))).toBeGreaterThanOrEqual(400)
    }
    expect(await keys()).toEqual([])
  })

  it('again, when its file was looked at, is noticed by whoever reads or copies it', async () => {
    const { storage, uploads } = await setUp()
    const form = await uploads.form('a', image, 60)
    await send(form, bytes(1_000))
    const etag = (await storage.stat('a'))?.etag as string
    expect(digest(await buffer(await storage.read('a', { etag })))).toBe(digest(bytes(1_000)))
    expect(await send(form, bytes(1_000, 7))).toBeLessThan(300)
    await expect(storage.read('a', { etag })).rejects.toMatchObject({ code: 'object_changed', retryable: false })
    await expect(storage.copy?.(storage, 'a', 'b', { ...image, etag })).rejects.toMatchObject({ code: 'object_changed' })
    expect(await storage.stat('b')).toBeUndefined()
  })
})

faithfully('a signed PUT', () => {
  it('is taken once, and what is there stays', async () => {
    const { storage, uploads } = await setUp({ uploadBy: 'PUT' })
    const form = await uploads.form('a', image, 60)
    expect(await send(form, bytes(1_000))).toBe(200)
    expect(await send(form, bytes(1_000, 7))).toBe(412)
    const { 'if-none-match': _, ...headers } = form.headers
    expect(await send({ ...form, headers }, bytes(1_000, 7))).toBe(403)
    expect(await stored(storage, 'a')).toBe(digest(bytes(1_000)))
  })

  it('is taken once, however many come at a time', async () => {
    const { storage, uploads } = await setUp({ uploadBy: 'PUT' })
    const form = await uploads.form('a', image, 60)
    const all = Array.from({ length: 8 }, (_, number) => bytes(1_000, number))
    const statuses = await Promise.all(all.map((body) => send(form, body)))
    expect(statuses.toSorted()).toEqual([200, ...Array.from({ length: 7 }, () => 412)])
    expect(await stored(storage, 'a')).toBe(digest(all[statuses.indexOf(200)] as Buffer))
  })

  it('cannot be made to copy what its credentials may not read', async ({ skip }) => {
    const { storage, bucket, keys } = await setUp()
    await storage.write('production/secret', bytes(1_000), image)
    const client = await sessionClient(`staging-${bucket}`, ['s3:PutObject', 's3:GetObject'], [`${bucket}/staging/*`])
    if (!client) return skip('the server gives out no such credentials')
    const { uploads } = s3Storage({ client, bucket, prefix: 'staging/', uploadBy: 'PUT' })
    const form = (await uploads?.form('a', image, 60)) as UploadForm
    const asCopy = { ...form, headers: { ...form.headers, 'x-amz-copy-source': `/${bucket}/production/secret` } }
    expect(await send(asCopy, bytes(1_000))).toBe(403)
    expect(await keys()).toEqual(['production/secret'])
    expect(await send(form, bytes(1_000))).toBe(200)
  })
})

/** Sends a part, and gives what S3 says of it. */
async function put(url: string, body: Uint8Array) {
  const answer = await fetch(url, { method: 'PUT', body: body as Uint8Array<ArrayBuffer> })
  await answer.arrayBuffer()
  return { status: answer.status, etag: answer.headers.get('etag') as string }
}

faithfully('an upload in parts', () => {
  const large = bytes(10 * MB + 100)
  const pieces = [large.subarray(0, 5 * MB), large.subarray(5 * MB, 10 * MB), large.subarray(10 * MB)]

  it.each(odd)('brings the bytes right to %s', async (key) => {
    const { storage, uploads, keys } = await setUp({ prefix: 'our own+/' })
    const id = await uploads.begin(key, { ...image, size: large.length })
    expect(await uploads.parts(key, id)).toEqual([])
    const sent = await Promise.all(pieces.map(async (piece, at) => put(await uploads.part(key, id, at + 1, 60), piece)))
    expect(sent.map(({ status }) => status)).toEqual([200, 200, 200])
    const parts = await uploads.parts(key, id)
    expect(parts).toEqual(sent.map(({ etag }, at) => ({ number: at + 1, etag: etag.replaceAll('"', ''), size: pieces[at]?.length })))
    await uploads.complete(key, id, parts)
    expect(await stored(storage, key)).toBe(digest(large))
    expect((await storage.stat(key))?.etag).toMatch(/^\w+-3$/)
    expect(await keys()).toEqual([`our own+/${key}`])
  })

  it('takes its parts in any order, by the ETags that the browser saw', async () => {
    const { storage, uploads, client } = await setUp()
    const told: unknown[] = []
    client.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          if (commandName === 'CompleteMultipartUploadCommand')
            told.push(...((args.input as CompleteMultipartUploadCommandInput).MultipartUpload?.Parts ?? []))
          return next(args)
        },
      { step: 'initialize' },
    )
    const id = await uploads.begin('a', image)
    const sent = []
    for (const number of [3, 1, 2]) {
      const { etag } = await put(await uploads.part('a', id, number, 60), pieces[number - 1] as Buffer)
      sent.push({ number, etag })
    }
    await uploads.complete('a', id, sent)
    // AWS refuses any other order, which this server does not
    expect(told).toMatchObject([{ PartNumber: 1 }, { PartNumber: 2 }, { PartNumber: 3 }])
    expect(await stored(storage, 'a')).toBe(digest(large))
  })

  it('has the type and the headers that were told at its beginning', async () => {
    const headers = { Metadata: { origin: 'test' }, CacheControl: 'no-store' }
    const { uploads, head } = await setUp({ headers })
    const id = await uploads.begin('a', image)
    await put(await uploads.part('a', id, 1, 60), bytes(10))
    await uploads.complete('a', id, await uploads.parts('a', id))
    expect(await head('a')).toMatchObject({ ...headers, ContentType: 'image/png', ContentDisposition: expect.stringMatching(/^inline; filename=/) })
  })

  it('asks for no checksum of a part', async () => {
    const { uploads } = await setUp({ config: { requestChecksumCalculation: 'WHEN_SUPPORTED' } })
    expect(await uploads.part('a', await uploads.begin('a', image), 1, 60)).not.toMatch(/checksum|crc32|md5/i)
  })

  it('lists its parts, however many answers that takes', async () => {
    const { uploads, client } = await setUp()
    let asked = 0
    client.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          if (commandName === 'ListPartsCommand') Object.assign(args.input, { MaxParts: 2, asked: ++asked })
          return next(args)
        },
      { step: 'initialize' },
    )
    const id = await uploads.begin('a', image)
    for (const number of [1, 2, 3, 5, 8]) await put(await uploads.part('a', id, number, 60), bytes(number))
    expect((await uploads.parts('a', id)).map(({ number, size }) => [number, size])).toEqual([1, 2, 3, 5, 8].map((number) => [number, number]))
    expect(asked).toBe(3)
  })

  it('takes no part under a signature for another, for another upload, or when its time is over', async () => {
    const { uploads } = await setUp()
    const [id, other] = [await uploads.begin('a', image), await uploads.begin('a', image)]
    const signed = await uploads.part('a', id, 1, 60)
    expect((await put(signed.replace('partNumber=1', 'partNumber=2'), bytes(10))).status).toBe(403)
    expect((await put(signed.replace(encodeURIComponent(id), encodeURIComponent(other)), bytes(10))).status).toBe(403)
    const short = await uploads.part('a', id, 3, 1)
    await expect.poll(async () => (await put(short, bytes(10))).status, { timeout: 10_000 }).toBe(403)
    expect((await uploads.parts('a', id)).filter(({ number }) => number !== 3)).toEqual([])
    expect(await uploads.parts('a', other)).toEqual([])
  })

  it('is no object before it is complete, and never when it is given up', async () => {
    const { storage, uploads, keys } = await setUp()
    const id = await uploads.begin('a', image)
    const { etag } = await put(await uploads.part('a', id, 1, 60), bytes(10))
    expect(await storage.stat('a')).toBeUndefined()
    await uploads.abort('a', id)
    await uploads.abort('a', id)
    await uploads.abort('a', `${id}x`)
    const gone = { name: 'StorageError', code: 'upload_missing', retryable: false, message: expect.stringContaining(`'a' in bucket`) }
    await expect(uploads.parts('a', id)).rejects.toMatchObject(gone)
    await expect(uploads.complete('a', id, [{ number: 1, etag }])).rejects.toMatchObject(gone)
    expect((await put(await uploads.part('a', id, 1, 60), bytes(10))).status).toBe(404)
    expect(await keys()).toEqual([])
  })

  it.each([
    ['none', () => []],
    ['another ETag', ([first]: Sent) => [{ ...first, etag: 'e'.repeat(32) }]],
    ['one that never came', ([first, second]: Sent) => [first, second, { number: 3, etag: first?.etag }]],
    ['one twice', ([first]: Sent) => [first, first]],
    ['one in the middle that is too small', (sent: Sent) => sent],
    ['no ETag that could be one', ([first]: Sent) => [{ ...first, etag: '<"&' }]],
  ])('is made of no other parts than what came: %s', async (_, choose) => {
    const { uploads, keys } = await setUp()
    const id = await uploads.begin('a', image)
    const sent = []
    for (const number of [1, 2]) sent.push({ number, ...(await put(await uploads.part('a', id, number, 60), bytes(10))) })
    const parts = choose(sent) as Sent
    await expect(uploads.complete('a', id, parts)).rejects.toMatchObject({ name: 'StorageError', code: 'bad_parts', retryable: false })
    expect(await keys()).toEqual([])
    expect(await uploads.parts('a', id)).toHaveLength(2)
  })

  it('says why, where it cannot be begun or given up', async () => {
    const { uploads } = await setUp({ bucket: 'a-bucket-that-nobody-made' })
    await expect(uploads.begin('a', image)).rejects.toMatchObject({ name: 'StorageError', code: 'bucket_missing' })
    await expect(uploads.abort('a', 'id')).rejects.toMatchObject({ name: 'StorageError', code: 'bucket_missing' })
    const denied = await setUp({ config: { credentials: { accessKeyId: server.accessKeyId, secretAccessKey: 'wrong' } } })
    await expect(denied.uploads.abort('a', 'id')).rejects.toMatchObject({ name: 'StorageError', code: 'access_denied' })
  })
})

type Sent = { number: number; etag: string }[]
