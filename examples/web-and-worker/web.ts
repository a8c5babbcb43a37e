import multipart from '@fastify/multipart'
import Fastify, { type FastifyError } from 'fastify'
import { RefusedFileError, StorageError } from 'typeorm-attachments'
import { attachments, dataSource } from './attachments'
import { failed, landing, result } from './pages'
import { Photo } from './photo'

const photos = dataSource.getRepository(Photo)
const app = Fastify()

// attach() refuses what is larger than `maxSize`; the parser's own limit only has to be no lower
app.register(multipart, { limits: { files: 1, fileSize: 2 ** 30 } })

// pages hold addresses that expire
app.addHook('onSend', async (_, reply) => void reply.headers({ 'cache-control': 'no-store' }))

app.get('/', async (_, reply) => reply.type('text/html').send(await landing(await photos.find({ order: { id: 'DESC' }, take: 12 }))))

app.post('/photos', async (request, reply) => {
  const upload = await request.file()
  if (!upload) return reply.redirect('/', 303)
  const photo = photos.create()
  // the upload goes through to the bucket as it comes: neither the memory nor a disk holds it
  await attachments.attach(photo, 'picture', upload)
  await photos.save(photo)
  return reply.redirect(`/photos/${photo.id}`, 303)
})

app.get<{ Params: { id: string } }>('/photos/:id(^\\d{1,9}$)', async (request, reply) => {
  const photo = await photos.findOneBy({ id: Number(request.params.id) })
  return photo ? reply.type('text/html').send(await result(photo)) : reply.callNotFound()
})

app.setNotFoundHandler((_, reply) => reply.status(404).type('text/html').send(failed('There is no such page.')))

app.setErrorHandler<FastifyError>((error, _, reply) => {
  const [status, words] = explained(error)
  if (status >= 500) console.error(error)
  return reply.status(status).type('text/html').send(failed(words))
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

/** Uploads that are under way come to their end. Heroku waits for that for 30 seconds. */
async function stop(): Promise<void> {
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
