import 'reflect-metadata'
import { buffer } from 'node:stream/consumers'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it } from 'vitest'
import { type Attached, Attachment, diskStorage, type UploadForm } from '../src'
import { s3Storage } from '../src/storage/s3'
import { jpeg } from './support/pictures'
import { send } from './support/uploading'
import { folder, heldBackground, newBucket, world } from './support/world'

const server = inject('s3')
const photo = jpeg(200, 100)
const secret = 'a secret of more than 32 characters'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'], processingUrl: '/wait.png' })
  avatar!: Attached<'thumb'>
}

/** What a bucket says of a new object, as S3 words it. */
function eventOf(bucket: string, key: string) {
  const encoded = encodeURIComponent(key).replaceAll('%20', '+')
  return { Records: [{ eventSource: 'aws:s3', eventName: 'ObjectCreated:Post', s3: { bucket: { name: bucket }, object: { key: encoded } } }] }
}

describe.skipIf(!server.faithful)('a file that is expected', () => {
  async function setUp() {
    const { client, bucket, keys } = await newBucket()
    const background = heldBackground()
    const staging = s3Storage({ client, bucket, prefix: 'staging/', publicUrl: null })
    const storage = s3Storage({ client, bucket, prefix: 'files/', publicUrl: null })
    const { dataSource, attachments } = await world([User], { staging, storage, background, secret })
    const user = new User()
    const load = () => dataSource.manager.findOneByOrFail(User, { id: user.id })
    async function announce(bytes: Uint8Array, contentType = 'image/jpeg'): Promise<UploadForm> {
      return attachments.expect(user, 'avatar', { fileName: 'Köln.jpg', contentType, size: bytes.length })
    }
    const event = (loaded: User) => eventOf(bucket, `staging/${loaded.avatar.meta?.styles['original']?.staged}`)
    /** As if the deadline had passed. */
    async function late() {
      const { avatar } = await load()
      const meta = JSON.stringify(avatar.meta).replace(/"awaited":"[^"]*"/g, '"awaited":"2020-01-01T00:00:00.000Z"')
      await dataSource.query('UPDATE "user" SET avatar_meta = $1, avatar_attempted_at = now() - interval \'1 day\' WHERE id = $2', [meta, user.id])
    }
    return { attachments, user, load, announce, event, late, background, keys, bucket, dataSource }
  }

  it('is in the row before it is uploaded, and shows what is shown while it is processed', async () => {
    const { load, announce, background } = await setUp()
    await announce(await photo)
    const { avatar } = await load()
    expect(avatar).toMatchObject({ awaiting: true, processing: true, present: true, fileName: 'Köln.jpg', fileSize: (await photo).length })
    expect([avatar.url(), avatar.url('thumb'), await avatar.signedUrl()]).toEqual(['/wait.png', '/wait.png', '/wait.png'])
    await expect(avatar.stream()).rejects.toMatchObject({ code: 'not_ready' })
    expect(background.jobs).toEqual([])
  })

  it('is processed when the bucket says that it is there', async () => {
    const { attachments, load, announce, event, background, keys } = await setUp()
    expect(await send(await announce(await photo), await photo)).toBeLessThan(300)
    expect(await attachments.handleObjectCreated(event(await load()))).toBe(1)
    await background.run()
    const { avatar } = await load()
    expect(avatar).toMatchObject({ awaiting: false, processing: false, error: null, width: 200, height: 100, contentType: 'image/jpeg' })
    expect(await buffer(await avatar.stream())).toEqual(Buffer.from(await photo))
    expect((await keys()).filter((key) => key.startsWith('staging/User'))).toEqual([])
  })

  it('is not harmed by events that are early, repeated, late or of others', async () => {
    const { attachments, load, announce, event, background, bucket } = await setUp()
    const form = await announce(await photo)
    const told = event(await load())
    // before it is there
    await attachments.handleObjectCreated(told)
    await background.run()
    expect((await load()).avatar).toMatchObject({ awaiting: true, error: null })
    for (const key of ['staging/User/avatar/00/00000000000000000000000000000000/original', 'elsewhere', 'staging/Nobody/x/00/0/original']) {
      expect(await attachments.handleObjectCreated(eventOf(bucket, key))).toBe(0)
    }
    expect(await attachments.handleObjectCreated(JSON.parse(JSON.stringify(told).replace(bucket, 'another')))).toBe(0)
    await send(form, await photo)
    expect(await attachments.handleObjectCreated({ Records: [...told.Records, ...told.Records] })).toBe(1)
    await attachments.handleObjectCreated(told)
    await background.run()
    const done = await load()
    expect(done.avatar).toMatchObject({ processing: false, error: null })
    expect(await attachments.handleObjectCreated(told)).toBe(0)
    expect((await load()).avatar).toMatchObject({ version: done.avatar.version, processing: false })
  })

  it.each(['detach', 'remove'] as const)('is taken back by %s, and what comes all the same is nobody’s', async (way) => {
    const { attachments, user, load, announce, event, background, dataSource } = await setUp()
    const form = await announce(await photo)
    const told = event(await load())
    if (way === 'detach') {
      await attachments.detach(user, 'avatar')
      await dataSource.manager.save(user)
      expect((await load()).avatar).toMatchObject({ present: false, awaiting: false, processing: false })
    } else await dataSource.manager.remove(user)
    await send(form, await photo)
    expect(await attachments.handleObjectCreated(told)).toBe(0)
    expect(background.jobs.filter(({ kind }) => kind === 'process')).toEqual([])
  })

  it('is found among thousands in one event, which leaves the database to others, too', async () => {
    const { attachments, load, announce, event, bucket, dataSource } = await setUp()
    await send(await announce(await photo), await photo)
    const strangers = Array.from({ length: 2_000 }, (_, number) => {
      const version = number.toString(16).padStart(32, '0')
      return eventOf(bucket, `staging/User/avatar/00/${version}/original`).Records
    })
    const { master: pool } = dataSource.driver as unknown as { master: { waitingCount: number } }
    let mostWaiting = 0
    const taken = attachments.handleObjectCreated({ Records: [...strangers.flat(), ...event(await load()).Records] })
    const ended = taken.then(() => true)
    while (!(await Promise.race([ended, new Promise((resolve) => setImmediate(resolve, false))])))
      mostWaiting = Math.max(mostWaiting, pool.waitingCount)
    expect(await taken).toBe(1)
    expect(mostWaiting).toBe(0)
  })

  it('has styles of the form that goes with what has come, whatever was announced', async () => {
    const { attachments, load, announce, event, background } = await setUp()
    await send(await announce(await photo, 'image/svg+xml'), await photo)
    await attachments.handleObjectCreated(event(await load()))
    await background.run()
    const { avatar } = await load()
    expect(avatar).toMatchObject({ contentType: 'image/jpeg', processing: false, error: null })
    expect(avatar.meta?.styles['thumb']).toMatchObject({ contentType: 'image/jpeg', key: expect.stringMatching(/\.jpg$/) })
  })

  it('is processed although no event comes', async () => {
    const { attachments, load, announce, late, background } = await setUp()
    await send(await announce(await photo), await photo)
    expect(await attachments.requeueLost({ olderThan: 0 })).toBe(0)
    await late()
    expect(await attachments.requeueLost()).toBe(1)
    await background.run()
    expect((await load()).avatar).toMatchObject({ processing: false, error: null })
  })

  it('fails when it never comes, and is taken when it comes after that', async () => {
    const { attachments, load, announce, event, late, background } = await setUp()
    const form = await announce(await photo)
    await late()
    await attachments.requeueLost()
    await background.run()
    expect((await load()).avatar).toMatchObject({ processing: false, error: { code: 'never_uploaded' } })
    await send(form, await photo)
    expect(await attachments.handleObjectCreated(event(await load()))).toBe(1)
    await background.run()
    expect((await load()).avatar).toMatchObject({ processing: false, error: null })
  })

  it('is taken whole, whoever looks for it at the moment of its deadline', async () => {
    const { attachments, load, announce, event, late, background, keys } = await setUp()
    const form = await announce(await photo)
    await late()
    const told = event(await load())
    const uploaded = send(form, await photo).then(() => attachments.handleObjectCreated(told))
    await attachments.requeueLost()
    background.jobs.push(...background.jobs)
    await Promise.all([background.run(), uploaded])
    background.jobs.push(...background.jobs)
    await background.run()
    const { avatar } = await load()
    expect(avatar).toMatchObject({ awaiting: false, processing: false, error: null })
    expect(await buffer(await avatar.stream())).toEqual(Buffer.from(await photo))
    expect((await buffer(await avatar.stream('thumb'))).length).toBeGreaterThan(100)
    expect((await keys()).filter((key) => key.startsWith('staging/User'))).toEqual([])
  })

  it('is taken from a second upload where the first was refused', async () => {
    const { attachments, load, announce, event, background, keys } = await setUp()
    const form = await announce(await photo)
    for (const [bytes, error] of [[Buffer.alloc((await photo).length, 'x'), { code: 'type_not_accepted' }] as const, [await photo, null] as const]) {
      await send(form, bytes)
      expect(await attachments.handleObjectCreated(event(await load()))).toBe(1)
      await background.run()
      // the same news once more
      expect(await attachments.handleObjectCreated(event(await load()))).toBe(0)
      expect((await load()).avatar).toMatchObject({ processing: false, error })
    }
    expect((await keys()).filter((key) => key.startsWith('staging/User'))).toEqual([])
  })

  it.each([
    ['an HTML page', Buffer.from('<!doctype html><script>alert(1)</script>'), 'type_not_accepted'],
    ['half a picture that calls itself whole', Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 0]), 'corrupt_image'],
  ])('fails and is deleted where it is %s', async (_, bytes, code) => {
    const { attachments, load, announce, event, background, keys } = await setUp()
    await send(await announce(bytes, 'image/png'), bytes)
    await attachments.handleObjectCreated(event(await load()))
    await background.run()
    expect((await load()).avatar).toMatchObject({ processing: false, error: { code } })
    expect((await keys()).filter((key) => key.startsWith('staging/User'))).toEqual([])
  })
})

