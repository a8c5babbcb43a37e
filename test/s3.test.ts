import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  type DeleteObjectsCommandInput,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutBucketPolicyCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { type Storage, StorageError, UsageError } from '../src'
import { type S3StorageOptions, s3Storage } from '../src/storage/s3'
import { bytes, digest, MB, sizes, stored, streamOf } from '../src/testing/bodies'
import { storageContract } from '../src/testing/testing'
import { contract, elsewhere } from './support/contract'
import { type Fault, type Rule, startFaultProxy } from './support/fault-proxy'
import { newBucket } from './support/world'

const server = inject('s3')
const faithfully = describe.skipIf(!server.faithful)
const info = { contentType: 'image/png' }

interface SetUp extends Partial<Omit<S3StorageOptions, 'client'>> {
  /** How the client differs from a default one. */
  config?: S3ClientConfig
  /** What goes wrong on the way to the server. */
  rule?: Rule
}

/** A storage in a bucket of its own, and ways round it to see what the server holds. */
async function setUp({ config, rule, ...options }: SetUp = {}) {
  const { client: direct, bucket, keys } = await newBucket()
  const proxy = rule && (await startFaultProxy(server.endpoint, rule))
  const client = new S3Client({ ...clientConfig({ ...server, endpoint: proxy?.url ?? server.endpoint }), ...config })
  onTestFinished(async () => {
    client.destroy()
    await proxy?.stop()
  })
  const storage = s3Storage({ client, bucket, ...options })
  await storage.prepare?.()
  return {
    storage,
    client,
    /** The same bucket, reached without faults. */
    sound: s3Storage({ client: direct, bucket }),
    direct,
    bucket,
    keys,
    operations: proxy?.operations ?? [],
    head: (key: string) => direct.send(new HeadObjectCommand({ Bucket: bucket, Key: key })),
    unfinished: async () => (await direct.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [],
  }
}

const list = (storage: Storage) => Readable.from(storage.list?.('') ?? []).toArray()

const clients: Record<string, S3ClientConfig> = {
  'a default client': {},
  'a client that adds checksums when required': { requestChecksumCalculation: 'WHEN_REQUIRED' },
}

const makeS3 = (options: SetUp) => async () => {
  const { storage, bucket } = await setUp(options)
  process.env['CONTRACT_S3'] = JSON.stringify({ config: clientConfig(server), bucket })
  return storage
}

for (const [name, config] of Object.entries(clients)) contract(`s3Storage with ${name}`, storageContract(makeS3({ config })))
contract('s3Storage with a prefix', storageContract(makeS3({ prefix: 'ours/and ours+only/' })))
contract(
  's3Storage, and processes that are killed',
  storageContract(makeS3({}), elsewhere('s3')).filter(({ name }) => name.includes('killed')),
)

describe('s3Storage', () => {
  it('puts its prefix before every key', async () => {
    const { storage, sound, keys } = await setUp({ prefix: 'ours/' })
    await sound.write('a', bytes(10), info)
    await storage.write('a', bytes(20), info)
    expect(await keys()).toEqual(['a', 'ours/a'])
    expect(storage.url('a')).toMatch(/\/ours\/a$/)
    expect(await list(storage)).toEqual([{ key: 'a', size: 20, modified: expect.any(Date) }])
    await storage.delete(['a'])
    expect(await keys()).toEqual(['a'])
  })

  it('knows the address of its bucket when it is prepared, and says so before', async () => {
    const { client, bucket } = await newBucket()
    const storage = s3Storage({ client, bucket })
    expect(() => storage.url('a')).toThrow(expect.objectContaining({ name: 'UsageError', code: 'not_connected' }))
    await storage.prepare?.()
    expect(storage.url('a b/c#1.png')).toBe(`${server.endpoint}/${bucket}/a%20b/c%231.png`)
  })

  it('shows its objects where a CDN does, prepared or not', async () => {
    const { client, bucket } = await newBucket()
    const storage = s3Storage({ client, bucket, publicUrl: 'https://cdn.test/', prefix: 'ours/' })
    expect(storage.url('a b/ü?.png')).toBe('https://cdn.test/ours/a%20b/%C3%BC%3F.png')
    await storage.prepare?.()
    expect(storage.url('a')).toBe('https://cdn.test/ours/a')
  })

  it.each([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 604_801])('signs no URL that is valid for %d seconds', async (expiresIn) => {
    const { storage } = await setUp()
    const signing = storage.signedUrl?.('a', { expiresIn })
    await expect(signing).rejects.toBeInstanceOf(UsageError)
    await expect(signing).rejects.toMatchObject({ code: 'bad_expiry' })
  })

  it('says so when no server answers', async () => {
    const { storage } = await setUp({ config: { endpoint: 'http://127.0.0.1:1' } })
    await expect(storage.write('a', bytes(10), info)).rejects.toMatchObject({
      name: 'StorageError',
      code: 's3_failed',
      retryable: true,
      message: expect.stringMatching(/'a' in bucket 'test-.*ECONNREFUSED/),
    })
  })
})

faithfully('an object that s3Storage wrote', () => {
  it.each([
    ['image/jpeg', 'inline'],
    ['image/webp', 'inline'],
    ['video/mp4', 'inline'],
    ['audio/mpeg', 'inline'],
    ['application/pdf', 'inline'],
    ['text/plain', 'inline'],
    ['image/svg+xml', 'attachment'],
    ['IMAGE/SVG+XML', 'attachment'],
    ['image/svg+xml; charset=utf-8', 'attachment'],
    ['text/html', 'attachment'],
    ['application/xhtml+xml', 'attachment'],
    ['text/xml', 'attachment'],
    ['text/javascript', 'attachment'],
    ['application/pdfs', 'attachment'],
    ['application/octet-stream', 'attachment'],
  ])('of type %s is served as %s', async (contentType, disposition) => {
    const { storage, head } = await setUp()
    await storage.write('named', bytes(10), { contentType, fileName: 'file.x' })
    await storage.write('nameless', bytes(10), { contentType })
    expect(await head('named')).toMatchObject({ ContentType: contentType, ContentDisposition: `${disposition}; filename=file.x` })
    expect(await head('nameless')).toMatchObject({ ContentType: contentType, ContentDisposition: disposition })
  })

  it.each(['Grüße aus Köln.png', '日本の海 🏖️.png', 'שלום.png', `"quoted" & it's; a=b.png`, '100%25.png'])(
    'offers to be saved as %s',
    async (fileName) => {
      const { storage, head } = await setUp()
      await storage.write('a', bytes(10), { ...info, fileName })
      expect(savedAs((await head('a')).ContentDisposition)).toBe(fileName)
    },
  )

  describe.each([
    ['in one request', bytes(10)],
    ['in parts', bytes(9 * MB)],
  ])('%s', (_, body) => {
    it('may be kept by caches for a year, as it never changes', async () => {
      const { storage, head } = await setUp()
      await storage.write('a', body, { ...info, fileName: 'ü.png' })
      expect(await head('a')).toMatchObject({ CacheControl: 'max-age=31536000, immutable', ContentType: 'image/png' })
      expect(savedAs((await head('a')).ContentDisposition)).toBe('ü.png')
    })

    it('carries the headers that were asked for instead', async () => {
      const headers = { CacheControl: 'no-store', ContentDisposition: 'attachment', Metadata: { origin: 'test' } }
      const { storage, head } = await setUp({ headers })
      await storage.write('a', body, { ...info, fileName: 'a.png' })
      expect(await head('a')).toMatchObject({ ...headers, ContentType: 'image/png' })
    })

    it('is private', async () => {
      const { storage } = await setUp()
      await storage.write('a', body, info)
      expect((await fetch(storage.url('a') as string)).status).toBe(403)
    })

    it('is public where the headers say so', async () => {
      const { storage } = await setUp({ headers: { ACL: 'public-read' } })
      await storage.write('a', body, info)
      const answer = await fetch(storage.url('a') as string)
      expect(answer.status).toBe(200)
      expect(digest(Buffer.from(await answer.arrayBuffer()))).toBe(digest(body))
    })
  })

  it.each(['a b/100%/c#1?d.png', 'a+b&c/"d".png', 'Zoë/🏖️.png', "it's!/(1)*.png"])('has a URL that browsers understand: %s', async (key) => {
    const { storage } = await setUp({ headers: { ACL: 'public-read' }, prefix: 'our own+/' })
    await storage.write(key, bytes(100), info)
    const answer = await fetch(storage.url(key) as string)
    expect(answer.status).toBe(200)
    expect(digest(Buffer.from(await answer.arrayBuffer()))).toBe(digest(bytes(100)))
  })
})

faithfully('a URL signed by s3Storage', () => {
  it.each(['a', 'a b/100%/c#1?d+&e.png', 'Zoë/🏖️.png', "it's!/(1)*.png", '.hidden/..a/b..', '%2F%25/$&;:@,=[]"<>{}|^`\\~.png'])(
    'opens %s to everybody',
    async (key) => {
      const { storage } = await setUp({ prefix: 'our own+/' })
      await storage.write(key, bytes(100), { ...info, fileName: 'written.png' })
      const answer = await fetch((await storage.signedUrl?.(key, { expiresIn: 604_800 })) as string)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toBe('image/png')
      expect(answer.headers.get('content-disposition')).toBe('inline; filename=written.png')
      expect(digest(Buffer.from(await answer.arrayBuffer()))).toBe(digest(bytes(100)))
    },
  )

  it('opens nothing else', async () => {
    const { storage } = await setUp()
    await Promise.all(['a', 'b'].map((key) => storage.write(key, bytes(10), info)))
    const signed = new URL((await storage.signedUrl?.('a', { expiresIn: 60 })) as string)
    signed.pathname = signed.pathname.replace(/a$/, 'b')
    expect((await fetch(signed)).status).toBe(403)
  })

  it('asks to save the object under the name that is given', async () => {
    const { storage } = await setUp()
    await storage.write('a', bytes(10), { ...info, fileName: 'written.png' })
    const answer = await fetch((await storage.signedUrl?.('a', { expiresIn: 60, fileName: 'Grüße "1".png' })) as string)
    expect(answer.status).toBe(200)
    const disposition = answer.headers.get('content-disposition')
    expect(disposition).toMatch(/^attachment;/)
    expect(savedAs(disposition)).toBe('Grüße "1".png')
  })

  it.each([1, 60, 403_200])('works as a stable one, asked for for %d seconds', async (expiresIn) => {
    const { storage } = await setUp()
    await storage.write('a', bytes(10), info)
    const signed = (await storage.signedUrl?.('a', { expiresIn, stable: true, fileName: "a's (1).png" })) as string
    const answer = await fetch(signed)
    expect(answer.status).toBe(200)
    expect(savedAs(answer.headers.get('content-disposition'))).toBe("a's (1).png")
  })

  it('works although the clock is an hour late, once the client knows', async () => {
    const { storage } = await setUp()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3600_000 })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    await storage.write('a', bytes(10), info)
    expect((await fetch((await storage.signedUrl?.('a', { expiresIn: 60 })) as string)).status).toBe(200)
  })

  it('is refused when its time is over', async () => {
    const { storage } = await setUp()
    await storage.write('a', bytes(10), info)
    const [short, long] = await Promise.all([1, 60].map((expiresIn) => storage.signedUrl?.('a', { expiresIn }) as Promise<string>))
    await expect.poll(async () => (await fetch(short as string)).status, { timeout: 10_000 }).toBe(403)
    expect((await fetch(long as string)).status).toBe(200)
  })
})

