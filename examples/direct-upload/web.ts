import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Fastify, { type FastifyError } from 'fastify'
import { AttachmentError, fromDirectUpload, RefusedFileError, StorageError, toNodeHandler } from 'typeorm-attachments'
import { attachmentsWith, dataSource } from './attachments'
import { Document } from './document'
import { functionBackground } from './function-background'
import { endTelling } from './notifier'
import { Photo } from './photo'
import { refusals } from './refusals'
import { at } from './settings'
import { shown } from './shown'

const [photos, documents] = [dataSource.getRepository(Photo), dataSource.getRepository(Document)]
const attachments = attachmentsWith(functionBackground(at('FUNCTIONS_PORT')))
const app = Fastify()

/** Who asks: whoever opened the page is somebody. An app of your own knows a user here. */
function visitorOf(cookies: string | null | undefined): string | undefined {
  return /(?:^|; )visitor=(\w{32})(?:;|$)/.exec(cookies ?? '')?.[1]
}

const uploads = toNodeHandler(attachments.directUploads({ authorize: ({ headers }) => visitorOf(headers.get('cookie')) }))
app.all('/uploads', uploads)
app.all('/uploads/*', uploads)

/** Tells pages what becomes of files, to whoever has their tokens. */
app.get('/watch', toNodeHandler(attachments.watch({ show: shown })))

app.get('/', async (request, reply) => {
  if (!visitorOf(request.headers.cookie)) reply.header('set-cookie', `visitor=${randomBytes(16).toString('hex')}; Path=/; HttpOnly; SameSite=Lax`)
  return reply.type('text/html').send(await readFile(join(__dirname, 'page.html')))
})

const own = ['page.css', 'page.mjs', 'tile.mjs', 'element.mjs', 'watch-by-mqtt.mjs'].map((name) => [name, join(__dirname, name)] as const)
const others = [
  ['client.mjs', require.resolve('typeorm-attachments/client')],
  ['mqtt.mjs', require.resolve('mqtt/dist/mqtt.esm')],
] as const
for (const [name, file] of [...own, ...others]) {
  const type = name.endsWith('.css') ? 'text/css' : 'text/javascript'
  app.get(`/${name}`, async (_, reply) => reply.type(type).send(await readFile(file)))
}

app.get('/files', async (_, reply) => {
  const latest = { order: { id: 'DESC' }, take: 24 } as const
  const [pictures, texts] = await Promise.all([photos.find(latest), documents.find(latest)])
  const files = [...pictures.map(({ picture }) => picture), ...texts.map(({ file }) => file)]
  const watchTokens = files.sort((one, other) => Number(other.updatedAt) - Number(one.updatedAt)).map((file) => file.watchToken())
  // who has a token is told where its file is
  reply.header('cache-control', 'no-store')
  return { watchTokens, broker: process.env['MQTT_WEBSOCKET_URL'] ?? null }
})

/** What has to be in a body. */
function bodyOf(properties: Record<string, object>) {
  return { body: { type: 'object', properties, required: Object.keys(properties) } }
}

/** The picture is in the bucket already: what comes is its token. */
app.post<{ Body: { token: string } }>('/photos', { schema: bodyOf({ token: { type: 'string' } }) }, async (request, reply) => {
  const photo = photos.create()
  await attachments.attach(photo, 'picture', fromDirectUpload(request.body.token, { subject: visitorOf(request.headers.cookie) }))
  await photos.save(photo)
  return reply.status(201).send({ watchToken: photo.picture.watchToken() })
})

/** The row is there first, and the bucket will say that its file has come. */
const announced = bodyOf({ fileName: { type: 'string' }, contentType: { type: 'string' }, size: { type: 'integer' } })
app.post<{ Body: { fileName: string; contentType: string; size: number } }>('/documents', { schema: announced }, async (request, reply) => {
  const visitor = visitorOf(request.headers.cookie)
  if (!visitor) return reply.status(403).send({ error: { message: 'Open the page first.' } })
  const document = documents.create({ visitor })
  const form = await attachments.expect(document, 'file', request.body)
  return reply.status(201).send({ id: document.id, form, watchToken: document.file.watchToken() })
})

/** It will not come. */
app.delete<{ Params: { id: string } }>('/documents/:id(^\\d{1,9}$)', async (request, reply) => {
  const visitor = visitorOf(request.headers.cookie) ?? ''
  const document = await documents.findOneBy({ id: Number(request.params.id), visitor })
  if (document?.file.awaiting) await documents.remove(document)
  return reply.status(204).send()
})

app.setErrorHandler<FastifyError>((error, _, reply) => {
  const [status, message] = explained(error)
  if (status >= 500) console.error(error)
  return reply.status(status).send({ error: { message } })
})

function explained(error: FastifyError): [status: number, words: string] {
  if (error instanceof AttachmentError && refusals[error.code]) return [422, refusals[error.code] as string]
  if (error instanceof RefusedFileError) return [422, 'The upload was not taken. Please try again.']
  if (error instanceof StorageError) return [503, 'Files cannot be taken right now. Please try again in a minute.']
  const { statusCode = 500 } = error
  return [statusCode, statusCode < 500 ? error.message : 'Something went wrong here.']
}

async function start(): Promise<void> {
  await dataSource.initialize()
  await attachments.connect(dataSource)
  const address = await app.listen({ port: Number(process.env['PORT'] ?? 3000), host: '0.0.0.0' })
  console.log(`listening on port ${new URL(address).port}`)
}

async function stop(): Promise<void> {
  // ends the streams of pages, for which the server would wait
  await attachments.close()
  await app.close()
  await endTelling()
  await dataSource.destroy()
}

process.once('SIGTERM', () => stop().then(() => process.exit(0), fail))
start().catch(fail)

function fail(error: unknown): never {
  console.error(error)
  process.exit(1)
}