describe('what is announced', () => {
  it.each([
    [null, 'bad_size'],
    [{ fileName: 'a.jpg', size: 3 }, 'bad_content_type'],
    [{ fileName: 'a.jpg', contentType: ['image/jpeg', 'a/b'], size: 3 }, 'bad_content_type'],
    [{ contentType: 'image/jpeg', size: 3 }, 'bad_file_name'],
    [{ fileName: ['a.jpg'], contentType: 'image/jpeg', size: 3 }, 'bad_file_name'],
    [{ fileName: 'a.jpg', contentType: 'image/jpeg', size: '3' }, 'bad_size'],
  ])('may be anything that a request contains: %o is refused with %s', async (announced, code) => {
    const { attachments, dataSource } = await world([User], { secret })
    await expect(attachments.expect(new User(), 'avatar', announced as never, { url: '/uploads' })).rejects.toMatchObject({ code })
    expect(await dataSource.manager.count(User)).toBe(0)
  })
})

describe('on a disk', () => {
  it('a file that is expected comes through the handler, which says that it is there', async () => {
    const background = heldBackground()
    const { attachments, dataSource } = await world([User], { staging: diskStorage({ root: await folder() }), background, secret })
    const handler = attachments.directUploads({ authorize: () => true })
    const user = new User()
    const announced = { fileName: 'a.jpg', contentType: 'image/jpeg', size: (await photo).length }
    await expect(attachments.expect(new User(), 'avatar', announced)).rejects.toMatchObject({ code: 'url_missing' })
    const form = await attachments.expect(user, 'avatar', announced, { url: '/uploads' })
    expect(await send(form, await photo, handler)).toBe(200)
    expect(background.jobs).toHaveLength(1)
    await background.run()
    const { avatar } = await dataSource.manager.findOneByOrFail(User, { id: user.id })
    expect(avatar).toMatchObject({ awaiting: false, processing: false, error: null, width: 200 })
  })
})