faithfully('s3Storage on a server that refuses', () => {
  const small = () => streamOf(bytes(10))
  const large = () => streamOf(bytes(9 * MB))

  it('says that the bucket is missing', async () => {
    const { storage } = await setUp({ bucket: 'a-bucket-that-nobody-made' })
    for (const source of [small(), large()]) {
      await expect(storage.write('a', source, info)).rejects.toMatchObject({ name: 'StorageError', code: 'bucket_missing' })
      expect(source.destroyed).toBe(true)
    }
    await expect(storage.read('a')).rejects.toMatchObject({ name: 'StorageError', code: 'bucket_missing' })
    await expect(storage.delete(['a'])).rejects.toMatchObject({ name: 'StorageError', code: 'bucket_missing' })
    await expect(list(storage)).rejects.toMatchObject({ name: 'StorageError', code: 'bucket_missing' })
  })

  it.each([
    ['secret', { accessKeyId: server.accessKeyId, secretAccessKey: 'wrong' }],
    ['access key', { accessKeyId: 'wrong', secretAccessKey: server.secretAccessKey }],
  ])('says that access is denied with a wrong %s', async (_, credentials) => {
    const { storage, keys } = await setUp({ config: { credentials } })
    for (const source of [small(), large()]) {
      await expect(storage.write('a', source, info)).rejects.toMatchObject({ name: 'StorageError', code: 'access_denied' })
      expect(source.destroyed).toBe(true)
    }
    await expect(storage.read('a')).rejects.toMatchObject({ name: 'StorageError', code: 'access_denied' })
    await expect(storage.stat('a')).rejects.toMatchObject({ name: 'StorageError', code: 'access_denied' })
    await expect(storage.delete(['a'])).rejects.toMatchObject({ name: 'StorageError', code: 'access_denied' })
    await expect(list(storage)).rejects.toMatchObject({ name: 'StorageError', code: 'access_denied' })
    expect(await keys()).toEqual([])
  })

  it('rejects when one of many keys may not be deleted', async () => {
    const { storage, direct, bucket, keys } = await setUp()
    const Statement = [{ Effect: 'Deny', Principal: '*', Action: 's3:DeleteObject', Resource: `arn:aws:s3:::${bucket}/kept/*` }]
    await direct.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement }) }))
    await Promise.all(['a', 'b', 'kept/a'].map((key) => storage.write(key, bytes(10), info)))
    await expect(storage.delete(['a', 'kept/a', 'b'])).rejects.toMatchObject({ name: 'StorageError', message: expect.stringContaining('kept/a') })
    expect(await keys()).toEqual(['kept/a'])
  })

  it('tells what the server said, even if that is only a code', async () => {
    const { storage } = await setUp({ rule: () => 'damaged' })
    await expect(storage.write('a', bytes(10), info)).rejects.toThrow('XAmzContentSHA256Mismatch')
  })
})

