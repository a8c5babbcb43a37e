import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { create as contentDisposition } from 'content-disposition'
import { AttachmentError, messageOf, StorageError, UsageError } from '../errors'
import { roomFor } from '../room'
import { addressOf } from './s3-address'
import { copyOnServer } from './s3-copy'
import { signerOf } from './s3-sign'
import { timeOf, validityOf } from './s3-validity'
import { type ObjectInfo, type Storage, urlBelow } from './storage'

export interface S3StorageOptions {
  /** Yours, with its region, credentials and retries. */
  client: S3Client
  bucket: string
  /** Put before every key, such as `'uploads/'`. */
  prefix?: string
  /**
   * Where a CDN shows the bucket, `prefix` not included. Default: the bucket's own address, as the client knows it. Null for a
   * bucket that is closed: nothing in it has a URL but what is signed.
   */
  publicUrl?: string | null
  /**
   * Sent with every object, such as `{ ACL: 'public-read' }`. Default: `CacheControl` of a year, since a key never
   * changes its content; `ContentDisposition` inline for pictures, films, sound, PDF and plain text, attachment for the
   * rest, because a browser might run it; no ACL.
   */
  headers?: Pick<
    PutObjectCommandInput,
    'ACL' | 'CacheControl' | 'ContentDisposition' | 'Metadata' | 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass' | 'Tagging'
  >
  /** Milliseconds that one request may take, the SDK's own retries included. Default 120,000. */
  timeout?: number
}

/** Up to here an object goes up in one request, beyond it in parts of this size. Bytes. */
const partSize = 8 * 1024 * 1024
/** Parts of one object at a time. One more is being read meanwhile, so a large file takes 24 MiB of memory. */
const partsAtOnce = 2
/** Bodies that are on their way at a time. Bytes: the parts of four large files. */
const mostOnTheWay = 64 * 1024 * 1024
/** And no more than so many, however small they are: the client has 50 sockets, and others need some, too. */
const mostBodies = 40
const leastShare = Math.floor(mostOnTheWay / mostBodies)
/** What S3 takes at most, with room for a file that grew. */
const mostParts = 9_000
/** What DeleteObjects takes at most. */
const mostKeys = 1_000

/** What one of these storages is made of. */
interface Made extends Pick<S3StorageOptions, 'client' | 'bucket' | 'headers'> {
  readonly prefix: string
  /** Of the bucket, as the client knows it. */
  address(): Promise<string>
}

/** So that one can copy from another. */
const made = new WeakMap<Storage, Made>()

