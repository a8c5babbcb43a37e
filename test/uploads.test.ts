import 'reflect-metadata'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { type ClientRequest, createServer, type IncomingMessage, request as open, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import multipart, { type FastifyMultipartAttachFieldsToBodyOptions, type FastifyMultipartOptions } from '@fastify/multipart'
import express from 'express'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import formidable from 'formidable'
import multer from 'multer'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Attached, Attachment, AttachmentError, fromPath, type Source } from '../src'
import { jpeg } from './support/pictures'
import { filesIn, folder, type World, world } from './support/world'

@Entity()
class Picture {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/jpeg'], maxSize: '1 MB' })
  image!: Attached<'thumb'>
}

/** Large enough to come in several pieces. */
const photo = jpeg(1200, 800)
const personsName = 'été 写真.jpg'
/** What busboy makes of that name, because it reads it as Latin-1. */
const mangledName = Buffer.from(personsName).toString('latin1')

/** What a server answers: the row that a file went to, or why it was not taken. */
interface Answer {
  id?: number
  code?: string
}

/** What every handler below does with what its framework hands over. */
type Take = (source: unknown) => Promise<Answer>

/** Starts a server that takes uploads, closed when the test ends. A framework may write into `uploads`. */
type Serve = (take: Take, uploads: string) => Promise<string>

interface Gallery extends World {
  readonly take: Take
  /** The answers so far, given even where nobody was left to hear them. */
  readonly answers: Answer[]
  /** Loads a row when all jobs are done. */
  find(id: number | undefined): Promise<Picture>
}

async function gallery(): Promise<Gallery> {
  const made = await world([Picture])
  const { dataSource, attachments } = made
  const answers: Answer[] = []
  const attempt = async (source: unknown): Promise<Answer> => {
    const picture = new Picture()
    try {
      await attachments.attach(picture, 'image', source as Source)
    } catch (error) {
      if (error instanceof AttachmentError) return { code: error.code }
      throw error
    }
    await dataSource.manager.save(picture)
    return { id: picture.id }
  }
  return {
    ...made,
    answers,
    take: async (source) => {
      const answer = await attempt(source)
      answers.push(answer)
      return answer
    },
    find: async (id) => {
      await attachments.idle()
      return dataSource.getRepository(Picture).findOneByOrFail({ id: id as number })
    },
  }
}

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

async function onExpress(storage: multer.Options, take: (file: Express.Multer.File) => Promise<Answer>): Promise<string> {
  const app = express()
  app.post('/', multer(storage).single('image'), async (request, response) => {
    response.json(await take(request.file as Express.Multer.File))
  })
  return listen(app)
}

async function onFastify(
  options: FastifyMultipartOptions | FastifyMultipartAttachFieldsToBodyOptions,
  take: (request: FastifyRequest) => Promise<unknown>,
): Promise<string> {
  const app: FastifyInstance = fastify({ forceCloseConnections: true })
  await app.register(multipart, options)
  app.post('/', take)
  onTestFinished(() => app.close())
  return `${await app.listen({ port: 0, host: '127.0.0.1' })}/`
}

/** A server of Node alone. */
async function onNode(take: (request: IncomingMessage) => Promise<Answer>): Promise<string> {
  return listen(async (request, response) => {
    const answer = await take(request).catch((error: Error) => ({ code: error.message }))
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(answer))
  })
}

/** A request of Node as the Web's. Not by `Readable.toWeb()`: cancelled, it throws where nobody can catch it (nodejs/node#64529). */
function webRequest(request: IncomingMessage): Request {
  const pieces = request.iterator({ destroyOnReturn: false })
  const body = new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next()
      if (done) controller.close()
      else controller.enqueue(new Uint8Array(value))
    },
    async cancel() {
      await pieces.return?.()
      request.resume()
    },
  })
  return new Request('http://127.0.0.1/', {
    method: 'POST',
    headers: { 'content-type': request.headers['content-type'] ?? '' },
    body,
    duplex: 'half',
  })
}

const streamed: FastifyMultipartOptions = { limits: { fileSize: 20 * 2 ** 20 } }

const serve = {
  multerMemory: (take) => onExpress({ storage: multer.memoryStorage() }, take),
  multerDisk: (take, uploads) => onExpress({ dest: uploads }, (file) => take(fromPath(file.path, { fileName: file.originalname }))),
  fastifyStream: (take) => onFastify(streamed, async (request) => take(await request.file())),
  fastifyBody: (take) => onFastify({ attachFieldsToBody: 'keyValues' }, async ({ body }) => take((body as Record<string, unknown>)['image'])),
  formidable: (take, uploads) =>
    onNode(async (request) => {
      const [, { image = [] }] = await formidable({ uploadDir: uploads }).parse(request)
      const file = image[0] as formidable.File
      return take(fromPath(file.filepath, { fileName: file.originalFilename ?? undefined }))
    }),
  webForm: (take) => onNode(async (request) => take((await webRequest(request).formData()).get('image'))),
  webBody: (take) => onNode(async (request) => take(webRequest(request).body)),
  body: (take) => onNode(take),
} satisfies Record<string, Serve>

