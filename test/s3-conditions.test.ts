import { buffer } from 'node:stream/consumers'
import { HeadObjectCommand, ListMultipartUploadsCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { s3Storage } from '../src/storage/s3'
import { bytes, digest, MB, stored, streamOf } from '../src/testing/bodies'
import { type Rule, startFaultProxy } from './support/fault-proxy'
import { newBucket } from './support/world'

const server = inject('s3')
const faithfully = describe.skipIf(!server.faithful)
const info = { contentType: 'image/png' }

/** A storage in a bucket of its own, and what happens around its requests. */
async function setUp({ rule = () => undefined, config }: { rule?: Rule; config?: S3ClientConfig } = {}) {
  const { client: direct, bucket, keys } = await newBucket()
  const proxy = await startFaultProxy(server.endpoint, rule)
  const client = new S3Client({ ...clientConfig({ ...server, endpoint: proxy.url }), ...config })
  onTestFinished(async () => {
    client.destroy()
    await proxy.stop()
  })
  const sound = s3Storage({ client: direct, bucket })
  return {
    storage: s3Storage({ client, bucket, timeout: 10_000 }),
    client,
    sound,
    keys,
    operations: proxy.operations,
    head: (Key: string) => direct.send(new HeadObjectCommand({ Bucket: bucket, Key })),
    unfinished: async () => (await direct.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [],
    async written(key: string, body: Buffer): Promise<string> {
      await sound.write(key, body, info)
      return (await sound.stat(key))?.etag as string
    },
  }
}

/** Makes the server one that does not mind conditions. */
function withoutConditions(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { headers: Record<string, string> }
      for (const name of ['if-match', 'if-none-match', 'x-amz-copy-source-if-match']) delete headers[name]
      return next(args)
    },
    { step: 'build', priority: 'low' },
  )
}

type Around = { before?(count: number): Promise<unknown>; after?(output: object): Promise<unknown> }

/** Lets something happen before and after each request of a kind. */
function around(client: S3Client, command: string, { before, after }: Around): void {
  let count = 0
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        if (commandName !== `${command}Command`) return next(args)
        await before?.(++count)
        const result = await next(args)
        await after?.(result.output as object)
        return result
      },
    { step: 'initialize' },
  )
}

faithfully('s3Storage reads by an etag', () => {
  it.each([undefined, 10])('what has it, and is told by the server of what has not: %s bytes', async (length) => {
    const { storage, written } = await setUp({ rule: (operation, count) => (operation === 'GetObject' && count > 1 ? 'unmet' : undefined) })
    const etag = await written('a', bytes(1_000))
    expect(digest(await buffer(await storage.read('a', { etag, length })))).toBe(digest(bytes(1_000).subarray(0, length)))
    await expect(storage.read('a', { etag, length })).rejects.toMatchObject({
      name: 'StorageError',
      code: 'object_changed',
      retryable: false,
      message: expect.stringMatching(/^'a' in bucket 'test-\w+' is not what it was .* upload the file anew$/),
    })
  })

  it('and sees itself what a server gives that does not mind, and lets go of it', async () => {
    const { storage, client, written } = await setUp({ config: { requestHandler: { httpAgent: { maxSockets: 1, keepAlive: true } } } })
    withoutConditions(client)
    const etag = await written('a', bytes(1_000))
    expect(digest(await buffer(await storage.read('a', { etag })))).toBe(digest(bytes(1_000)))
    await written('a', bytes(8 * MB, 1))
    for (let time = 0; time < 3; time++) await expect(storage.read('a', { etag })).rejects.toMatchObject({ code: 'object_changed' })
    expect(await storage.stat('a')).toMatchObject({ size: 8 * MB })
    await written('a', bytes(0))
    for (const length of [undefined, 10]) await expect(storage.read('a', { etag, length })).rejects.toMatchObject({ code: 'object_changed' })
  })
})

