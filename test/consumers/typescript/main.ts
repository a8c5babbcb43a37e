import 'reflect-metadata'
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { Readable } from 'node:stream'
import { S3Client } from '@aws-sdk/client-s3'
import { SQSClient } from '@aws-sdk/client-sqs'
import sharp from 'sharp'
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import {
  Attached,
  Attachment,
  Attachments,
  type BackgroundAdapter,
  diskStorage,
  inProcessBackground,
  memoryStorage,
  type Storage,
  StorageError,
  UsageError,
} from 'typeorm-attachments'
import { s3Storage } from 'typeorm-attachments/s3'
import { sqsBackground } from 'typeorm-attachments/sqs'
import { type ContractCase, storageContract } from 'typeorm-attachments/testing'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ default: 'Ada' })
  name!: string

  @Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'>
}

export class Mistaken {
  // @ts-expect-error the style is not the declared one
  @Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })
  avatar!: Attached<'large'>
}

async function keepAvatar(): Promise<void> {
  const dataSource = new DataSource({ type: 'sqljs', entities: [User], synchronize: true })
  await dataSource.initialize()
  const storage = memoryStorage()
  const attachments = new Attachments({ staging: diskStorage({ root: 'staging' }), storage, background: inProcessBackground() })
  await attachments.connect(dataSource)

  const users = dataSource.getRepository(User)
  const user = users.create()
  const picture = sharp({ create: { width: 300, height: 200, channels: 3, background: '#c40' } })
  const png = await picture.png().toBuffer()
  await attachments.attach(user, 'avatar', png, { fileName: 'me.png' })
  // @ts-expect-error there is no such attachment
  await assert.rejects(attachments.attach(user, 'name', png), UsageError)
  await users.save(user)
  assert.equal(user.avatar.processing, true)
  await attachments.idle()

  const { avatar } = await users.findOneByOrFail({ id: user.id })
  assert.ok(avatar instanceof Attached)
  assert.equal(avatar.error, null)
  assert.equal(avatar.processing, false)
  assert.deepEqual([avatar.width, avatar.height], [300, 200])
  const thumb = await sharp(storage.objects.get(avatar.path('thumb') ?? '')?.body).metadata()
  assert.deepEqual([thumb.format, thumb.width, thumb.height], ['png', 100, 100])
  assert.deepEqual(readdirSync('staging'), ['.area'])
  // @ts-expect-error a misspelt style
  assert.throws(() => user.avatar.url('thmub'), UsageError)
  await attachments.close()
  await dataSource.destroy()
}

async function talkToS3(): Promise<void> {
  const client = new S3Client(JSON.parse(process.env['S3_CLIENT'] ?? ''))
  const s3: Storage = s3Storage({ client, bucket: process.env['S3_BUCKET'] ?? '' })
  // of unknown size, so that it goes up in parts
  await s3.write('note.txt', Readable.from('from TypeScript'), { contentType: 'text/plain' })
  const answer = await fetch((await s3.signedUrl?.('note.txt', { expiresIn: 60 })) ?? '')
  assert.equal(await answer.text(), 'from TypeScript')
  await assert.rejects(s3.read('nowhere.txt'), StorageError)
  client.destroy()
}

async function queueInSqs(): Promise<void> {
  const client = new SQSClient({ region: 'us-east-1' })
  const background: BackgroundAdapter = sqsBackground({ client, queueUrl: 'https://sqs.us-east-1.amazonaws.com/123456789012/jobs' })
  await background.close?.()
  assert.throws(() => sqsBackground({ client, queueUrl: 'jobs' }), UsageError)
}

async function keepContract(): Promise<void> {
  const [first]: ContractCase[] = storageContract(async (): Promise<Storage> => memoryStorage())
  await first?.run()
}

keepAvatar()
  .then(talkToS3)
  .then(queueInSqs)
  .then(keepContract)
  .then(() => console.log('all is well'))