const severalOnFastify = (take: Take) =>
  onFastify(streamed, async (request) => {
    const answers: Answer[] = []
    for await (const part of request.files()) answers.push(await take(part))
    return answers
  })

function form(...files: Array<{ bytes: Buffer; name?: string; type?: string }>): FormData {
  const data = new FormData()
  data.set('title', 'a field before the file')
  for (const { bytes, name = personsName, type = 'image/jpeg' } of files) data.append('image', new File([new Uint8Array(bytes)], name, { type }))
  return data
}

/** Posts over connections that stay open, as browsers and proxies do. One that the server reads no more gives no answer. */
async function post(url: string, body: FormData | Buffer): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    body: body instanceof FormData ? body : new Uint8Array(body),
    signal: AbortSignal.timeout(15_000),
  })
  expect(response.status).toBe(200)
  return (await response.json()) as Answer
}

/** As long as a busy machine may take. */
const patient = { timeout: 15_000 }

/** Where Linux shows what this process has open. */
const descriptors = '/proc/self/fd'

async function openBelow(root: string): Promise<string[]> {
  if (!existsSync(descriptors)) return []
  const targets = await Promise.all((await readdir(descriptors)).map((name) => readlink(join(descriptors, name)).catch(() => '')))
  return targets.filter((target) => target.startsWith(root))
}

async function bytesIn(root: string): Promise<number> {
  const sizes = await Promise.all((await filesIn(root)).map(async (file) => stat(join(root, file)).catch(() => undefined)))
  return sizes.reduce((sum, found) => sum + (found?.isFile() ? found.size : 0), 0)
}

describe('an upload is attached, saved and processed', () => {
  const cases: Array<[string, { serve: Serve; raw?: boolean; fileName?: string; left?: number }]> = [
    ['express and multer in memory', { serve: serve.multerMemory }],
    ['express and multer on the disk', { serve: serve.multerDisk, left: 1 }],
    ['fastify, streamed', { serve: serve.fastifyStream }],
    ['fastify, as a buffer in the body', { serve: serve.fastifyBody, fileName: 'file' }],
    ['formidable', { serve: serve.formidable, left: 1 }],
    ["the Web's own form data", { serve: serve.webForm }],
    ["the Web's request body", { serve: serve.webBody, raw: true, fileName: 'file' }],
    ['a request that is the file', { serve: serve.body, raw: true, fileName: 'file' }],
  ]
  it.each(cases)('by %s', async (_name, { serve, raw = false, fileName = personsName, left = 0 }) => {
    const { take, find, staging, storage } = await gallery()
    const uploads = await folder()
    const bytes = await photo
    const answer = await post(await serve(take, uploads), raw ? bytes : form({ bytes }))
    expect(answer).toEqual({ id: 1 })
    const { image } = await find(answer.id)
    expect(image).toMatchObject({
      fileName,
      contentType: 'image/jpeg',
      fileSize: bytes.length,
      fingerprint: createHash('sha256').update(bytes).digest('hex'),
      width: 1200,
      height: 800,
      processing: false,
    })
    expect(storage.objects.get(image.path() as string)?.body).toEqual(bytes)
    expect(storage.objects.has(image.path('thumb') as string)).toBe(true)
    expect(await filesIn(staging)).toEqual([])
    // a file that the framework wrote is the program's own to delete
    expect(await filesIn(uploads)).toHaveLength(left)
  })

  it('as several files of one streamed request', async () => {
    const { take, find, staging } = await gallery()
    const url = await severalOnFastify(take)
    const files = await Promise.all([100, 200, 300].map(async (width) => ({ bytes: await jpeg(width, 100), name: `${width}.jpg` })))
    const answers = (await post(url, form(...files))) as Answer[]
    const pictures = await Promise.all(answers.map(({ id }) => find(id)))
    expect(pictures.map(({ image }) => [image.fileName, image.width])).toEqual([
      ['100.jpg', 100],
      ['200.jpg', 200],
      ['300.jpg', 300],
    ])
    expect(await filesIn(staging)).toEqual([])
  })

  it('thirty at once, streamed', async () => {
    const { take, find, staging, storage } = await gallery()
    const url = await serve.fastifyStream(take)
    const widths = Array.from({ length: 30 }, (_, index) => 200 + index)
    const files = await Promise.all(widths.map(async (width) => ({ bytes: await jpeg(width, 150), name: `${width}.jpg` })))
    const answers = await Promise.all(files.map((file) => post(url, form(file))))
    const pictures = await Promise.all(answers.map(({ id }) => find(id)))
    expect(pictures.map(({ image }) => [image.fileName, image.width, image.processing])).toEqual(
      widths.map((width) => [`${width}.jpg`, width, false]),
    )
    expect(pictures.map(({ image }) => storage.objects.get(image.path() as string)?.body)).toEqual(files.map(({ bytes }) => bytes))
    expect(storage.objects.size).toBe(60)
    expect(await filesIn(staging)).toEqual([])
    expect(await openBelow(staging)).toEqual([])
  })
})