faithfully('s3Storage with much to do', () => {
  it('deletes a key that is named more than once, which crashes a gateway that hears it', async () => {
    const { storage, client, keys } = await setUp()
    const counts: number[] = []
    client.middlewareStack.add(
      (next) => (args) => {
        counts.push((args.input as DeleteObjectsCommandInput).Delete?.Objects?.length ?? 0)
        return next(args)
      },
      { step: 'initialize' },
    )
    await storage.delete(['a', 'b', 'a', 'a'])
    expect(counts).toEqual([2])
    expect(await keys()).toEqual([])
  })

  it('deletes thousands of keys', async () => {
    const { storage, keys } = await setUp()
    const doomed = Array.from({ length: 2_500 }, (_, number) => `doomed/${number}`)
    const there = [0, 1, 998, 999, 1_000, 1_001, 1_999, 2_000, 2_499].map((number) => doomed[number] as string)
    await Promise.all([...there, 'kept'].map((key) => storage.write(key, bytes(1), info)))
    await storage.delete(doomed)
    expect(await keys()).toEqual(['kept'])
  })

  it('sends up to 8 MB in one request, and more in parts', async () => {
    const { storage, head } = await setUp()
    await storage.write('one', bytes(8 * MB), info)
    await storage.write('two', bytes(8 * MB + 1), info)
    await storage.write('streamed', streamOf(bytes(8 * MB)), info)
    expect((await head('one')).ETag).not.toContain('-')
    expect((await head('streamed')).ETag).not.toContain('-')
    expect((await head('two')).ETag).toMatch(/-2"$/)
    expect(await stored(storage, 'two')).toBe(digest(bytes(8 * MB + 1)))
  })

  it.each(sizes(40 * MB))('sends 40 MB whose size is %s in parts and leaves none behind', async (_, size) => {
    const { storage, head, keys, unfinished } = await setUp()
    const body = bytes(40 * MB)
    await storage.write('a', streamOf(body), { ...info, size })
    expect((await head('a')).ETag).toMatch(/-5"$/)
    expect(await stored(storage, 'a')).toBe(digest(body))
    expect(await unfinished()).toEqual([])
    expect(await keys()).toEqual(['a'])
  })

  it('streams 300 MB without holding them in memory', { timeout: 60_000 }, async () => {
    const { storage } = await setUp()
    // what earlier tests used is freed only a moment after it was collected
    for (let round = 0; round < 3; round++) await setImmediate(held())
    const before = held()
    let most = 0
    const look = (number: number) => {
      if (number % 25 === 0) most = Math.max(most, held())
    }
    await storage.write('a', megabytes(300, look), info)
    expect(await storage.stat('a')).toMatchObject({ size: 300 * MB })
    expect(most - before).toBeLessThan(150 * MB)
    await storage.delete(['a'])
  })

  it('reads no more than a few parts ahead of what the server takes', async () => {
    const { storage } = await setUp({ rule: (operation) => (operation === 'UploadPart' ? 'hang' : undefined), timeout: 2_000 })
    let read = 0
    await expect(
      storage.write(
        'a',
        megabytes(300, () => read++),
        info,
      ),
    ).rejects.toMatchObject({ code: 's3_timeout' })
    expect(read).toBeGreaterThan(8)
    expect(read).toBeLessThan(64)
  })

  it('sends no more than 64 MiB of bodies at a time, and no more than 40, and all of them in the end', async () => {
    const { storage, client, keys } = await setUp()
    const most = { bodies: 0, bytes: 0 }
    const sending = { bodies: 0, bytes: 0 }
    client.middlewareStack.add(
      (next, { commandName = '' }) =>
        async (given) => {
          if (!['PutObjectCommand', 'UploadPartCommand'].includes(commandName)) return next(given)
          const { length } = (given.input as { Body: Uint8Array }).Body
          sending.bodies++
          sending.bytes += length
          most.bodies = Math.max(most.bodies, sending.bodies)
          most.bytes = Math.max(most.bytes, sending.bytes)
          return next(given).finally(() => {
            sending.bodies--
            sending.bytes -= length
          })
        },
      { step: 'initialize' },
    )
    await Promise.all(Array.from({ length: 60 }, (_, at) => storage.write(`small${at}`, bytes(100), info)))
    expect(most.bodies).toBe(40)
    await Promise.all(Array.from({ length: 6 }, (_, at) => storage.write(`large${at}`, streamOf(bytes(20 * MB)), info)))
    expect(most.bytes).toBeGreaterThan(48 * 2 ** 20)
    expect(most.bytes).toBeLessThanOrEqual(64 * 2 ** 20)
    expect(await keys()).toHaveLength(66)
  })

  it('holds no more than three parts of each of many large files', async () => {
    const { storage } = await setUp({ rule: (operation) => (operation === 'UploadPart' ? 'hang' : undefined), timeout: 4_000 })
    let read = 0
    const writes = Array.from({ length: 6 }, (_, at) =>
      storage.write(
        `film${at}`,
        megabytes(100, () => read++),
        info,
      ),
    )
    for (const { status } of await Promise.allSettled(writes)) expect(status).toBe('rejected')
    expect(read).toBeLessThan(6 * (3 * 8 + 4))
  })

  /** Bytes in use. Garbage does not count, and memory that earlier tests left to this process hides nothing, as it would in its RSS. */
  function held(): number {
    setFlagsFromString('--expose-gc')
    runInNewContext('gc')()
    const { external, heapUsed } = process.memoryUsage()
    return external + heapUsed
  }

  /** A stream that is generated while it is read, a megabyte at a time. */
  function megabytes(count: number, onRead: (number: number) => void): Readable {
    function* generate() {
      for (let number = 0; number < count; number++) {
        onRead(number)
        yield bytes(MB, number)
      }
    }
    return Readable.from(generate(), { objectMode: false })
  }
})

faithfully('s3Storage on a bad line', () => {
  const once = (operation: string, fault: Fault) => (asked: string, count: number) => (asked === operation && count === 1 ? fault : undefined)

  describe.each(['unavailable', 'reset', 'lost'] as const)('where one request meets: %s', (fault) => {
    it.each([
      ['PutObject', bytes(100)],
      ['CreateMultipartUpload', bytes(9 * MB)],
      ['UploadPart', bytes(9 * MB)],
      ['CompleteMultipartUpload', bytes(9 * MB)],
    ])('writes in spite of it: %s', async (operation, body) => {
      const { storage, sound, operations, direct, bucket, unfinished } = await setUp({ rule: once(operation, fault) })
      await storage.write('a', streamOf(body), info)
      expect(operations.filter((asked) => asked === operation).length).toBeGreaterThan(1)
      expect(await stored(sound, 'a')).toBe(digest(body))
      // S3 has no way to ask twice for the same upload: one whose answer was lost stays behind, but without a part
      for (const { UploadId } of await unfinished()) {
        expect([operation, fault]).toEqual(['CreateMultipartUpload', 'lost'])
        expect((await direct.send(new ListPartsCommand({ Bucket: bucket, Key: 'a', UploadId }))).Parts ?? []).toEqual([])
      }
    })

    it('reads, looks, lists and deletes in spite of it', async () => {
      const { storage, sound, keys } = await setUp({ rule: (_, count) => (count === 1 ? fault : undefined) })
      await sound.write('a', bytes(100), info)
      expect(await stored(storage, 'a')).toBe(digest(bytes(100)))
      expect(await storage.stat('a')).toMatchObject({ size: 100 })
      expect(await list(storage)).toMatchObject([{ key: 'a' }])
      await storage.delete(['a'])
      expect(await keys()).toEqual([])
    })
  })

  it.each(['GetObject', 'HeadObject', 'DeleteObjects', 'ListObjectsV2', 'CreateMultipartUpload'])(
    'does not wait for ever for an answer to %s',
    { timeout: 10_000 },
    async (operation) => {
      const { storage } = await setUp({ rule: (asked) => (asked === operation ? 'hang' : undefined), timeout: 300 })
      const attempts: Record<string, () => Promise<unknown>> = {
        GetObject: () => storage.read('a'),
        HeadObject: () => storage.stat('a'),
        DeleteObjects: () => storage.delete(['a']),
        ListObjectsV2: () => list(storage),
        CreateMultipartUpload: async () => storage.uploads?.begin('a', { ...info, size: 1 }),
      }
      await expect(attempts[operation]?.()).rejects.toMatchObject({ name: 'StorageError', code: 's3_timeout', retryable: true })
    },
  )

  it('never passes a download that was cut for the whole object', async () => {
    const { storage, sound } = await setUp({ rule: (operation) => (operation === 'GetObject' ? 'cut' : undefined) })
    await sound.write('a', bytes(MB), info)
    await expect(storage.read('a').then(buffer)).rejects.toThrow()
  })

  it('does not wait for ever for the rest of a download', { timeout: 10_000 }, async () => {
    const { storage, sound } = await setUp({ rule: (operation) => (operation === 'GetObject' ? 'stalled' : undefined), timeout: 300 })
    await sound.write('a', bytes(MB), info)
    await expect(storage.read('a').then(buffer)).rejects.toThrow()
  })
})

faithfully('an upload by s3Storage that fails', () => {
  const late = (operation: string, fault: Fault) => (asked: string, count: number) => (asked === operation && count > 1 ? fault : undefined)
  const always = (operation: string, fault: Fault) => (asked: string) => (asked === operation ? fault : undefined)

  describe.each(['unavailable', 'reset', 'hang'] as const)('because of requests that meet: %s', (fault) => {
    it.each<[string, Rule, number]>([
      ['the only request', always('PutObject', fault), 100],
      ['the beginning', always('CreateMultipartUpload', fault), 9 * MB],
      ['all parts', always('UploadPart', fault), 9 * MB],
      ['a later part', late('UploadPart', fault), 9 * MB],
      ['the end', always('CompleteMultipartUpload', fault), 9 * MB],
    ])('leaves nothing and harms nothing: %s', { timeout: 30_000 }, async (_, rule, size) => {
      await expectNothing(await setUp({ rule, timeout: fault === 'hang' ? 2_000 : undefined }), () => streamOf(bytes(size)))
    })
  })

  it('leaves nothing when the answers to its parts are lost', async () => {
    await expectNothing(await setUp({ rule: late('UploadPart', 'lost') }), () => streamOf(bytes(9 * MB)))
  })

  it('leaves nothing when its source breaks', async () => {
    await expectNothing(await setUp(), () => streamOf(bytes(9 * MB), new Error('the source broke')), 'the source broke')
  })

  it.each(['unavailable', 'reset', 'lost'] as const)('leaves nothing even if tidying up meets at first: %s', async (fault) => {
    const rule: Rule = (operation, count) =>
      operation === 'AbortMultipartUpload' && count === 1 ? fault : always('UploadPart', 'unavailable')(operation)
    await expectNothing(await setUp({ rule }), () => streamOf(bytes(9 * MB)))
  })

  it('tells why it failed, and not why tidying up failed', async () => {
    const rule: Rule = (operation) => (({ UploadPart: 'unavailable', AbortMultipartUpload: 'reset' }) as const)[operation]
    const { storage } = await setUp({ rule })
    await expect(storage.write('a', bytes(9 * MB), info)).rejects.toThrow('come again later')
  })

  it.each([
    ['PutObject', 100],
    ['CompleteMultipartUpload', 9 * MB],
  ])('leaves the whole object or nothing when nobody knows how it ended: %s', async (operation, size) => {
    const { storage, sound, unfinished } = await setUp({ rule: always(operation, 'lost') })
    await expect(storage.write('a', bytes(size), info)).rejects.toBeInstanceOf(StorageError)
    expect(await unfinished()).toEqual([])
    if (await sound.stat('a')) expect(await stored(sound, 'a')).toBe(digest(bytes(size)))
  })

  /** Uploads to a new key and, at the same time, to one that holds something. */
  async function expectNothing({ storage, sound, keys, unfinished }: Awaited<ReturnType<typeof setUp>>, source: () => Readable, why = '') {
    await sound.write('older', bytes(5_000), info)
    const failing = ['new', 'older'].map(async (key) => {
      const stream = source()
      const error = await storage.write(key, stream, info).catch((error) => error)
      expect(error).toBeInstanceOf(StorageError)
      expect(error.message).toContain(why)
      expect(stream.destroyed).toBe(true)
    })
    await Promise.all(failing)
    expect(await unfinished()).toEqual([])
    expect(await keys()).toEqual(['older'])
    expect(await stored(sound, 'older')).toBe(digest(bytes(5_000)))
  }
})

faithfully('bytes that are damaged on their way to S3', () => {
  const sent: [string, () => Parameters<ReturnType<typeof s3Storage>['write']>[1], number?][] = [
    ['a Buffer', () => bytes(70_000)],
    ['a stream', () => streamOf(bytes(70_000)), 70_000],
    ['a stream of unknown size', () => streamOf(bytes(70_000))],
    ['a Buffer in parts', () => bytes(9 * MB)],
    ['a stream in parts', () => streamOf(bytes(9 * MB)), 9 * MB],
  ]

  describe.each(Object.entries(clients))('by %s', (_, config) => {
    it.each(sent)('are refused and never stored: %s', (_, body, size) => expectRefused(config, body(), size))

    it('are refused and never stored: the list of parts', () => expectRefused(config, bytes(9 * MB), undefined, 'CompleteMultipartUpload'))
  })

  describe('by a client that signs no bodies', () => {
    it.each(sent)('are refused and never stored: %s', (_, body, size) =>
      expectRefused(clients['a client that adds checksums when required'], body(), size, undefined, true),
    )
  })

  async function expectRefused(config: S3ClientConfig = {}, body: Readable | Uint8Array, size?: number, operation?: string, unsigned = false) {
    const rule: Rule = (asked) => ((operation ? asked === operation : /^(PutObject|UploadPart)$/.test(asked)) ? 'damaged' : undefined)
    const { storage, client, keys, unfinished } = await setUp({ rule, config })
    if (unsigned) signNoBodies(client)
    const error = await storage.write('a', body, { ...info, size }).catch((error) => error)
    expect(error).toBeInstanceOf(StorageError)
    expect(error).toMatchObject({ cause: { $metadata: { httpStatusCode: 400 } } })
    expect(await keys()).toEqual([])
    expect(await unfinished()).toEqual([])
  }

  function signNoBodies(client: S3Client): void {
    client.middlewareStack.add(
      (next) => (args) => {
        ;(args.request as { headers: Record<string, string> }).headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
        return next(args)
      },
      { step: 'build', priority: 'low' },
    )
  }
})

/** The name in a Content-Disposition header as browsers read it. */
function savedAs(header: string | null | undefined): string | undefined {
  const [, extended] = /filename\*=UTF-8''([^;]+)/.exec(header ?? '') ?? []
  const [, quoted] = /filename="((?:[^"\\]|\\.)*)"/.exec(header ?? '') ?? []
  return extended ? decodeURIComponent(extended) : quoted?.replace(/\\(.)/g, '$1')
}
