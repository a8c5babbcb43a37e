import 'reflect-metadata'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { Column, DataSource, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, diskStorage, fromDirectUpload, inlineBackground, type UploadForm } from '../src'
import { s3Storage } from '../src/storage/s3'
import { databases, servers } from './support/databases'
import { scribe } from './support/doubles'
import { jpeg, png } from './support/pictures'
import { ask, send } from './support/uploading'
import { folder, heldBackground, newBucket, world } from './support/world'

const server = inject('s3')
const photo = jpeg(200, 100)
const maker = scribe()
const secret = 'a secret of more than 32 characters'

@Entity()
class Page {
  @PrimaryColumn('varchar', { length: 20 })
  book!: string

  @PrimaryColumn('varchar', { length: 20 })
  page!: string

  @Attachment({ accept: 'any' })
  scan!: Attached
}

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/jpeg', 'image/png'], maxSize: '1 MB', processingUrl: '/wait.png' })
  avatar!: Attached<'thumb'>

  /** Two rows would have the same keys for the same version. */
  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'], path: ':class/:version/:style/:filename' })
  cover!: Attached<'thumb'>

  @Attachment({ styles: { one: {}, more: {} }, accept: ['image/*', 'text/csv'], processors: [maker], processInBackground: { only: [] } })
  notes!: Attached<'one' | 'more'>

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
    const { dataSource, attachments } = await world([User, Page], { staging, storage, background, secret })
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
    return { attachments, handler, upload, load, save, background, run: background.run, keys, staged, staging, client, bucket, dataSource }
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

  it.each(['removed', 'replaced'])('stays with its second entity, whose first was %s, in whatever order their jobs come', async (fate) => {
    for (const last of ['process', 'delete']) {
      const { attachments, upload, load, save, background, dataSource } = await setUp()
      const { token } = await upload(await photo, { property: 'cover' })
      const first = new User()
      await attachments.attach(first, 'cover', fromDirectUpload(token))
      await save(first)
      if (fate === 'removed') await dataSource.manager.remove(first)
      else {
        await attachments.attach(first, 'cover', await png(30, 20))
        await save(first)
      }
      const second = new User()
      await attachments.attach(second, 'cover', fromDirectUpload(token))
      await save(second)
      const jobs = background.jobs.splice(0)
      for (const job of jobs.sort((a, b) => Number(a.kind === last) - Number(b.kind === last))) {
        background.jobs.push(job)
        await background.run()
      }
      const { cover } = await load(second.id)
      expect(cover).toMatchObject({ processing: false, error: null })
      expect(await buffer(await cover.stream())).toEqual(Buffer.from(await photo))
      expect((await buffer(await cover.stream('thumb'))).length).toBeGreaterThan(100)
    }
  })

  it('is not shown to another entity whose primary key reads the same', async () => {
    const { attachments, upload, dataSource } = await setUp()
    const { token } = await upload(await photo, { entity: 'Page', property: 'scan' })
    const page = dataSource.manager.create(Page, { book: '1-2', page: '3' })
    await attachments.attach(page, 'scan', fromDirectUpload(token))
    await dataSource.manager.save(page)
    await attachments.attach(page, 'scan', fromDirectUpload(token))
    const other = dataSource.manager.create(Page, { book: '1', page: '2-3' })
    await expect(attachments.attach(other, 'scan', fromDirectUpload(token))).rejects.toMatchObject({ code: 'token_used' })
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

  it('has the size that was signed, whoever has put it there', async () => {
    const { attachments, upload, staged, staging } = await setUp()
    const bytes = await photo
    for (const other of [Buffer.concat([bytes, Buffer.alloc(1)]), bytes.subarray(0, -1)]) {
      const { token } = await upload(bytes)
      const [key] = await staged()
      await staging.write(key as string, other, { contentType: 'image/jpeg' })
      await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(token))).rejects.toMatchObject({
        name: 'RefusedFileError',
        code: 'size_mismatch',
      })
      expect(await staged()).toEqual([])
    }
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

  it('is what it was said to be, and called so, where its bytes do not tell', async () => {
    const { attachments, upload, load, save, run } = await setUp()
    const csv = Buffer.from('first,second\n1,2\n')
    const user = new User()
    await attachments.attach(user, 'notes', csv, { fileName: 'numbers', contentType: 'text/csv' })
    const next = new User()
    await attachments.attach(next, 'notes', fromDirectUpload(attachments.tokenFor(user, 'notes')))
    await save(next)
    const { token } = await upload(csv, { property: 'notes', contentType: 'text/csv', fileName: 'numbers' })
    const named = new User()
    await attachments.attach(named, 'notes', fromDirectUpload(token), { fileName: 'sums', contentType: 'text/csv' })
    await save(named)
    await run()
    expect((await load(next.id)).notes).toMatchObject({ fileName: 'numbers', contentType: 'text/csv', processing: false, error: null })
    expect((await load(named.id)).notes).toMatchObject({ fileName: 'sums', contentType: 'text/csv', processing: false, error: null })
  })

  it('keeps the styles that were wanted at once, whoever attaches it after that and fails', async () => {
    const { attachments, upload, load, save, run } = await setUp()
    const { token } = await upload(await photo, { property: 'notes' })
    const user = new User()
    await attachments.attach(user, 'notes', fromDirectUpload(token))
    maker.before = (style) => {
      if (style === 'more') throw new Error('no more')
    }
    await expect(attachments.attach(new User(), 'notes', fromDirectUpload(token))).rejects.toThrow('no more')
    maker.reset()
    await save(user)
    await run()
    expect((await load()).notes).toMatchObject({ processing: false, error: null })
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

describe.each([...databases])('a token on %s', (on) => {
  it('can be used in a transaction, and again after that was rolled back', async () => {
    const { attachments, dataSource } = await world([User], { on, secret, background: heldBackground() })
    const first = new User()
    await attachments.attach(first, 'avatar', await photo, { fileName: 'a.jpg' })
    const token = attachments.tokenFor(first, 'avatar')
    const undone = dataSource.transaction(async (manager) => {
      await attachments.attach(first, 'avatar', fromDirectUpload(token))
      await manager.save(first)
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    await dataSource.transaction(async (manager) => {
      const second = new User()
      await attachments.attach(second, 'avatar', fromDirectUpload(token))
      await manager.save(second)
    })
    expect((await dataSource.manager.find(User)).map(({ avatar }) => avatar.present)).toEqual([true])
  })
})

describe.each([...servers])('a token on %s', (on) => {
  it('is taken by one of two processes that save it at the same time', async () => {
    const staging = diskStorage({ root: await folder() })
    const one = await world([User], { on, secret, staging, background: heldBackground() })
    const elsewhere = await new DataSource({ ...one.dataSource.options, synchronize: false }).initialize()
    onTestFinished(() => elsewhere.destroy())
    const other = await world([User], { dataSource: elsewhere, secret, staging, background: heldBackground() })
    const users = [new User(), new User(), new User()] as const
    await one.attachments.attach(users[0], 'avatar', await photo, { fileName: 'a.jpg' })
    const token = one.attachments.tokenFor(users[0], 'avatar')
    await one.attachments.attach(users[1], 'avatar', fromDirectUpload(token))
    await other.attachments.attach(users[2], 'avatar', fromDirectUpload(token))
    const saved = await Promise.allSettled([one.dataSource.manager.save(users[1]), other.dataSource.manager.save(users[2])])
    const refused = saved.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    expect(refused).toEqual([expect.objectContaining({ name: 'RefusedFileError', code: 'token_used' })])
    expect((await one.dataSource.manager.find(User)).map(({ avatar }) => avatar.present)).toEqual([true])
  })
})

describe('a token that two processes attach to one entity', () => {
  it('brings no file back that was replaced meanwhile', async () => {
    const staging = diskStorage({ root: await folder() })
    const one = await world([User], { secret, staging })
    const elsewhere = await new DataSource({ ...one.dataSource.options, synchronize: false }).initialize()
    onTestFinished(() => elsewhere.destroy())
    const other = await world([User], { dataSource: elsewhere, secret, staging, storage: one.storage })
    const { manager } = one.dataSource
    const user = await manager.save(new User())
    await one.attachments.attach(user, 'avatar', await photo, { fileName: 'a.jpg' })
    const token = one.attachments.tokenFor(user, 'avatar')
    const late = await elsewhere.manager.findOneByOrFail(User, { id: user.id })
    await other.attachments.attach(late, 'avatar', fromDirectUpload(token))
    await manager.save(user)
    await one.attachments.idle()
    await one.attachments.attach(user, 'avatar', await png(30, 20))
    await manager.save(user)
    await one.attachments.idle()
    await expect(elsewhere.manager.save(late)).rejects.toMatchObject({ code: 'attach_again' })
    const { avatar } = await manager.findOneByOrFail(User, { id: user.id })
    expect(avatar).toMatchObject({ processing: false, error: null, contentType: 'image/png' })
  })
})

describe('a form that is shown again and again', () => {
  it('does not make the token of its file good for longer than the file may wait in the staging', async () => {
    const { attachments } = await world([User], { secret, staging: diskStorage({ root: await folder() }) })
    const hours = (some: number) => vi.setSystemTime(Date.now() + some * 60 * 60_000)
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      const [first, second] = [new User(), new User()]
      await attachments.attach(first, 'avatar', await photo, { fileName: 'a.jpg' })
      const token = attachments.tokenFor(first, 'avatar')
      hours(11.5)
      await attachments.attach(second, 'avatar', fromDirectUpload(token))
      const later = attachments.tokenFor(second, 'avatar')
      hours(0.4)
      await attachments.attach(new User(), 'avatar', fromDirectUpload(later))
      hours(0.2)
      await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(later))).rejects.toMatchObject({ code: 'token_expired' })
    } finally {
      vi.useRealTimers()
    }
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

describe('attachments that are closed', () => {
  it('take no upload any more, which nobody would save', async () => {
    const disk = diskStorage({ root: await folder() })
    const given = await world([User], { secret, staging: disk })
    const user = new User()
    await given.attachments.attach(user, 'avatar', await photo, { fileName: 'a.jpg' })
    const token = given.attachments.tokenFor(user, 'avatar')
    await given.attachments.close()
    const stat = async (key: string) => {
      await closing.attachments.close()
      return disk.stat(key)
    }
    const closing = await world([User], { secret, dataSource: given.dataSource, staging: { ...disk, stat } })
    const next = new User()
    await expect(closing.attachments.attach(next, 'avatar', fromDirectUpload(token))).rejects.toMatchObject({ code: 'not_connected' })
    expect(next.avatar).toBeUndefined()
  })
})

describe('without a secret', () => {
  it('nothing is signed', async () => {
    const { attachments } = await world([User])
    await expect(async () => attachments.directUploads({ authorize: () => true })).rejects.toMatchObject({ code: 'secret_missing' })
  })
})
