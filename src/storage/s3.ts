import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  DeleteObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { create as contentDisposition } from 'content-disposition'
import { UsageError } from '../errors'
import { roomFor } from '../room'
import { objectExists } from './refused'
import { addressOf } from './s3-address'
import { copyOnServer } from './s3-copy'
import { explained, isUnmet } from './s3-errors'
import { headersOf, type OwnHeaders } from './s3-headers'
import { abortUpload, beginUpload, completeUpload, signPart, uploadedParts } from './s3-multipart'
import { unlessOurs } from './s3-once'
import { factsOf, nameOf, readObject } from './s3-read'
import { signerOf } from './s3-sign'
import { signPlace, signPost, signPut } from './s3-upload'
import { timeOf, validityOf } from './s3-validity'
import { type DirectUploads, type Storage, urlBelow, type WriteInfo } from './storage'

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
  headers?: OwnHeaders
  /**
   * How browsers upload by themselves. `'POST'`, the default, sends a form. `'PUT'` is for servers that take no forms, such as
   * Cloudflare R2; what is there cannot be replaced by it, where the server minds `If-None-Match`.
   */
  uploadBy?: 'POST' | 'PUT'
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
export function s3Storage({ client, bucket, prefix = '', publicUrl, headers, uploadBy = 'POST', timeout = 120_000 }: S3StorageOptions): Storage {
  let base = publicUrl
  const bodies = roomFor(mostOnTheWay)
  const sign = signerOf(client, bucket)
  const placeOf = (key: string) => ({ Bucket: bucket, Key: prefix + key })

  async function send(command: Parameters<S3Client['send']>[0]) {
    return client.send(command, { abortSignal: AbortSignal.timeout(timeout) })
  }

  /** The client, with a time limit on every request. */
  const limited: S3Client = Object.create(client, { send: { value: send } })
  /** The same, with a digest on every body that has none, and not too many bodies at a time. */
  const timed: Pick<S3Client, 'send'> & S3Client = Object.create(client, {
    send: {
      value: async (command: Parameters<S3Client['send']>[0]) => {
        if (command instanceof UploadPartCommand || command instanceof PutObjectCommand) {
          const body = command.input.Body as Uint8Array
          const leave = await bodies.enter(Math.max(body.length, leastShare))
          try {
            command.input.ContentMD5 = await digestOf(body)
            return await send(command).catch((error) => {
              if (command instanceof PutObjectCommand) return unlessOurs(error, timed, command)
              throw error
            })
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

  /** All that is said with an object when it is written. */
  function inputOf(key: string, info: WriteInfo) {
    return { ...placeOf(key), ...headersOf(info, headers), ...(info.once && { IfNoneMatch: '*' }) }
  }

  async function putWhole(key: string, body: Uint8Array, info: WriteInfo): Promise<void> {
    await timed.send(new PutObjectCommand({ ...inputOf(key, info), Body: body, ContentLength: body.length }))
  }

  async function putInParts(key: string, body: Readable | Uint8Array, info: WriteInfo): Promise<void> {
    const { Upload } = await import('@aws-sdk/lib-storage')
    const size = body instanceof Readable ? (info.size ?? 0) : body.length
    const params = { ...inputOf(key, info), Body: body }
    await new Upload({ client: timed, params, partSize: Math.max(partSize, Math.ceil(size / mostParts)), queueSize: partsAtOnce }).done()
  }

  /** Whether both clients find a bucket at the same address; no, where one of them cannot say. */
  async function sameServer(source: Made): Promise<boolean> {
    const addresses = Promise.all([source.address(), addressOf(client, source.bucket)])
    return addresses.then(([theirs, ours]) => theirs === ours).catch(() => false)
  }

  async function put(key: string, body: Readable | Uint8Array, info: WriteInfo): Promise<void> {
    const size = body instanceof Readable ? info.size : body.length
    if (size === undefined || size > partSize) await putInParts(key, body, info)
    else await putWhole(key, body instanceof Readable ? await wholeOf(body, size) : body, info)
  }

  /** Not every server minds the condition, of an upload in parts above all. */
  async function putOnce(key: string, body: Readable | Uint8Array, info: WriteInfo): Promise<void> {
    const there = () => objectExists(nameOf(placeOf(key)))
    if (await factsOf(timed, placeOf(key))) throw there()
    await put(key, body, info).catch((error) => {
      throw isUnmet(error) ? there() : error
    })
  }

  const validFor = (expiresIn: number) => validityOf({ expiresIn }, timeOf(client))
  const uploads: DirectUploads = {
    form: (key, info, expiresIn) =>
      failing('sign an upload of', key, () =>
        (uploadBy === 'PUT' ? signPut : signPost)(client, placeOf(key), headersOf(info, headers), info.size, validFor(expiresIn)),
      ),
    place: (key, contentType, expiresIn) =>
      failing('sign an upload of', key, () => signPlace(client, placeOf(key), headersOf({ contentType }, headers), validFor(expiresIn))),
    begin: (key, info) => failing('begin an upload of', key, () => beginUpload(limited, placeOf(key), headersOf(info, headers))),
    part: (key, id, number, expiresIn) => failing('sign a part of', key, () => signPart(client, placeOf(key), id, number, validFor(expiresIn))),
    parts: (key, id) => failing('list the parts of', key, () => uploadedParts(limited, placeOf(key), id)),
    complete: (key, id, parts) => failing('complete the upload of', key, () => completeUpload(limited, placeOf(key), id, parts)),
    abort: (key, id) => failing('give up the upload of', key, () => abortUpload(limited, placeOf(key), id)),
    keyOf: (objectKey, name = bucket) => (name === bucket && objectKey.startsWith(prefix) ? objectKey.slice(prefix.length) || undefined : undefined),
  }

  const storage: Storage = {
    uploads,

    async prepare() {
      if (base === undefined) base = await address()
    },

    async write(key, body, info) {
      try {
        await failing('write', key, () => (info.once ? putOnce : put)(key, body, info))
      } finally {
        if (body instanceof Readable) body.destroy()
      }
    },

    read: (key, options = {}) => failing('read', key, () => readObject(timed, placeOf(key), options)),

    stat: (key) => failing('look at', key, () => factsOf(timed, placeOf(key))),

    async delete(given) {
      // a key that one request names twice crashes some gateways
      const keys = [...new Set(given)]
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
        return copyOnServer(timed, place, { ...placeOf(key), ...headersOf(info, headers) }, info.size, info.etag)
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
