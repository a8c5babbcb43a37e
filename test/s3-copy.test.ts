import 'reflect-metadata'
import { HeadObjectCommand, ListMultipartUploadsCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { type Attached, Attachment, memoryStorage } from '../src'
import { type S3StorageOptions, s3Storage } from '../src/storage/s3'
import { bytes, digest, MB, stored } from '../src/testing/bodies'
import { type Rule, startFaultProxy } from './support/fault-proxy'
import { newBucket, world } from './support/world'

const server = inject('s3')
const faithfully = describe.skipIf(!server.faithful)

interface SetUp {
  config?: S3ClientConfig
  rule?: Rule
  /** Of the storage that is copied to. */
  to?: Partial<S3StorageOptions>
  /** Of the one that is copied from. */
  from?: Partial<S3StorageOptions>
}

/** Two storages of one client in two buckets, and what the server was asked for. */
async function setUp({ config, rule = () => undefined, to, from }: SetUp = {}) {
  const [source, target] = [await newBucket(), await newBucket()]
  const proxy = await startFaultProxy(server.endpoint, rule)
  const client = new S3Client({ ...clientConfig({ ...server, endpoint: proxy.url }), maxAttempts: 2, ...config })
  onTestFinished(async () => {
    client.destroy()
    await proxy.stop()
  })
  const direct = target.client
  return {
    from: s3Storage({ client, bucket: source.bucket, prefix: 'staged+ /', ...from }),
    to: s3Storage({ client, bucket: target.bucket, ...to }),
    source: s3Storage({ client: source.client, bucket: source.bucket, prefix: 'staged+ /', ...from }),
    target: s3Storage({ client: direct, bucket: target.bucket }),
    operations: proxy.operations,
    keys: target.keys,
    direct,
    head: (Key: string) => direct.send(new HeadObjectCommand({ Bucket: target.bucket, Key })),
    unfinished: async () => (await direct.send(new ListMultipartUploadsCommand({ Bucket: target.bucket }))).Uploads ?? [],
  }
}

const staged = { contentType: 'application/octet-stream' }
const info = { contentType: 'application/pdf', fileName: 'Grüße.pdf' }

faithfully('s3Storage copies on the server', () => {
  it.each(['a', 'my files/100%/c#1?d+&e=f.pdf', 'Zoë/🏖️/שלום.pdf', "it's!/(1)*;,:@$~.pdf"])(
    '%s, without a byte of it passing through',
    async (key) => {
      const { from, to, source, target, operations } = await setUp()
      await source.write(key, bytes(10_000), staged)
      expect(await to.copy?.(from, key, key, { ...info, size: 10_000 })).toBe(true)
      expect(operations).toEqual(['CopyObject'])
      expect(await stored(target, key)).toBe(digest(bytes(10_000)))
      expect(await stored(source, key)).toBe(digest(bytes(10_000)))
    },
  )

  it.each([
    ['by one request', 10_000],
    ['in parts', 65 * MB],
  ])('%s, with the headers of what is written and not of what was staged', { timeout: 60_000 }, async (_, size) => {
    const { from, to, source, head, target, operations, unfinished } = await setUp({
      from: { headers: { Metadata: { of: 'staging' }, CacheControl: 'no-store' } },
      to: { headers: { Metadata: { of: 'storage' }, ACL: 'public-read' } },
    })
    await source.write('a', bytes(size), staged)
    expect(await to.copy?.(from, 'a', 'b', { ...info, size })).toBe(true)
    expect(await head('b')).toMatchObject({
      ContentLength: size,
      ContentType: 'application/pdf',
      CacheControl: 'max-age=31536000, immutable',
      ContentDisposition: expect.stringMatching(/^inline; .*Gr%C3%BC%C3%9Fe\.pdf/),
      Metadata: { of: 'storage' },
    })
    await target.prepare?.()
    expect((await fetch(target.url('b') as string, { method: 'HEAD' })).status).toBe(200)
    expect(await stored(target, 'b')).toBe(digest(bytes(size)))
    expect(operations.filter((operation) => /^(GetObject|PutObject|UploadPart)$/.test(operation))).toEqual([])
    expect(operations.filter((operation) => operation === 'UploadPartCopy')).toHaveLength(size > 64 * MB ? 2 : 0)
    expect(await unfinished()).toEqual([])
  })

  it('also where another client has the same address, and not where it has another', async () => {
    const { from, to, source, operations, target, direct } = await setUp()
    await source.write('a', bytes(10), staged)
    // `to` speaks through the proxy, so for the client without it this is another server
    expect(await to.copy?.(source, 'a', 'b', { ...info, size: 10 })).toBe(false)
    expect(await target.copy?.(from, 'a', 'b', { ...info, size: 10 })).toBe(false)
    expect(operations).toEqual([])
    const client = new S3Client(clientConfig(server))
    onTestFinished(() => client.destroy())
    expect(client).not.toBe(direct)
    expect(await target.copy?.(source, 'a', 'b', { ...info, size: 10 })).toBe(true)
  })

  it('nothing that lies in another kind of storage, whose size is not known, or that needs tags', async () => {
    const { from, to, source, operations } = await setUp()
    await source.write('a', bytes(10), staged)
    expect(await to.copy?.(memoryStorage(), 'a', 'b', { ...info, size: 10 })).toBe(false)
    expect(await to.copy?.({ ...from }, 'a', 'b', { ...info, size: 10 })).toBe(false)
    expect(await to.copy?.(from, 'a', 'b', info)).toBe(false)
    const tagged = await setUp({ to: { headers: { Tagging: 'of=storage' } } })
    expect(await tagged.to.copy?.(tagged.from, 'a', 'b', { ...info, size: 10 })).toBe(false)
    expect(operations).toEqual([])
  })

  it.each(['denied', 'unable'] as const)('nothing where the server refuses to: %s', { timeout: 60_000 }, async (fault) => {
    const { from, to, source, keys, unfinished } = await setUp({ rule: (operation) => (/Copy/.test(operation) ? fault : undefined) })
    for (const size of [10, 65 * MB]) {
      await source.write('a', bytes(size), staged)
      expect(await to.copy?.(from, 'a', 'b', { ...info, size })).toBe(false)
    }
    expect([await keys(), await unfinished()]).toEqual([[], []])
  })

  it('nothing that is not there', async () => {
    const { from, to, keys } = await setUp()
    expect(await to.copy?.(from, 'a', 'b', { ...info, size: 10 })).toBe(false)
    expect(await keys()).toEqual([])
  })

  it.each(['unavailable', 'reset', 'lost', 'failed-late'] as const)('in spite of one request that meets: %s', async (fault) => {
    const { from, to, source, target } = await setUp({ rule: (_, count) => (count === 1 ? fault : undefined) })
    await source.write('a', bytes(10_000), staged)
    expect(await to.copy?.(from, 'a', 'b', { ...info, size: 10_000 })).toBe(true)
    expect(await stored(target, 'b')).toBe(digest(bytes(10_000)))
  })

  it.each([
    ['CopyObject', 10_000, 'failed-late'],
    ['CopyObject', 10_000, 'reset'],
    ['UploadPartCopy', 65 * MB, 'failed-late'],
    ['CompleteMultipartUpload', 65 * MB, 'failed-late'],
  ] as const)('or says that it did not: %s of %d bytes, %s', { timeout: 60_000 }, async (operation, size, fault) => {
    const { from, to, source, keys, unfinished } = await setUp({ rule: (asked) => (asked === operation ? fault : undefined) })
    await source.write('a', bytes(size), staged)
    await expect(to.copy?.(from, 'a', 'b', { ...info, size })).rejects.toMatchObject({ name: 'StorageError', code: expect.stringMatching(/^s3_/) })
    expect([await keys(), await unfinished()]).toEqual([[], []])
  })

  it('and does not wait for ever', async () => {
    const { from, to, source } = await setUp({ to: { timeout: 300 }, rule: (operation) => (operation === 'CopyObject' ? 'hang' : undefined) })
    await source.write('a', bytes(10), staged)
    await expect(to.copy?.(from, 'a', 'b', { ...info, size: 10 })).rejects.toMatchObject({ code: 's3_timeout' })
  })
})

@Entity()
class Contract {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ accept: ['application/pdf'] })
  scan!: Attached
}

