import 'reflect-metadata'
import { S3Client } from '@aws-sdk/client-s3'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { type Attached, Attachment } from '../src'
import { s3Storage } from '../src/storage/s3'
import { digest } from '../src/testing/bodies'
import { jpeg } from './support/pictures'
import { heldBackground, newBucket, world } from './support/world'

const server = inject('s3')
const photo = jpeg(200, 100)

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'>

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'], processingUrl: '/wait.png', defaultUrl: '/none.png' })
  cover!: Attached<'thumb'>
}

describe.skipIf(!server.faithful)('in private buckets', () => {
  async function setUp() {
    const { client, bucket } = await newBucket()
    const background = heldBackground()
    const staging = s3Storage({ client, bucket, prefix: 'staging/', publicUrl: null })
    const storage = s3Storage({ client, bucket, prefix: 'files/', publicUrl: null })
    const { dataSource, attachments } = await world([User], { staging, storage, background })
    const user = new User()
    await attachments.attach(user, 'avatar', await photo, { fileName: 'Köln.jpg' })
    await attachments.attach(user, 'cover', await photo)
    await dataSource.manager.save(user)
    const load = () => dataSource.manager.findOneByOrFail(User, { id: user.id })
    /** What anybody gets who knows the bucket's address and a key. */
    const anonymously = async (key: string) => (await fetch(`${server.endpoint}/${bucket}/${key}`)).status
    return { load, run: background.run, anonymously }
  }

  it('nothing has a URL, and nobody reads an object by its plain address', async () => {
    const { load, run, anonymously } = await setUp()
    const before = await load()
    expect([before.avatar.url(), before.avatar.url('thumb')]).toEqual([null, null])
    expect([before.cover.url(), before.cover.url('thumb')]).toEqual(['/wait.png', '/wait.png'])
    expect(await anonymously(`staging/${before.avatar.meta?.styles['original']?.staged}`)).toBe(403)
    await run()
    const after = await load()
    expect([after.avatar.url(), after.avatar.url('thumb'), after.cover.url('thumb')]).toEqual([null, null, null])
    expect(after.avatar.toJSON()).toMatchObject({ processing: false, url: null, styles: { thumb: null } })
    expect(await anonymously(`files/${after.avatar.path()}`)).toBe(403)
    expect(await anonymously(`files/${after.avatar.path('thumb')}`)).toBe(403)
  })

  it('a signed URL of the original works at every moment, and saves it under the name that is asked for', async () => {
    const { load, run } = await setUp()
    for (const state of ['staged', 'stored']) {
      const { avatar } = await load()
      expect([state, avatar.processing]).toEqual([state, state === 'staged'])
      const answer = await fetch((await avatar.signedUrl('original', { expiresIn: 3600, fileName: 'me.jpg' })) as string)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-disposition')).toBe('attachment; filename=me.jpg')
      expect(digest(Buffer.from(await answer.arrayBuffer()))).toBe(digest(await photo))
      await run()
    }
  })

  it('a stable signed URL is one that works for half as long again', async () => {
    const { load, run } = await setUp()
    for (const state of ['staged', 'stored']) {
      const signed = (await (await load()).avatar.signedUrl('original', { expiresIn: 60, stable: true })) as string
      expect([state, (await fetch(signed)).status, new URL(signed).searchParams.get('X-Amz-Expires')]).toEqual([state, 200, '90'])
      await run()
    }
  })

  it('a style that is not made yet answers as by url(), the original signed', async () => {
    const { load, run } = await setUp()
    const { avatar, cover } = await load()
    expect(await cover.signedUrl('thumb')).toBe('/wait.png')
    const original = await fetch((await avatar.signedUrl('thumb')) as string)
    expect(digest(Buffer.from(await original.arrayBuffer()))).toBe(digest(await photo))
    await run()
    const thumb = await fetch((await (await load()).avatar.signedUrl('thumb')) as string)
    expect([thumb.status, thumb.headers.get('content-type')]).toEqual([200, 'image/jpeg'])
  })
})

it('a storage that has no URLs needs no address, and so no credentials, to be connected', async () => {
  const client = new S3Client({ ...clientConfig(server), credentials: async () => Promise.reject(new Error('no credentials')) })
  onTestFinished(() => client.destroy())
  const storage = s3Storage({ client, bucket: 'closed', publicUrl: null })
  await storage.prepare?.()
  expect(storage.url('a')).toBeNull()
  await expect(s3Storage({ client, bucket: 'open' }).prepare?.()).rejects.toThrow('no credentials')
})