it.each([
  ['in memory', () => ({ storage: multer.memoryStorage() })],
  ['on the disk', (dest: string) => ({ dest })],
])('multer %s hands over a name that is not as a person wrote it', async (_name, options) => {
  const names: string[] = []
  const url = await onExpress(options(await folder()), async ({ originalname }) => {
    names.push(originalname)
    return {}
  })
  await post(url, form({ bytes: await photo }))
  expect(names).toEqual([mangledName])
})

describe('what is refused is answered with a code, nothing is staged, and the same connection takes the next', () => {
  const withZeros = async (length: number) => Buffer.concat([await photo, Buffer.alloc(length)])
  /** Over maxSize, and the rest of it fits into the system's buffers, so that a client has sent all when it is answered. */
  const tooLong = () => withZeros(1_500_000)
  const text = () => Buffer.from('<script>alert(1)</script>')
  const half = async () => (await photo).subarray(0, (await photo).length / 2)
  const none = () => Buffer.alloc(0)
  const cut = (throwFileSizeLimit: boolean): Serve => {
    return (take) => onFastify({ limits: { fileSize: 20_000 }, throwFileSizeLimit }, async (request) => take(await request.file()))
  }
  const cases: Array<[string, { serve: Serve; make: () => Buffer | Promise<Buffer>; code: string; raw?: boolean }]> = [
    ["cut off by fastify's limit", { serve: cut(true), make: () => photo, code: 'too_large' }],
    ["cut off by fastify's limit, which fastify says nothing of", { serve: cut(false), make: () => photo, code: 'too_large' }],
    ['over maxSize, by multer', { serve: serve.multerMemory, make: tooLong, code: 'too_large' }],
    ['over maxSize, by fastify', { serve: serve.fastifyStream, make: tooLong, code: 'too_large' }],
    ['over maxSize, by formidable', { serve: serve.formidable, make: tooLong, code: 'too_large' }],
    ["over maxSize, by the Web's form data", { serve: serve.webForm, make: tooLong, code: 'too_large' }],
    ["over maxSize, by the Web's request body", { serve: serve.webBody, make: tooLong, code: 'too_large', raw: true }],
    ['over maxSize, as the request', { serve: serve.body, make: tooLong, code: 'too_large', raw: true }],
    ['no picture, by multer', { serve: serve.multerMemory, make: text, code: 'type_not_accepted' }],
    ['no picture, by fastify', { serve: serve.fastifyStream, make: text, code: 'type_not_accepted' }],
    ['half a picture, by fastify', { serve: serve.fastifyStream, make: half, code: 'corrupt_image' }],
    ['empty, by multer', { serve: serve.multerMemory, make: none, code: 'empty' }],
    ['empty, by fastify', { serve: serve.fastifyStream, make: none, code: 'empty' }],
    ["empty, by the Web's form data", { serve: serve.webForm, make: none, code: 'empty' }],
    ['empty, as the request', { serve: serve.body, make: none, code: 'empty', raw: true }],
  ]
  it.each(cases)('%s', async (_name, { serve, make, code, raw = false }) => {
    const { take, staging } = await gallery()
    const url = await serve(take, await folder())
    const [bytes, small] = [await make(), await jpeg(100, 100)]
    expect(await post(url, raw ? bytes : form({ bytes }))).toEqual({ code })
    expect(await filesIn(staging)).toEqual([])
    expect(await openBelow(staging)).toEqual([])
    expect(await post(url, raw ? small : form({ bytes: small }))).toEqual({ id: 1 })
  })

  it('the first of two files in one streamed request', async () => {
    const { take, find, staging } = await gallery()
    const url = await severalOnFastify(take)
    expect(await post(url, form({ bytes: await tooLong() }, { bytes: await photo }))).toEqual([{ code: 'too_large' }, { id: 1 }])
    expect((await find(1)).image.fileName).toBe(personsName)
    expect(await filesIn(staging)).toEqual([])
  })

  it.each<[string, Serve, boolean]>([
    ['fastify', serve.fastifyStream, false],
    ["the Web's request body", serve.webBody, true],
    ['a request that is the file', serve.body, true],
  ])('anything, by %s, when the staging is out of order', async (_name, serve, raw) => {
    const { take, staging } = await gallery()
    const url = await serve(take, await folder())
    await rm(staging, { recursive: true })
    await writeFile(staging, 'a file where the folder was')
    const bytes = await tooLong()
    for (let time = 0; time < 2; time++) expect(await post(url, raw ? bytes : form({ bytes }))).toEqual({ code: 'disk_failed' })
  })
})