faithfully('s3Storage copies by an etag', () => {
  const copied = { ...info, size: 1_000 }

  it('by one look and one copy, whose own ETag proves it', async () => {
    const { storage, operations, written, sound } = await setUp()
    const etag = await written('a', bytes(1_000))
    expect(await storage.copy?.(storage, 'a', 'b', { ...copied, etag })).toBe(true)
    expect(operations).toEqual(['HeadObject', 'CopyObject'])
    expect(await stored(sound, 'b')).toBe(digest(bytes(1_000)))
  })

  it.each([
    ['CopyObject', 1_000],
    ['UploadPartCopy', 65 * MB],
  ] as const)('and is told by the server that it is another: %s', async (operation, size) => {
    const { storage, keys, unfinished, written } = await setUp({ rule: (asked) => (asked === operation ? 'unmet' : undefined) })
    const etag = await written('a', bytes(size))
    const copy = storage.copy?.(storage, 'a', 'b', { ...info, size, etag })
    await expect(copy).rejects.toMatchObject({ name: 'StorageError', code: 'object_changed', message: expect.stringContaining(`'a' in bucket`) })
    expect([await keys(), await unfinished()]).toEqual([['a'], []])
  })

  it('and deletes what a server copied that does not mind, when it was swapped', async () => {
    const { storage, client, keys, written } = await setUp()
    withoutConditions(client)
    const etag = await written('a', bytes(1_000))
    around(client, 'CopyObject', { before: () => written('a', bytes(1_000, 1)) })
    await expect(storage.copy?.(storage, 'a', 'b', { ...copied, etag })).rejects.toMatchObject({ code: 'object_changed' })
    expect(await keys()).toEqual(['a'])
  })

  it('also when it was put back meanwhile', async () => {
    const { storage, client, keys, written, head } = await setUp()
    withoutConditions(client)
    const etag = await written('a', bytes(1_000))
    // times are told in whole seconds
    const { LastModified } = await head('a')
    const passed = async () => {
      await written('clock', bytes(1))
      return ((await head('clock')).LastModified as Date) > (LastModified as Date)
    }
    await expect.poll(passed).toBe(true)
    const swapping = { before: () => written('a', bytes(1_000, 1)), after: () => written('a', bytes(1_000)) }
    around(client, 'CopyObject', swapping)
    await expect(storage.copy?.(storage, 'a', 'b', { ...copied, etag })).rejects.toMatchObject({ code: 'object_changed' })
    expect(await keys()).toEqual(['a', 'clock'])
  })

  it('and completes no copy in parts, when it was swapped between them', { timeout: 60_000 }, async () => {
    const { storage, client, keys, unfinished, written } = await setUp()
    withoutConditions(client)
    const etag = await written('a', bytes(65 * MB))
    around(client, 'UploadPartCopy', { before: async (count) => count === 2 && (await written('a', bytes(65 * MB, 1))) })
    const copy = storage.copy?.(storage, 'a', 'b', { ...info, size: 65 * MB, etag })
    await expect(copy).rejects.toMatchObject({ code: 'object_changed' })
    expect([await keys(), await unfinished()]).toEqual([['a'], []])
  })

  it('in parts, when nobody swaps it', { timeout: 60_000 }, async () => {
    const { storage, operations, sound, written } = await setUp()
    const etag = await written('a', bytes(65 * MB))
    expect(await storage.copy?.(storage, 'a', 'b', { ...info, size: 65 * MB, etag })).toBe(true)
    expect(operations.filter((operation) => operation === 'HeadObject')).toHaveLength(2)
    expect(await stored(sound, 'b')).toBe(digest(bytes(65 * MB)))
  })

  it('also what came in parts, or is encrypted where it goes, so that its copy has another ETag', async () => {
    const { storage, client, operations, sound, written } = await setUp()
    const etag = await written('a', bytes(9 * MB))
    expect(etag).toContain('-')
    around(client, 'CopyObject', { after: async (output) => Object.assign(output, { CopyObjectResult: { ETag: '"another"' } }) })
    expect(await storage.copy?.(storage, 'a', 'b', { ...info, size: 9 * MB, etag })).toBe(true)
    expect(operations).toEqual(['HeadObject', 'CopyObject', 'HeadObject'])
    expect(await stored(sound, 'b')).toBe(digest(bytes(9 * MB)))
  })

  it('or says that it cannot, where it may not look, or what it copied has gone', async () => {
    const denied = await setUp({ rule: (operation) => (operation === 'HeadObject' ? 'denied' : undefined) })
    const etag = await denied.written('a', bytes(1_000))
    expect(await denied.storage.copy?.(denied.storage, 'a', 'b', { ...copied, etag })).toBe(false)
    expect(await denied.keys()).toEqual(['a'])

    const { storage, client, sound, written } = await setUp()
    await written('a', bytes(1_000))
    around(client, 'CopyObject', {
      after: async (output) => {
        Object.assign(output, { CopyObjectResult: {} })
        await sound.delete(['a'])
      },
    })
    expect(await storage.copy?.(storage, 'a', 'b', { ...copied, etag })).toBe(false)
    // somebody else may have finished with it, and deleted what it was copied from
    expect(await stored(sound, 'b')).toBe(digest(bytes(1_000)))
  })
})

faithfully('s3Storage writes once', () => {
  const once = { ...info, once: true }

  it.each([
    ['CRC32', {}],
    ['MD5', { requestChecksumCalculation: 'WHEN_REQUIRED' } as const],
  ])('although an answer is lost, when it finds what it wrote itself: %s', async (_, config) => {
    for (const body of [bytes(1_000), streamOf(bytes(1_000))]) {
      const rule: Rule = (operation, count) => (operation === 'PutObject' && count === 1 ? 'lost' : undefined)
      const { storage, sound, operations } = await setUp({ rule, config })
      await storage.write('a', body, once)
      expect(operations).toEqual(['HeadObject', 'PutObject', 'PutObject', 'HeadObject'])
      expect(await stored(sound, 'a')).toBe(digest(bytes(1_000)))
    }
  })

  it.each([
    ['asks at first', 0],
    ['asks again', 1],
  ])('and not what somebody else wrote before it %s', async (_, failed) => {
    const { storage, client, sound, written } = await setUp({
      rule: (operation, count) => (operation === 'PutObject' && count <= failed ? 'unavailable' : undefined),
    })
    let attempt = 0
    client.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          if (commandName === 'PutObjectCommand' && attempt++ === failed) await written('a', bytes(1_000, 1))
          return next(args)
        },
      { step: 'finalizeRequest', priority: 'low' },
    )
    await expect(storage.write('a', bytes(1_000), once)).rejects.toMatchObject({
      code: 'object_exists',
      message: expect.stringContaining(`'a' in bucket`),
    })
    expect(await stored(sound, 'a')).toBe(digest(bytes(1_000, 1)))
  })

  it('one of many, however many try at a time', async () => {
    const { storage, sound } = await setUp()
    const bodies = Array.from({ length: 20 }, (_, number) => bytes(1_000 + number))
    const ended = await Promise.allSettled(bodies.map((body) => storage.write('a', body, once)))
    const codes = ended.map((end) => (end.status === 'rejected' ? end.reason.code : 'written'))
    expect(codes.toSorted()).toEqual([...Array.from({ length: 19 }, () => 'object_exists'), 'written'])
    expect(await stored(sound, 'a')).toBe(digest(bodies[codes.indexOf('written')] as Buffer))
  })
})
