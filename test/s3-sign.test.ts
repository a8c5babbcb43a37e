import { GetObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { create as contentDisposition } from 'content-disposition'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { UsageError } from '../src'
import { s3Storage } from '../src/storage/s3'
import type { Asked } from '../src/storage/s3-form'
import { signerOf } from '../src/storage/s3-sign'
import { validityOf } from '../src/storage/s3-validity'

const day = 24 * 3600
const week = 7 * day

type Request = { path: string; query: Record<string, string>; headers: Record<string, string> }

/** A client, and how often something was signed by the SDK for it. Nothing of it is sent. */
function setUp(config: S3ClientConfig = {}, bucket = 'photos') {
  const client = new S3Client({ region: 'eu-central-1', credentials: { accessKeyId: 'AKIA', secretAccessKey: 'secret' }, ...config })
  const sdk = { signed: 0 }
  change(client, () => sdk.signed++)
  const sign = signerOf(client, bucket)
  const presign = ({ key, disposition, date, expiresIn }: Asked) =>
    getSignedUrl(client, new GetObjectCommand({ Bucket: bucket, Key: key, ResponseContentDisposition: disposition }), {
      signingDate: date,
      expiresIn,
    })
  return { client, sdk, sign, presign }
}

/** Lets a middleware of the client's look at each request before it is signed. */
function change(client: S3Client, look: (request: Request) => void): void {
  client.middlewareStack.add(
    (next) => (args) => {
      look(args.request as Request)
      return next(args)
    },
    { step: 'build' },
  )
}

const asked: Asked = { key: 'a/b.png', date: new Date('2025-06-30T12:00:00Z'), expiresIn: 60 }

/** What is spelt in a way of its own, in URLs or in signatures. */
const odd = [...` %+"'!()*&=?#/\\~.-_:;@,$[]{}|^<>\`\t\nüßñ日\u0301\u200f`, '..', './', '/../', '%2F', '%25', '🏖️', '$&', '.']
const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 20 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 10 }),
  fc.string({ unit: fc.oneof(fc.constantFrom(...odd), fc.constantFrom('a', 'B', '0')), minLength: 1, maxLength: 20 }),
)
/** Any second of a century, those around midnight more often. */
const moment = fc
  .tuple(fc.integer({ min: 10_957, max: 47_481 }), fc.oneof(fc.integer({ min: -1_500, max: 1_500 }), fc.integer({ min: 0, max: day * 1000 })))
  .map(([midnight, milliseconds]) => new Date(midnight * day * 1000 + milliseconds))
const anyAsked: fc.Arbitrary<Asked> = fc.record({
  key: text,
  disposition: fc.option(
    text.map((name) => contentDisposition(name)),
    { nil: undefined },
  ),
  date: moment,
  expiresIn: fc.oneof(fc.integer({ min: 1, max: week }), fc.constantFrom(1, week)),
})
const secret = fc.string({ minLength: 1, maxLength: 40 })
const credentials = fc.record({
  accessKeyId: fc.oneof(fc.stringMatching(/^[A-Z0-9]{16,20}$/), secret),
  secretAccessKey: secret,
  sessionToken: fc.option(fc.oneof(fc.base64String({ minLength: 4, maxLength: 400 }), secret), { nil: undefined }),
})
const endpoint = fc.constantFrom('https://s3.test', 'http://localhost:9000', 'https://s3.test:8443/base/path', 'https://s3.test/a%20b/')
const anyConfig: fc.Arbitrary<S3ClientConfig> = fc
  .record({
    region: fc.constantFrom('us-east-1', 'eu-central-1', 'cn-north-1', 'us-gov-west-1', 'auto'),
    credentials,
    forcePathStyle: fc.boolean(),
    responseChecksumValidation: fc.constantFrom('WHEN_SUPPORTED', 'WHEN_REQUIRED'),
    endpoint: fc.option(endpoint, { nil: undefined }),
    useDualstackEndpoint: fc.boolean(),
    useFipsEndpoint: fc.boolean(),
  })
  .map(({ useDualstackEndpoint, useFipsEndpoint, ...config }) =>
    // the SDK refuses these with an endpoint
    config.endpoint ? config : { ...config, useDualstackEndpoint, useFipsEndpoint },
  ) as fc.Arbitrary<S3ClientConfig>
