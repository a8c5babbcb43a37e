import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyError, type FastifyReply } from 'fastify'
import { RefusedFileError, StorageError, toNodeHandler } from 'typeorm-attachments'
import { attachments, dataSource } from './attachments'
import { failed, gallery, photo, single, tile } from './pages'
import { Photo } from './photo'

const photos = dataSource.getRepository(Photo)
const app = Fastify()

// attach() refuses what is larger than `maxSize`; the parser's own limit only has to be no lower
app.register(multipart, { limits: { files: 24, fileSize: 2 ** 30 } })

/** Pages hold addresses that expire. */
const send = (reply: FastifyReply, page: string) => reply.headers({ 'content-type': 'text/html', 'cache-control': 'no-store' }).send(page)

app.get('/', async (_, reply) => send(reply, await gallery(await photos.find({ order: { id: 'DESC' }, take: 24 }))))

app.post('/photos', async (request, reply) => {
  for await (const upload of request.files()) {
    const photo = photos.create()
    // the upload goes through to the bucket as it comes: neither the memory nor a disk holds it
    await attachments.attach(photo, 'picture', upload)
    await photos.save(photo)
  }
  return reply.redirect('/', 303)
})

/** The photo that an address names. */
async function photoAt({ params }: { params: { id: string } }): Promise<Photo | null> {
  return photos.findOneBy({ id: Number(params.id) })
}

const onePhoto = '/photos/:id(^\\d{1,9}$)'
app.get<{ Params: { id: string } }>(onePhoto, async (request, reply) => {
  const found = await photoAt(request)
  return found ? send(reply, await single(found)) : reply.callNotFound()
})

app.get<{ Params: { id: string } }>(`${onePhoto}/original`, async (request, reply) => {
  const { picture } = (await photoAt(request)) ?? {}
  const url = await picture?.signedUrl('original', { fileName: picture.fileName ?? undefined })
  return url ? reply.redirect(url) : reply.callNotFound()
})

// who has the token of a picture is told what each page is to show of it, when there is something new
const stopping = new AbortController()
const watch = attachments.watch({
  show: async (picture) => ({ tile: await tile(picture), photo: await photo(picture) }),
  signal: stopping.signal,
})
app.get('/watch', toNodeHandler(watch))

const files = {
  'page.css': [join(__dirname, 'page.css'), 'text/css'],
  'page.mjs': [join(__dirname, 'page.mjs'), 'text/javascript'],
  'client.mjs': [require.resolve('typeorm-attachments/client'), 'text/javascript'],
} as const
for (const [name, [file, type]] of Object.entries(files)) {
  app.get(`/${name}`, async (_, reply) => reply.type(type).send(await readFile(file)))
}

app.setNotFoundHandler((_, reply) => send(reply.status(404), failed('There is no such page.')))

app.setErrorHandler<FastifyError>((error, _, reply) => {
  const [status, words] = explained(error)
  if (status >= 500) console.error(error)
  return send(reply.status(status), failed(words))
})

function explained(error: FastifyError): [status: number, words: string] {
  if (error instanceof RefusedFileError) return refusals[error.code] ?? [400, 'The upload broke off. Please try again.']
  if (error instanceof StorageError) return [503, 'Pictures cannot be taken right now. Please try again in a minute.']
  const { statusCode = 500 } = error
  return [statusCode, statusCode < 500 ? error.message : 'Something went wrong here.']
}

const refusals: Record<string, [status: number, words: string]> = {
  empty: [400, 'Please choose a picture first.'],
  too_large: [413, 'Pictures may have up to 200 MB.'],
  type_not_accepted: [415, 'That is no picture that we can read. Take a JPEG, PNG, WebP, GIF or AVIF.'],
  content_mismatch: [415, 'That is no picture that we can read. Take a JPEG, PNG, WebP, GIF or AVIF.'],
  corrupt_image: [422, 'That picture is damaged.'],
  too_many_pixels: [422, 'That picture has too many pixels.'],
}

async function start(): Promise<void> {
  await dataSource.initialize()
  await attachments.connect(dataSource)
  const address = await app.listen({ port: Number(process.env['PORT'] ?? 3000), host: '0.0.0.0' })
  console.log(`listening on port ${new URL(address).port}`)
}

/** Uploads that are under way come to their end. Heroku waits for that for 30 seconds. Pages watch whoever comes next. */
async function stop(): Promise<void> {
  stopping.abort()
  await app.close()
  await attachments.close()
  await dataSource.destroy()
}

process.once('SIGTERM', () => stop().then(() => process.exit(0), fail))
start().catch(fail)

function fail(error: unknown): never {
  console.error(error)
  process.exit(1)
}
