import 'reflect-metadata'
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { S3Client } from '@aws-sdk/client-s3'
import { Queue } from 'bullmq'
import sharp from 'sharp'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { Attached, Attachment, Attachments, diskStorage, inProcessBackground, memoryStorage, StorageError, UsageError } from 'typeorm-attachments'
import { bullmqBackground } from 'typeorm-attachments/bullmq'
import { send, upload, watch } from 'typeorm-attachments/client'
import { graphileBackground } from 'typeorm-attachments/graphile'
import { s3Storage } from 'typeorm-attachments/s3'
import { backgroundContract, storageContract } from 'typeorm-attachments/testing'
import { makeStorage } from './disk.js'

class User {}
PrimaryGeneratedColumn()(User.prototype, 'id')
Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })(User.prototype, 'avatar')
Entity()(User)

const dataSource = new DataSource({ type: 'sqljs', entities: [User], synchronize: true })
await dataSource.initialize()
const storage = memoryStorage()
const secret = 'a secret of more than 32 characters'
const attachments = new Attachments({ staging: diskStorage({ root: 'staging' }), storage, background: inProcessBackground(), secret })
await attachments.connect(dataSource)

const users = dataSource.getRepository(User)
const user = users.create()
const picture = sharp({ create: { width: 300, height: 200, channels: 3, background: '#c40' } })
await attachments.attach(user, 'avatar', await picture.png().toBuffer(), { fileName: 'me.png' })
await users.save(user)
assert.equal(user.avatar.processing, true)
await attachments.idle()

const { avatar } = await users.findOneByOrFail({ id: user.id })
assert.ok(avatar instanceof Attached)
assert.equal(avatar.error, null)
assert.equal(avatar.processing, false)
assert.deepEqual([avatar.width, avatar.height], [300, 200])
const thumb = await sharp(storage.objects.get(avatar.path('thumb')).body).metadata()
assert.deepEqual([thumb.format, thumb.width, thumb.height], ['png', 100, 100])
assert.deepEqual(readdirSync('staging'), ['.area'])
const request = new Request(`http://app.test/?token=${avatar.watchToken()}`, { headers: { accept: 'text/event-stream' } })
const { value } = await (await attachments.watch()(request)).body.getReader().read()
assert.match(Buffer.from(value).toString(), /data:.*"state":"processed"/)
await attachments.close()

// where there is no Redis, none is needed; and nothing of this keeps the process
if (process.env.REDIS_URL) {
  const queue = new Queue(`consumer-${process.pid}`, { connection: { url: process.env.REDIS_URL } })
  const queued = new Attachments({ staging: diskStorage({ root: 'staging' }), storage, background: bullmqBackground({ queue }) })
  await queued.connect(dataSource)
  const other = users.create()
  await queued.attach(other, 'avatar', await picture.png().toBuffer())
  await users.save(other)
  await queued.work()
  while ((await users.findOneByOrFail({ id: other.id })).avatar.processing) await sleep(20)
  await queued.close()
  await queue.obliterate()
  await queue.close()
}
await dataSource.destroy()

const client = new S3Client(JSON.parse(process.env.S3_CLIENT))
const s3 = s3Storage({ client, bucket: process.env.S3_BUCKET })
// of unknown size, so that it goes up in parts
await s3.write('note.txt', Readable.from('from an ES module'), { contentType: 'text/plain' })
const answer = await fetch(await s3.signedUrl('note.txt', { expiresIn: 60 }))
assert.equal(await answer.text(), 'from an ES module')
await assert.rejects(s3.read('nowhere.txt'), StorageError)
client.destroy()

// a page that a server renders names them there, too
assert.deepEqual([typeof send, typeof upload, typeof watch], ['function', 'function', 'function'])
assert.throws(() => graphileBackground({}), UsageError)
for (const { run } of backgroundContract(async () => inProcessBackground())) await run()
for (const { run } of storageContract(async () => memoryStorage())) await run()
const killed = storageContract(makeStorage, { module: new URL('./disk.js', import.meta.url).href })
await killed.find(({ name }) => name.includes('killed half-way')).run()

// both kinds of import must find the same classes, and every name
const required = createRequire(import.meta.url)('typeorm-attachments')
const imported = await import('typeorm-attachments')
for (const name of Object.keys(required)) assert.equal(imported[name], required[name], name)

console.log('all is well')
