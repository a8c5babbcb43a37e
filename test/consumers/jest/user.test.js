require('reflect-metadata')
const { mkdtempSync, readdirSync } = require('node:fs')
const { Readable } = require('node:stream')
const { S3Client } = require('@aws-sdk/client-s3')
const sharp = require('sharp')
const { DataSource, Entity, PrimaryGeneratedColumn } = require('typeorm')
const { Attached, Attachment, Attachments, diskStorage, inProcessBackground, memoryStorage, StorageError } = require('typeorm-attachments')
const { s3Storage } = require('typeorm-attachments/s3')
const { backgroundContract, storageContract } = require('typeorm-attachments/testing')

class User {}
PrimaryGeneratedColumn()(User.prototype, 'id')
Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })(User.prototype, 'avatar')
Entity()(User)

test('keeps an avatar', async () => {
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
  expect(user.avatar.processing).toBe(true)
  await attachments.idle()

  const { avatar } = await users.findOneByOrFail({ id: user.id })
  expect(avatar).toBeInstanceOf(Attached)
  expect(avatar).toMatchObject({ error: null, processing: false, width: 300, height: 200 })
  const thumb = await sharp(storage.objects.get(avatar.path('thumb')).body).metadata()
  expect(thumb).toMatchObject({ format: 'png', width: 100, height: 100 })
  expect(readdirSync('staging')).toEqual(['.area'])
  const request = new Request(`http://app.test/?token=${avatar.watchToken()}`, { headers: { accept: 'text/event-stream' } })
  const { value } = await (await attachments.watch()(request)).body.getReader().read()
  expect(Buffer.from(value).toString()).toMatch(/data:.*"state":"processed"/)
  await attachments.close()
  await dataSource.destroy()
})

test('talks to S3', async () => {
  const client = new S3Client(JSON.parse(process.env.S3_CLIENT))
  const s3 = s3Storage({ client, bucket: process.env.S3_BUCKET })
  // of unknown size, so that it goes up in parts
  await s3.write('note.txt', Readable.from('from Jest'), { contentType: 'text/plain' })
  const answer = await fetch(await s3.signedUrl('note.txt', { expiresIn: 60 }))
  expect(await answer.text()).toBe('from Jest')
  await expect(s3.read('nowhere.txt')).rejects.toThrow(StorageError)
  client.destroy()
})

for (const { name, run } of storageContract(async () => diskStorage({ root: mkdtempSync('contract-') }))) test(`disk: ${name}`, run, 60_000)
for (const { name, run } of storageContract(async () => memoryStorage())) test(`memory: ${name}`, run, 60_000)
for (const { name, run } of backgroundContract(async () => inProcessBackground())) test(`in-process: ${name}`, run, 60_000)