const anyBucket = fc.constantFrom('photos', 'my.photos.example', 'a-b-c', 'arn:aws:s3:us-east-1:123456789012:accesspoint/shown')

describe('a signed URL', () => {
  it('is what the SDK gives, byte for byte, while the SDK signs nothing but the samples', async () => {
    const property = fc.asyncProperty(anyConfig, anyBucket, fc.array(anyAsked, { minLength: 1, maxLength: 5 }), async (config, bucket, all) => {
      const { client, sdk, sign, presign } = setUp({ useArnRegion: true, ...config }, bucket)
      const expected = await Promise.all(all.map(presign)).catch((error: Error) => error)
      sdk.signed = 0
      const given = await Promise.all(all.map(sign)).catch((error: Error) => error)
      expect(given).toEqual(expected)
      if (!(expected instanceof Error)) expect(sdk.signed).toBe(2)
      client.destroy()
    })
    await fc.assert(property, { numRuns: 200 })
  })

  it.each<[string, S3ClientConfig]>([
    ['an accelerated bucket', { useAccelerateEndpoint: true }],
    ['a server without a name', { endpoint: 'http://[::1]:9000', forcePathStyle: true }],
    ['a bucket with a name of its own', { endpoint: 'https://cdn.test', bucketEndpoint: true }],
  ])('is also that of %s', async (_, config) => {
    const { sign, presign, sdk } = setUp(config, config.bucketEndpoint ? 'https://cdn.test/shown' : 'photos')
    expect(await sign(asked)).toBe(await presign(asked))
    expect(sdk.signed).toBe(3)
  })

  it('of an empty key is what the SDK makes of it', async () => {
    const { sign, presign } = setUp()
    expect(await sign({ ...asked, key: '' })).toBe(await presign({ ...asked, key: '' }))
  })

  it('carries what a middleware of the client adds to each', async () => {
    const { client, sdk, sign, presign } = setUp()
    change(client, ({ query, headers }) => {
      query['x-tenant'] = 'a b'
      headers['x-amz-request-payer'] = 'requester'
    })
    expect(await sign(asked)).toBe(await presign(asked))
    expect(sdk.signed).toBe(3)
  })

  it.each<[string, (request: Request) => void]>([
    ['with a header that is signed', ({ headers }) => (headers['x-tenant'] = 'a')],
    ['whose key is another', (request) => (request.path += '.enc')],
    ['whose query depends on the key', ({ path, query }) => (query['length'] = String(path.length))],
  ])('is left to the SDK by a client %s', async (_, look) => {
    const { client, sdk, sign, presign } = setUp()
    change(client, look)
    const given = await sign(asked)
    expect([given, await sign(asked)]).toEqual([await presign(asked), given])
    expect(sdk.signed).toBe(2 + 3)
  })

  it('is left to the SDK by a client whose requests are never the same', async () => {
    const { client, sdk, sign } = setUp()
    change(client, ({ query }) => (query['nonce'] = String(sdk.signed)))
    expect(await sign(asked)).toContain('nonce=3')
    expect(await sign(asked)).toContain('nonce=4')
  })

  it('is refused for the reason that the SDK gives', async () => {
    const everywhere = setUp({}, 'arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap')
    const reason = await everywhere.presign(asked).catch(({ message }) => message)
    await expect(everywhere.sign(asked)).rejects.toThrow(reason)
  })
})

