import 'reflect-metadata'
import { buffer } from 'node:stream/consumers'
import { S3Client } from '@aws-sdk/client-s3'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { type Attached, Attachment, diskStorage, inProcessBackground } from '../src'
import { s3Storage } from '../src/storage/s3'
import { jpeg } from './support/pictures'
import { filesIn, folder, newBucket, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  name!: string

  @Attachment({
    styles: { large: '800x800>', medium: '300x300>', thumb: { geometry: '100x100#', format: 'webp' } },
    processingUrl: '/images/:style/processing.png',
    defaultUrl: '/images/:style/missing.png',
    accept: ['image/*'],
    maxSize: '10 MB',
  })
  avatar!: Attached<'large' | 'medium' | 'thumb'>
}

it('tells the whole story: attach, save, process, S3, url', async () => {
  const { client, bucket, keys } = await newBucket()
  const root = await folder()
  const { dataSource, attachments } = await world([User], {
    staging: diskStorage({ root }),
    storage: s3Storage({ client, bucket }),
    background: inProcessBackground(),
  })
  const users = dataSource.getRepository(User)
  const user = users.create({ name: 'Ada' })
  const photo = await jpeg(1600, 1200)

  await attachments.attach(user, 'avatar', photo, { fileName: 'me at the sea.jpg' })
  expect(await filesIn(root)).toContainEqual(expect.stringMatching(/^User\/avatar\/..\/[0-9a-f]{32}\/original$/))
  expect(await users.count()).toBe(0)

  await users.save(user)
  expect(user.avatar.processing).toBe(true)
  expect(user.avatar.url('thumb')).toBe('/images/thumb/processing.png')

  await attachments.idle()
  const saved = await users.findOneByOrFail({ id: user.id })
  expect(saved.avatar.error).toBeNull()
  expect(saved.avatar.processing).toBe(false)
  expect(saved.avatar).toMatchObject({
    present: true,
    fileName: 'me at the sea.jpg',
    contentType: 'image/jpeg',
    fileSize: photo.length,
    width: 1600,
    height: 1200,
  })
  expect(await keys()).toEqual(['original', 'large', 'medium', 'thumb'].map((style) => saved.avatar.path(style as 'thumb')).sort())
  expect(await filesIn(root)).toEqual([])
  expect(saved.avatar.path('thumb')).toBe(`users/avatars/000/000/00${user.id}/${saved.avatar.version}/thumb/me at the sea.webp`)
  const signed = await saved.avatar.signedUrl('thumb', { expiresIn: 60 })
  const answer = await fetch(signed as string)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('image/webp')
})

describe.skipIf(!inject('s3').faithful)('an S3 that refuses is told on the row, and the original is kept', () => {
  it.each([
    ['a bucket that does not exist', 'nowhere-at-all', undefined, 'bucket_missing'],
    ['wrong credentials', undefined, 'not the secret', 'access_denied'],
  ])('%s', async (_what, bucket, secret, code) => {
    const real = await newBucket()
    const client = new S3Client(clientConfig({ ...inject('s3'), ...(secret && { secretAccessKey: secret }) }))
    const { dataSource, attachments } = await world([User], { storage: s3Storage({ client, bucket: bucket ?? real.bucket }) })
    const user = new User()
    const photo = await jpeg()
    await attachments.attach(user, 'avatar', photo)
    await dataSource.manager.save(user)
    await attachments.idle()
    client.destroy()
    const { avatar } = await dataSource.getRepository(User).findOneByOrFail({ id: user.id })
    expect(avatar).toMatchObject({ processing: false, error: { code, attempts: 2 } })
    expect(avatar.url('thumb')).toBe('/images/thumb/missing.png')
    expect(await buffer(await avatar.stream('original'))).toEqual(photo)
    expect(await real.keys()).toEqual([])
  })
})