/** An S3 bucket, or any server that speaks its language. */
export function s3Storage({ client, bucket, prefix = '', publicUrl, headers, timeout = 120_000 }: S3StorageOptions): Storage {
  let base = publicUrl
  const bodies = roomFor(mostOnTheWay)
  const sign = signerOf(client, bucket)
  const placeOf = (key: string) => ({ Bucket: bucket, Key: prefix + key })

  async function send(command: Parameters<S3Client['send']>[0]) {
    return client.send(command, { abortSignal: AbortSignal.timeout(timeout) })
  }

  /** The client, with a time limit on every request, a digest on every body that has none, and not too many bodies at a time. */
  const timed: Pick<S3Client, 'send'> & S3Client = Object.create(client, {
    send: {
      value: async (command: Parameters<S3Client['send']>[0]) => {
        if (command instanceof UploadPartCommand || command instanceof PutObjectCommand) {
          const body = command.input.Body as Uint8Array
          const leave = await bodies.enter(Math.max(body.length, leastShare))
          try {
            command.input.ContentMD5 = await digestOf(body)
            return await send(command)
          } finally {
            leave()
          }
        }
        // why an upload failed is to be told, not why tidying up after it failed as well
        return command instanceof AbortMultipartUploadCommand ? send(command).catch(() => undefined) : send(command)
      },
    },
  })

  /** Content-MD5, where the client does not add a checksum of its own: so the server refuses what was damaged on its way. */
  async function digestOf(body: Uint8Array): Promise<string | undefined> {
    if ((await client.config.requestChecksumCalculation()) === 'WHEN_SUPPORTED') return undefined
    return createHash('md5').update(body).digest('base64')
  }

  async function failing<T>(what: string, key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw explained(error, `cannot ${what} '${prefix}${key}' in bucket '${bucket}'`)
    }
  }

  const address = () =>
    addressOf(client, bucket).catch((error) => {
      throw explained(error, `cannot find out the address of bucket '${bucket}'`)
    })

  async function putWhole(key: string, body: Uint8Array, info: ObjectInfo): Promise<void> {
    const input = { ...placeOf(key), ...headersOf(info), ...headers, Body: body, ContentLength: body.length }
    await timed.send(new PutObjectCommand(input))
  }

  async function putInParts(key: string, body: Readable | Uint8Array, info: ObjectInfo): Promise<void> {
    const { Upload } = await import('@aws-sdk/lib-storage')
    const size = body instanceof Readable ? (info.size ?? 0) : body.length
    const params = { ...placeOf(key), ...headersOf(info), ...headers, Body: body }
    await new Upload({ client: timed, params, partSize: Math.max(partSize, Math.ceil(size / mostParts)), queueSize: partsAtOnce }).done()
  }

  /** Whether both clients find a bucket at the same address; no, where one of them cannot say. */
  async function sameServer(source: Made): Promise<boolean> {
    const addresses = Promise.all([source.address(), addressOf(client, source.bucket)])
    return addresses.then(([theirs, ours]) => theirs === ours).catch(() => false)
  }

  const storage: Storage = {
    async prepare() {
      if (base === undefined) base = await address()
    },

    async write(key, body, info) {
      try {
        await failing('write', key, async () => {
          const size = body instanceof Readable ? info.size : body.length
          if (size === undefined || size > partSize) await putInParts(key, body, info)
          else await putWhole(key, body instanceof Readable ? await wholeOf(body, size) : body, info)
        })
      } finally {
        if (body instanceof Readable) body.destroy()
      }
    },

    read: (key) =>
      failing('read', key, async () => {
        const { Body } = await timed.send(new GetObjectCommand(placeOf(key)))
        return Body as Readable
      }),

    stat: (key) =>
      failing('look at', key, async () => {
        const found = await timed.send(new HeadObjectCommand(placeOf(key))).catch((error) => {
          if (error.name === 'NotFound') return undefined
          throw error
        })
        return found && { size: found.ContentLength ?? 0 }
      }),

    async delete(keys) {
      for (let start = 0; start < keys.length; start += mostKeys) {
        const Objects = keys.slice(start, start + mostKeys).map((key) => ({ Key: prefix + key }))
        await failing(`delete ${Objects.length} objects, the first`, keys[start] as string, async () => {
          const { Errors = [] } = await timed.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } }))
          const refused = Errors.find(({ Code }) => Code !== 'NoSuchKey')
          if (refused) throw Object.assign(new Error(`${refused.Key}: ${refused.Message ?? refused.Code}`), { name: refused.Code })
        })
      }
    },

    async *list(below) {
      let from: string | undefined
      do {
        const asked = { Bucket: bucket, Prefix: prefix + below, ContinuationToken: from }
        const { Contents = [], NextContinuationToken } = await failing('list', below, () => timed.send(new ListObjectsV2Command(asked)))
        for (const { Key = '', Size = 0, LastModified } of Contents) {
          // what has no date must not look old to whoever clears old things away
          yield { key: Key.slice(prefix.length), size: Size, modified: LastModified ?? new Date() }
        }
        from = NextContinuationToken
      } while (from !== undefined)
    },

    copy: (from, fromKey, key, info) =>
      failing('write', key, async () => {
        const source = made.get(from)
        if (!source || info.size === undefined) return false
        // not every server gives a copy the tags that it should have
        if (headers?.Tagging || source.headers?.Tagging) return false
        if (source.client !== client && !(await sameServer(source))) return false
        const place = { Bucket: source.bucket, Key: source.prefix + fromKey }
        return copyOnServer(timed, place, { ...placeOf(key), ...headersOf(info), ...headers }, info.size)
      }),

    async area() {
      const where = `${await address()}/${prefix}`
      return { id: where, where }
    },

    url(key) {
      if (base === null) return null
      if (base === undefined)
        throw new UsageError('not_connected', `the address of bucket '${bucket}' is not known yet: await attachments.connect(dataSource) first`)
      return urlBelow(base, prefix + key)
    },

    async signedUrl(key, options) {
      const validity = validityOf(options, timeOf(client))
      const disposition = options.fileName === undefined ? undefined : contentDisposition(options.fileName)
      return failing('sign a URL of', key, () => sign({ key: prefix + key, disposition, ...validity }))
    },
  }
  made.set(storage, { client, bucket, prefix, headers, address })
  return storage
}

/** What comes of a stream that should have so many bytes, held once. */
async function wholeOf(body: Readable, size: number): Promise<Buffer> {
  let whole = Buffer.allocUnsafe(size)
  let filled = 0
  for await (const chunk of body) {
    if (filled + chunk.length > whole.length) whole = Buffer.concat([whole.subarray(0, filled), chunk])
    else whole.set(chunk, filled)
    filled += chunk.length
  }
  return whole.subarray(0, filled)
}

/** Types that a browser shows without running anything in them. */
const harmless = /^(image\/(?!svg)|video\/|audio\/|application\/pdf$|text\/plain$)/

function headersOf({ contentType, fileName }: ObjectInfo) {
  const type = harmless.test(contentType) ? 'inline' : 'attachment'
  return {
    ContentType: contentType,
    CacheControl: 'max-age=31536000, immutable',
    ContentDisposition: fileName === undefined ? type : contentDisposition(fileName, { type }),
  }
}

/** What S3 says, as a `StorageError` that names the thing and the cure. */
function explained(error: unknown, what: string): unknown {
  if (error instanceof AttachmentError) return error
  const { name = '', $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
  const status = $metadata?.httpStatusCode
  const because = (code: string, cure: string) => new StorageError(code, `${what}: ${cure}`, { cause: error })
  if (name === 'NoSuchBucket') return because('bucket_missing', 'there is no such bucket: create it, or correct the name in s3Storage({ bucket })')
  if (name === 'NoSuchKey' || name === 'NotFound') return because('object_missing', 'there is no such object')
  if (status === 401 || status === 403)
    return because('access_denied', `access is denied (${name || status}): look at the credentials of the client and the policy of the bucket`)
  if (name === 'TimeoutError' || name === 'AbortError') return because('s3_timeout', 'S3 did not answer in time')
  const said = messageOf(error)
  return because('s3_failed', said === name || said === '' ? name : `${name}: ${said}`)
}