const pdf = Buffer.concat([Buffer.from('%PDF-1.7\n'), bytes(200_000)])

faithfully('a PDF that is staged in S3', () => {
  async function saved(rule: Rule = () => undefined) {
    const { from: staging, to: storage, operations, target } = await setUp({ rule })
    const { attachments, dataSource } = await world([Contract], { staging, storage, retry: { attempts: 1 } })
    const contract = new Contract()
    await attachments.attach(contract, 'scan', pdf, { fileName: 'Köln.pdf' })
    await dataSource.manager.save(contract)
    await attachments.idle()
    const { scan } = await dataSource.manager.findOneByOrFail(Contract, { id: contract.id })
    expect(scan).toMatchObject({ processing: false, error: null })
    expect(await stored(target, scan.path() as string)).toBe(digest(pdf))
    const left = []
    for await (const { key } of staging.list?.('') ?? []) left.push(key)
    expect(left).toEqual([])
    return operations
  }

  it('goes from the web process to S3 once, and never through the worker', async () => {
    const operations = await saved()
    expect(operations.filter((operation) => /^(Put|Get|Copy)Object$|UploadPart/.test(operation))).toEqual(['PutObject', 'CopyObject'])
  })

  it('goes through the worker where the server refuses to copy', async () => {
    const operations = await saved((operation) => (operation === 'CopyObject' ? 'denied' : undefined))
    expect(operations.filter((operation) => /^(Put|Get|Copy)Object$/.test(operation))).toEqual(['PutObject', 'CopyObject', 'GetObject', 'PutObject'])
  })
})