describe('credentials', () => {
  const one = { accessKeyId: 'ONE', secretAccessKey: 'secret' }

  it.each([
    ['key', { ...one, accessKeyId: 'TWO' }],
    ['secret', { ...one, secretAccessKey: 'other' }],
    ['session token', { ...one, sessionToken: 'token' }],
  ])('with another %s take effect at once', async (_, two) => {
    let current = one
    // what has expired is asked for each time
    const { client, sign, presign } = setUp({ credentials: async () => ({ ...current, expiration: new Date(0) }) })
    const before = await sign(asked)
    expect(before).toBe(await presign(asked))
    current = two
    expect(await sign(asked)).toBe(await presign(asked))
    expect(await sign(asked)).not.toBe(before)
    client.destroy()
  })

  it('that cannot be had are told of, and asked for again', async () => {
    const client = new S3Client({ region: 'eu-central-1', credentials: vi.fn(async () => one).mockRejectedValueOnce(new Error('no such profile')) })
    const storage = s3Storage({ client, bucket: 'photos' })
    const signing = storage.signedUrl?.('a', { expiresIn: 60 })
    await expect(signing).rejects.toMatchObject({ name: 'StorageError', message: expect.stringMatching(/'a' in bucket 'photos'.*no such profile/) })
    expect(await storage.signedUrl?.('a', { expiresIn: 60 })).toContain('X-Amz-Credential=ONE')
  })

  it('that change at each call are never mixed', async () => {
    let calls = 0
    const credentials = async () => ({ accessKeyId: `KEY${++calls}`, secretAccessKey: `secret of KEY${calls}`, expiration: new Date(0) })
    const { sign } = setUp({ credentials })
    for (const given of [await sign(asked), await sign(asked)]) {
      const [, accessKeyId = ''] = /X-Amz-Credential=(KEY\d+)/.exec(given) ?? []
      const { presign } = setUp({ credentials: { accessKeyId, secretAccessKey: `secret of ${accessKeyId}` } })
      expect(given).toBe(await presign(asked))
    }
  })
})

it('a failure of the samples is not remembered', async () => {
  const { client, sdk, sign, presign } = setUp()
  let failing = true
  change(client, () => {
    if (failing) throw new Error('not now')
  })
  await expect(sign(asked)).rejects.toThrow('not now')
  failing = false
  const expected = await presign(asked)
  await sign(asked)
  sdk.signed = 0
  expect([await sign(asked), sdk.signed]).toEqual([expected, 0])
})

it('the region is the one that the client says now', async () => {
  let region = 'eu-central-1'
  const { sign, presign } = setUp({ region: async () => region })
  await sign(asked)
  region = 'us-west-2'
  expect(await sign(asked)).toBe(await presign(asked))
})

describe('a URL that is stable', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  const milliseconds = fc.integer({ min: 0, max: 4e12 })
  const longest = 403_200

  it('is the same for half of its time, and then another', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const { client } = setUp()
    const storage = s3Storage({ client, bucket: 'photos' })
    const at = (time: string) => {
      vi.setSystemTime(new Date(`2025-06-30T${time}Z`))
      return storage.signedUrl?.('a', { expiresIn: 3600, fileName: 'a.png', stable: true })
    }
    const first = await at('12:00:00.000')
    expect([await at('12:14:00.000'), await at('12:29:59.999')]).toEqual([first, first])
    expect(await at('12:30:00.000')).not.toBe(first)
  })

  it('works for as long as was asked, whenever it is given out, and half as long again at most', () => {
    const property = fc.property(fc.integer({ min: 1, max: longest }), milliseconds, (expiresIn, now) => {
      const validity = validityOf({ expiresIn, stable: true }, now)
      const left = (validity.date.getTime() - now) / 1000 + validity.expiresIn
      expect(left).toBeGreaterThanOrEqual(expiresIn)
      expect(validity.date.getTime()).toBeLessThanOrEqual(now)
      expect(validity.expiresIn).toBeLessThanOrEqual(Math.min(Math.ceil(expiresIn * 1.5), week))
      expect(validityOf({ expiresIn, stable: true }, validity.date.getTime())).toEqual(validity)
    })
    fc.assert(property)
  })

  it.each([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, longest + 1, week])('cannot be valid for %d seconds', async (expiresIn) => {
    const { client } = setUp()
    const signing = s3Storage({ client, bucket: 'photos' }).signedUrl?.('a', { expiresIn, stable: true })
    await expect(signing).rejects.toBeInstanceOf(UsageError)
    await expect(signing).rejects.toMatchObject({ code: 'bad_expiry', message: expect.stringContaining(`1 to ${longest}`) })
  })
})