describe('a client that goes away half-way', () => {
  /** Sends the photo's beginning, as a form or as the body, and leaves the request open. So little that Node sees it end unread. */
  async function begun(url: string, raw: boolean): Promise<ClientRequest> {
    const boundary = 'of-a-form'
    const request = open(url, { method: 'POST', headers: { 'content-type': raw ? 'image/jpeg' : `multipart/form-data; boundary=${boundary}` } })
    request.on('error', () => undefined)
    if (!raw) request.write(`--${boundary}\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n`)
    request.write((await photo).subarray(0, 10_000))
    return request
  }

  it.each<[string, Serve, boolean]>([
    ['fastify', serve.fastifyStream, false],
    ["the Web's request body", serve.webBody, true],
    ['a request that is the file', serve.body, true],
  ])('leaves nothing behind, by %s', async (_name, serve, raw) => {
    const { take, answers, staging } = await gallery()
    const url = await serve(take, await folder())
    const request = await begun(url, raw)
    await expect.poll(() => bytesIn(staging), patient).toBeGreaterThan(0)
    if (existsSync(descriptors)) expect(await openBelow(staging)).toHaveLength(1)
    request.destroy()
    await expect.poll(() => answers, patient).toEqual([{ code: 'source_failed' }])
    expect(await filesIn(staging)).toEqual([])
    expect(await openBelow(staging)).toEqual([])
    const bytes = await photo
    expect(await post(url, raw ? bytes : form({ bytes }))).toEqual({ id: 1 })
  })

  it.each([
    ['fastify', false],
    ['a request that is the file', true],
  ])('before its file is attached is refused the same way, by %s', async (_name, raw) => {
    const { take, answers, staging } = await gallery()
    const arrived: Readable[] = []
    const afterItsEnd = async (file: Readable, source: unknown) => {
      arrived.push(file)
      await expect.poll(() => file.closed, patient).toBe(true)
      return take(source)
    }
    const url = raw
      ? await onNode((request) => afterItsEnd(request, request))
      : await onFastify(streamed, async (request) => {
          const part = await request.file()
          return afterItsEnd(part?.file as Readable, part)
        })
    const request = await begun(url, raw)
    await expect.poll(() => arrived, patient).toHaveLength(1)
    request.destroy()
    await expect.poll(() => answers, patient).toEqual([{ code: 'source_failed' }])
    expect(await filesIn(staging)).toEqual([])
  })
})

describe('a JSON body cannot imitate an upload', () => {
  const secret = '/etc/passwd'
  const data = [0xff, 0xd8, 0xff, 0xd9]
  const bodies: Array<[string, unknown]> = [
    ['what JSON makes of a Buffer', { type: 'Buffer', data }],
    ['an upload in memory by multer', { buffer: { type: 'Buffer', data }, originalname: 'a.jpg' }],
    ['an upload in memory of plain numbers', { buffer: data, originalname: 'a.jpg' }],
    ['an upload in memory with a length', { buffer: { 0: 255, byteOffset: 0, byteLength: 1, buffer: data } }],
    ['an upload in memory behind a prototype', JSON.parse(`{ "__proto__": { "buffer": { "type": "Buffer", "data": [255] } } }`)],
    ['an upload on the disk by multer', { fieldname: 'image', path: secret, destination: '/etc', filename: 'passwd', size: 1 }],
    ['an upload by formidable', { filepath: secret, originalFilename: 'a.jpg', size: 1 }],
    ['an upload by fastify', { type: 'file', file: { path: secret, readable: true, destroyed: false }, filename: 'a.jpg' }],
    ['a file of fromPath()', { fileName: 'a.jpg', open: { path: secret } }],
    ['an attached file', { present: true, fileName: 'a.jpg', version: 'x', meta: { styles: { original: { key: secret, staged: secret } } } }],
    ['a list of bytes', data],
    ['a path in a list', [secret]],
    ['nothing at all', {}],
  ]
  it.each(bodies)('such as %s', async (_name, body) => {
    const { take, staging } = await gallery()
    const app = express()
    app.post('/', express.json(), async (request, response) => {
      response.json(await take(request.body))
    })
    const url = await listen(app)
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
    expect(await response.json()).toEqual({ code: 'source_unknown' })
    expect(await filesIn(staging)).toEqual([])
  })
})
