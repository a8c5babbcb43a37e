require('reflect-metadata')
const assert = require('node:assert/strict')
const { readdirSync } = require('node:fs')
const { Readable } = require('node:stream')
const { S3Client } = require('@aws-sdk/client-s3')
const sharp = require('sharp')
const { DataSource, Entity, PrimaryGeneratedColumn } = require('typeorm')
const {
  Attached,
  Attachment,
  Attachments,
  diskStorage,
  inProcessBackground,
  memoryStorage,
  StorageError,
  UsageError,
} = require('typeorm-attachments')
const { bullmqBackground } = require('typeorm-attachments/bullmq')
const { graphileBackground } = require('typeorm-attachments/graphile')
const { s3Storage } = require('typeorm-attachments/s3')
const { storageContract } = require('typeorm-attachments/testing')

class User {}
PrimaryGeneratedColumn()(User.prototype, 'id')
Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })(User.prototype, 'avatar')
Entity()(User)

async function keepAvatar() {
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
  await dataSource.destroy()
}

async function talkToS3() {
  const client = new S3Client(JSON.parse(process.env.S3_CLIENT))
  const s3 = s3Storage({ client, bucket: process.env.S3_BUCKET })
  // of unknown size, so that it goes up in parts
  await s3.write('note.txt', Readable.from('from CommonJS'), { contentType: 'text/plain' })
  const answer = await fetch(await s3.signedUrl('note.txt', { expiresIn: 60 }))
  assert.equal(await answer.text(), 'from CommonJS')
  await assert.rejects(s3.read('nowhere.txt'), StorageError)
  client.destroy()
}

async function keepContract() {
  assert.throws(() => graphileBackground({}), UsageError)
  const cases = storageContract(async () => diskStorage({ root: 'contract' }), { module: require.resolve('./disk.js') })
  await cases.find(({ name }) => name.includes('killed half-way')).run()
}

assert.equal(typeof bullmqBackground, 'function')
keepAvatar()
  .then(talkToS3)
  .then(keepContract)
  .then(() => console.log('all is well'))
