import 'reflect-metadata'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it } from 'vitest'
import { type Attached, Attachment, diskStorage, fromDirectUpload, inlineBackground, type UploadForm } from '../src'
import { s3Storage } from '../src/storage/s3'
import { jpeg, png } from './support/pictures'
import { ask, send } from './support/uploading'
import { folder, heldBackground, newBucket, world } from './support/world'

const server = inject('s3')
const photo = jpeg(200, 100)
const secret = 'a secret of more than 32 characters'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/jpeg', 'image/png'], maxSize: '1 MB', processingUrl: '/wait.png' })
  avatar!: Attached<'thumb'>

  @Attachment({ accept: 'any', path: ':class/:fingerprint/:filename' })
  paper!: Attached
}

const places = server.faithful ? (['s3', 'disk'] as const) : (['disk'] as const)

describe.each(places)('what a browser uploads to a staging on %s', (place) => {
  async function setUp() {
    const { client, bucket, keys } = await newBucket()
    const background = heldBackground()
    const root = await folder()
    const staging = place === 's3' ? s3Storage({ client, bucket, prefix: 'staging/', publicUrl: null }) : diskStorage({ root })
    const storage = s3Storage({ client, bucket, prefix: 'files/', publicUrl: null })
    const { dataSource, attachments } = await world([User], { staging, storage, background, secret })
    const handler = attachments.directUploads({ authorize: (request) => request.headers.get('x-user') ?? true })
    const staged = async () => {
      const found: string[] = []
      for await (const { key } of staging.list?.('User/') ?? []) found.push(key)
      return found
    }
    async function upload(bytes: Uint8Array, asked: object = {}, headers: Record<string, string> = {}) {
      const given = { entity: 'User', property: 'avatar', fileName: 'Köln.jpg', contentType: 'image/jpeg', size: bytes.length, ...asked }
      const form = await ask(handler, given, headers)
      expect(form.error).toBeUndefined()
      return { ...form, status: await send(form, bytes, handler) }
    }
    const load = (id = 1) => dataSource.manager.findOneByOrFail(User, { id })
    const save = (user: User) => dataSource.manager.save(user)
    return { attachments, handler, upload, load, save, run: background.run, keys, staged, staging, client, bucket, dataSource }
  }

  it('is taken over, made into styles, and stored', async () => {
    const { attachments, upload, load, save, run, staged } = await setUp()
    const { token, status } = await upload(await photo)
    expect(status).toBeLessThan(300)
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(token))
    await save(user)
    const before = await load()
    expect(before.avatar).toMatchObject({ fileName: 'Köln.jpg', contentType: 'image/jpeg', processing: true, width: 200, height: 100 })
    expect(await buffer(await before.avatar.stream())).toEqual(Buffer.from(await photo))
    await run()
    const { avatar } = await load()
    expect(avatar).toMatchObject({ processing: false, error: null, fileSize: (await photo).length, fingerprint: null })
    expect(await buffer(await avatar.stream())).toEqual(Buffer.from(await photo))
    expect((await buffer(await avatar.stream('thumb'))).length).toBeGreaterThan(100)
    expect(await staged()).toEqual([])
  })

  it('may be attached again before it is saved, by the same token', async () => {
    const { attachments, upload, load, save } = await setUp()
    const { token } = await upload(await photo)
    await attachments.attach(new User(), 'avatar', fromDirectUpload(token))
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(token))
    await save(user)
    expect((await load()).avatar.present).toBe(true)
  })

  it('is taken once: a second entity is refused, the same one is shown what it has', async () => {
    const { attachments, upload, load, save, run } = await setUp()
    const { token } = await upload(await photo)
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(token))
    await save(user)
    const thief = new User()
    await expect(attachments.attach(thief, 'avatar', fromDirectUpload(token))).rejects.toMatchObject({ code: 'token_used' })
    const again = await load()
    await attachments.attach(again, 'avatar', fromDirectUpload(token))
    await save(again)
    await run()
    await expect(attachments.attach(thief, 'avatar', fromDirectUpload(token))).rejects.toMatchObject({ code: 'token_used' })
    expect((await load()).avatar).toMatchObject({ processing: false, version: user.avatar.version })
  })

  it('is taken by whom it was made for', async () => {
    const { attachments, upload } = await setUp()
    const { token } = await upload(await photo, {}, { 'x-user': 'ada' })
    for (const subject of [undefined, null, 'eve', '']) {
      await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(token, { subject }))).rejects.toMatchObject({ code: 'foreign_token' })
    }
    await attachments.attach(new User(), 'avatar', fromDirectUpload(token, { subject: 'ada' }))
  })

  it('is taken by the attachment that it was made for', async () => {
    const { attachments, upload } = await setUp()
    const { token } = await upload(await photo)
    await expect(attachments.attach(new User(), 'paper', fromDirectUpload(token))).rejects.toMatchObject({ code: 'foreign_token' })
  })

  it('is taken only when it is there', async () => {
    const { attachments, handler } = await setUp()
    const { token } = await ask(handler, { entity: 'User', property: 'avatar', fileName: 'a.jpg', contentType: 'image/jpeg', size: 1000 })
    await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(token))).rejects.toMatchObject({ code: 'upload_missing' })
  })

  it.each([
    ['an HTML page', Buffer.from('<!doctype html><script>alert(1)</script>')],
    ['an SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')],
    ['a program', Buffer.from('7f454c4602010100', 'hex')],
  ])('is refused and deleted where it is %s called image/png', async (_, bytes) => {
    const { attachments, upload, staged } = await setUp()
    const { token } = await upload(bytes, { contentType: 'image/png', fileName: 'a.png' })
    expect(await staged()).toHaveLength(1)
    await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(token))).rejects.toMatchObject({ code: 'type_not_accepted' })
    expect(await staged()).toEqual([])
  })

  it('is what its bytes say, whatever the browser called it', async () => {
    const { attachments, upload } = await setUp()
    const { token } = await upload(await png(30, 20), { contentType: 'image/jpeg', fileName: 'a.jpg' })
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(token))
    expect(user.avatar).toMatchObject({ contentType: 'image/png', width: 30, height: 20 })
  })

  it('is refused where the attachment does not take it, before a byte is sent', async () => {
    const { handler } = await setUp()
    const asked = { entity: 'User', property: 'avatar', fileName: 'a.jpg', contentType: 'image/jpeg', size: 1000 }
    for (const [wrong, status, code] of [
      [{ size: 2 * 1024 * 1024 }, 413, 'too_large'],
      [{ size: 0 }, 400, 'empty'],
      [{ contentType: 'text/html' }, 415, 'type_not_accepted'],
      [{ contentType: `image/${'a'.repeat(128)}` }, 400, 'bad_content_type'],
      [{ contentType: `${'a'.repeat(128)}/png` }, 400, 'bad_content_type'],
      [{ entity: 'Nobody' }, 404, 'unknown_attachment'],
    ] as const) {
      expect(await ask(handler, { ...asked, ...wrong })).toMatchObject({ status, error: { code } })
    }
  })

  it('is kept over a form that is shown again, also when it came through the application', async () => {
    const { attachments, load, save, run, staged } = await setUp()
    const user = new User()
    await attachments.attach(user, 'avatar', await photo, { fileName: 'a.jpg' })
    const token = attachments.tokenFor(user, 'avatar', { subject: 'ada' })
    const { fingerprint } = user.avatar
    const next = new User()
    await attachments.attach(next, 'avatar', fromDirectUpload(token, { subject: 'ada' }))
    await save(next)
    await run()
    expect((await load()).avatar).toMatchObject({ processing: false, error: null, fingerprint })
    expect(await staged()).toEqual([])
  })

  it('cannot be swapped once it was looked at', async () => {
    const { attachments, handler, load, save, run, keys } = await setUp()
    const original = await photo
    const swapped = Buffer.from(original)
    swapped[swapped.length - 10] = (swapped[swapped.length - 10] as number) ^ 1
    const form = await ask(handler, { entity: 'User', property: 'avatar', fileName: 'a.jpg', contentType: 'image/jpeg', size: original.length })
    await send(form, original, handler)
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(form.token))
    const again = await send(form, swapped, handler)
    await save(user)
    await run()
    const { avatar } = await load()
    if (place === 'disk') {
      expect([again, avatar.error]).toEqual([409, null])
      expect(await buffer(await avatar.stream())).toEqual(Buffer.from(original))
    } else {
      expect(again).toBeLessThan(300)
      expect(avatar).toMatchObject({ processing: false, error: { code: 'object_changed' } })
      expect((await keys()).filter((key) => key.startsWith('files/'))).toEqual([])
    }
  })

  it('is found by its key in the bucket, which is all that Uppy tells', async () => {
    if (place === 'disk') return
    const { attachments, handler, staged } = await setUp()
    const bytes = await photo
    const asked = { entity: 'User', property: 'avatar', size: `${bytes.length}` }
    const query = new URLSearchParams({ filename: 'Köln.jpg', type: 'image/jpeg' })
    for (const [name, value] of Object.entries(asked)) query.set(`metadata[${name}]`, value)
    const request = new Request(`http://app.test/uploads/s3/params?${query}`, { headers: { 'x-user': 'ada' } })
    const form = (await (await handler(request)).json()) as UploadForm
    await send(form, bytes)
    const key = form.fields['key'] as string
    await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(key))).rejects.toMatchObject({ code: 'foreign_token' })
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(key, { subject: 'ada' }))
    expect(user.avatar.width).toBe(200)
    for (const wrong of [`${key}x`, `x${key}`, '/', key.replace('staging/', ''), `staging/../${key}`]) {
      await expect(attachments.attach(user, 'avatar', fromDirectUpload(wrong, { subject: 'ada' }))).rejects.toMatchObject({ code: 'upload_missing' })
    }
    expect(await staged()).toHaveLength(1)
  })

  it.each([
    ['nothing', undefined],
    ['a list', ['staging/a']],
    ['an object', { toString: (): string => 'staging/a' }],
    ['one that cannot be read', { toString: 1 }],
    ['a key that is no text', 'staging/\ud800'],
    ['a key of ours, almost', `staging/User/avatar/ab/${'ab'.repeat(16)}/\ud800`],
    ['a key that XML cannot say', 'staging/a\0b'],
    ['a key that is too long', `staging/${'a'.repeat(5000)}`],
  ] as [string, unknown][])('is taken by no token that is none: %s', async (_, token) => {
    const { attachments } = await setUp()
    const refused = { name: 'RefusedFileError', code: expect.stringMatching(/^(bad_token|upload_missing)$/) }
    await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(token as string))).rejects.toMatchObject(refused)
  })

  it('is swept with the rest when nobody takes it', async () => {
    const { attachments, upload, staged } = await setUp()
    await upload(await photo)
    expect(await attachments.sweepStaging()).toBe(0)
    expect(await attachments.sweepStaging({ olderThan: -60_000 })).toBe(1)
    expect(await staged()).toEqual([])
  })
})

describe('an attachment whose keys name the fingerprint', () => {
  it('takes no direct uploads, and says why', async () => {
    const { attachments } = await world([User], { secret, background: inlineBackground(), staging: diskStorage({ root: join(await folder(), 'a') }) })
    const handler = attachments.directUploads({ authorize: () => true })
    const asked = { entity: 'User', property: 'paper', fileName: 'a.txt', contentType: 'text/plain', size: 1000 }
    await expect(ask(handler, asked)).rejects.toMatchObject({ code: 'fingerprint_unknown' })
  })
})

describe('without a secret', () => {
  it('nothing is signed', async () => {
    const { attachments } = await world([User])
    await expect(async () => attachments.directUploads({ authorize: () => true })).rejects.toMatchObject({ code: 'secret_missing' })
  })
})
