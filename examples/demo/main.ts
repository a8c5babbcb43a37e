import 'reflect-metadata'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join, resolve } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { DataSource } from 'typeorm'
import { AttachmentError, Attachments, diskStorage, inProcessBackground } from 'typeorm-attachments'
import { s3Storage } from 'typeorm-attachments/s3'
import { createDatabase, startPostgres } from '../services/postgres'
import { clientConfig, startS3 } from '../services/s3'
import { bytes, chapter, say, stopwatch, tell, watched } from './narrate'
import { look, upload } from './picture'
import { styles, User } from './user'

// the SDK would say at every start that it leaves Node 20 in 2027
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'

tell(async (atEnd) => {
  chapter('A picture')
  const given = process.argv[2]
  const painting = stopwatch()
  // npm runs scripts in the project's folder, and tells where it was called
  const file = await upload(given && resolve(process.env['INIT_CWD'] ?? '', given))
  say('file', given ?? `painted in ${painting()}; npm run demo -- photo.jpg takes yours`)
  say('size', bytes(file.buffer.length))
  const seen = await look(file.buffer)
  if (seen) say('pixels', `${seen.pixels}, EXIF orientation ${seen.orientation}${seen.orientation > 4 ? ': it lies on its side' : ''}`)

  chapter('Two servers')
  const startingPostgres = stopwatch()
  const postgres = await startPostgres()
  atEnd(() => postgres.stop())
  await createDatabase(postgres.url('postgres'), 'demo')
  const dataSource = await new DataSource({ type: 'postgres', url: postgres.url('demo'), entities: [User], synchronize: true }).initialize()
  atEnd(() => dataSource.destroy())
  const [{ server_version: version }] = await dataSource.query('SHOW server_version')
  say('PostgreSQL', `${version}, embedded, ready after ${startingPostgres()}`)

  const startingS3 = stopwatch()
  const s3 = await startS3()
  atEnd(() => s3.stop())
  const client = new S3Client(clientConfig(s3))
  atEnd(() => client.destroy())
  await client.send(new CreateBucketCommand({ Bucket: 'photos' })).catch((error) => {
    if (!/^BucketAlready/.test(error.name)) throw error
  })
  say('S3', `${s3.name}, ready after ${startingS3()}`)

  let sinceSave = stopwatch()
  const staging = await mkdtemp(join(tmpdir(), 'attachments-demo-'))
  atEnd(() => rm(staging, { recursive: true, force: true }))
  const attachments = new Attachments({
    staging: diskStorage({ root: staging }),
    storage: watched(s3Storage({ client, bucket: 'photos' }), (style, size, pixels = 'as it came') => {
      say(style, `${pixels.padEnd(10)}  ${bytes(size).padStart(10)}  in the bucket and verified after ${sinceSave().padStart(6)}`)
    }),
    background: inProcessBackground(),
  })
  await attachments.connect(dataSource)
  atEnd(() => attachments.close())

  chapter("await attachments.attach(user, 'avatar', file)")
  const users = dataSource.getRepository(User)
  const user = users.create({ name: 'Ada' })
  const attaching = stopwatch()
  await attachments.attach(user, 'avatar', file)
  const { avatar } = user
  say('returned', `after ${attaching()}; nothing is in the database yet`)
  say('found', `${avatar.contentType} by its bytes, ${avatar.width} × ${avatar.height} upright, SHA-256 ${avatar.fingerprint?.slice(0, 16)}…`)
  say('waits in', staging)
  for (const staged of await filesIn(staging)) say('', staged)

  chapter('await users.save(user)')
  sinceSave = stopwatch()
  await users.save(user)
  say('returned', `after ${sinceSave()}`)
  say('processing', `${user.avatar.processing}`)
  say("url('thumb')", `${user.avatar.url('thumb')} for now`)

  chapter('Meanwhile, in the background')
  await attachments.idle()
  const { avatar: saved } = await users.findOneByOrFail({ id: user.id })
  if (saved.error) throw new AttachmentError(saved.error.code, saved.error.message)
  say('done', `after ${sinceSave()}`)

  chapter('And now')
  say('processing', `${saved.processing}`)
  say('staging', (await filesIn(staging)).join(', ') || 'empty')
  say("url('thumb')", `${saved.url('thumb')}`)
  const signed = `${await saved.signedUrl('thumb', { expiresIn: 60 })}`
  const answer = await fetch(signed)
  const { byteLength } = await answer.arrayBuffer()
  say('signedUrl(…)', `the same, with ?${signed.split('?')[1]?.slice(0, 32)}… for a minute`)
  say('fetched', `${answer.status} ${answer.statusText}, ${answer.headers.get('content-type')}, ${bytes(byteLength)}`)
  if (!answer.ok) throw new Error('the signed URL does not work')

  const folder = resolve('thumbnails')
  await mkdir(folder, { recursive: true })
  for (const style of styles) await writeFile(join(folder, style + extname(saved.path(style) ?? '')), await saved.stream(style))
  say('look at', `${folder}: ${styles.join(', ')}, as they come back from the bucket`)
})

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && entry.name !== '.area').map((entry) => join(entry.parentPath, entry.name))
  return Promise.all(files.map(async (file) => `${file.slice(folder.length + 1)}, ${bytes((await stat(file)).size)}`))
}
