import 'reflect-metadata'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import {
  type Attached,
  Attachment,
  Attachments,
  diskStorage,
  fromPath,
  inlineBackground,
  memoryStorage,
  RefusedFileError,
  type Storage,
} from '../src'
import { photo as grained, jpeg, png } from './support/pictures'
import { filesIn, folder, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { nullable: true })
  name!: string | null

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/jpeg', 'image/png'], maxSize: '1 MB' })
  avatar!: Attached<'thumb'>

  @Attachment({ accept: 'any' })
  paper!: Attached
}

const photo = jpeg(300, 200)

describe('sources', () => {
  const sources: Array<[string, (bytes: Buffer, path: string) => unknown, string]> = [
    ['a Buffer', (bytes) => bytes, 'file'],
    ['a typed array', (bytes) => new Uint16Array(new Uint8Array(bytes).buffer), 'file'],
    ['a Node stream', (_, path) => createReadStream(path), 'file'],
    ['a web stream', (bytes) => new Blob([new Uint8Array(bytes)]).stream(), 'file'],
    ['a Blob', (bytes) => new Blob([new Uint8Array(bytes)]), 'file'],
    ['a File', (bytes) => new File([new Uint8Array(bytes)], 'me.jpg'), 'me.jpg'],
    [
      'an upload in memory by multer or NestJS',
      (bytes) => ({ fieldname: 'f', originalname: 'Ã©tÃ©.jpg', mimetype: 'text/html', buffer: bytes, size: 1 }),
      'été.jpg',
    ],
    [
      'an upload of @fastify/multipart',
      (_, path) => ({ type: 'file', file: createReadStream(path), filename: 'f.jpg', mimetype: 'text/html' }),
      'f.jpg',
    ],
    ['a file on the disk', (_, path) => fromPath(path, { fileName: 'my photo.jpg' }), 'my photo.jpg'],
  ]
  it.each(sources)('reads %s', async (_name, make, fileName) => {
    const { attachments, staging } = await world([User])
    // an even number of bytes, for the typed array
    const bytes = Buffer.concat([await photo, Buffer.alloc((await photo).length % 2)])
    const path = join(await folder(), 'upload')
    await writeFile(path, bytes)
    const user = new User()
    await attachments.attach(user, 'paper', make(bytes, path) as Buffer)
    expect(user.paper).toMatchObject({
      present: true,
      fileName,
      contentType: 'image/jpeg',
      fileSize: bytes.length,
      fingerprint: createHash('sha256').update(bytes).digest('hex'),
      width: 300,
      height: 200,
    })
    const staged = await filesIn(staging)
    expect(staged.filter((file) => file.endsWith('/original'))).toHaveLength(1)
  })

  it('stages in a storage that is a class of its own, with paths of its own', async () => {
    const root = await folder()
    class Own {
      readonly #disk = diskStorage({ root })
      write: Storage['write'] = (...given) => this.#disk.write(...given)
      read: Storage['read'] = (key) => this.#disk.read(key)
      stat: Storage['stat'] = (key) => this.#disk.stat(key)
      delete: Storage['delete'] = (keys) => this.#disk.delete(keys)
      url = () => null
      localPath(key: string) {
        return this.#disk.localPath?.(key) as string
      }
    }
    const { attachments } = await world([User], { staging: new Own() })
    const user = new User()
    // larger than what it could be told by
    const bytes = await grained(600, 400).webp({ lossless: true }).toBuffer()
    await attachments.attach(user, 'paper', bytes)
    expect(user.paper).toMatchObject({ contentType: 'image/webp', width: 600, height: 400 })
  })

  it('reads nothing back from a staging that is far away to tell what a picture is', async () => {
    const staging = memoryStorage()
    const { attachments } = await world([User], { staging: { ...staging, read: () => Promise.reject(new Error('far away')) } })
    const user = new User()
    for (const bytes of [await photo, await png(300, 200)]) {
      await attachments.attach(user, 'avatar', bytes)
      expect(user.avatar).toMatchObject({ width: 300, height: 200 })
    }
  })

  it('copies a file that is attached elsewhere', async () => {
    const { dataSource, attachments, storage } = await world([User])
    const one = new User()
    await attachments.attach(one, 'avatar', await photo, { fileName: 'one.jpg' })
    await dataSource.manager.save(one)
    await attachments.idle()
    const loaded = await dataSource.getRepository(User).findOneByOrFail({ id: one.id })
    const other = new User()
    await attachments.attach(other, 'avatar', loaded.avatar)
    await dataSource.manager.save(other)
    await attachments.idle()
    await dataSource.manager.remove(loaded)
    await attachments.idle()
    const kept = await dataSource.getRepository(User).findOneByOrFail({ id: other.id })
    expect(kept.avatar.fileName).toBe('one.jpg')
    expect(storage.objects.get(kept.avatar.path() as string)?.body).toEqual(await photo)
  })
})

describe('what is refused is refused with a code, and leaves nothing behind', () => {
  const cases: Array<[string, () => Promise<unknown> | unknown, string]> = [
    ['an empty file', () => Buffer.alloc(0), 'empty'],
    ['a file over maxSize', async () => Buffer.concat([await photo, Buffer.alloc(2 ** 20)]), 'too_large'],
    ['a type that is not accepted', () => Buffer.from('%PDF-1.7 …'), 'type_not_accepted'],
    ['an HTML page called .png', () => new File(['<html><script>alert(1)</script>'], 'x.png', { type: 'image/png' }), 'type_not_accepted'],
    ['half a JPEG', async () => (await photo).subarray(0, (await photo).length / 2), 'corrupt_image'],
    [
      'a JPEG that is none after its first bytes',
      async () => Buffer.concat([(await photo).subarray(0, 20), Buffer.alloc(5000, 'x')]),
      'corrupt_image',
    ],
    ['half a PNG header', async () => (await png()).subarray(0, 30), 'corrupt_image'],
    ['a stream that fails half-way', async () => failing(await photo), 'source_failed'],
    ['a stream that breaks before anybody reads it', () => createReadStream('/nowhere/at/all.jpg'), 'source_failed'],
    ['a stream that was read already', () => consumed(), 'source_consumed'],
    ['a string', () => '/etc/passwd', 'source_unknown'],
    ['an object of paths, as formidable gives', () => ({ filepath: '/etc/passwd' }), 'source_unknown'],
    ['what JSON makes of a Buffer', () => ({ type: 'Buffer', data: [255, 216] }), 'source_unknown'],
    ['a path where there is no file', () => fromPath('/nowhere/at/all.jpg'), 'source_failed'],
    ['nothing', () => null, 'source_unknown'],
  ]
  it.each(cases)('%s', async (_name, make, code) => {
    const { attachments, staging } = await world([User])
    const user = new User()
    await expect(attachments.attach(user, 'avatar', (await make()) as Buffer)).rejects.toMatchObject({ code })
    expect(user.avatar).toBeUndefined()
    expect(await filesIn(staging)).toEqual([])
  })

  it('stops reading as soon as maxSize is passed, and destroys the source', async () => {
    const { attachments, staging } = await world([User])
    let given = 0
    const endless = new Readable({
      read() {
        given += 65536
        this.push(Buffer.alloc(65536))
      },
    })
    await expect(attachments.attach(new User(), 'avatar', endless)).rejects.toThrow(RefusedFileError)
    expect(given).toBeLessThan(2 * 2 ** 20)
    expect(endless.destroyed).toBe(true)
    expect(await filesIn(staging)).toEqual([])
  })

  it.each([
    ['../../etc/passwd', 'passwd'],
    ['C:\\fakepath\\me.jpg', 'me.jpg'],
    [`${'x'.repeat(10_240)}.jpg`, `${'x'.repeat(251)}.jpg`],
    ['', 'file'],
  ])('makes the name %.20s harmless', async (fileName, safe) => {
    const { dataSource, attachments, storage } = await world([User])
    const user = new User()
    await attachments.attach(user, 'avatar', await photo, { fileName })
    await dataSource.manager.save(user)
    await attachments.idle()
    expect(user.avatar.fileName).toBe(safe)
    expect([...storage.objects.keys()].every((key) => key.startsWith('users/avatars/'))).toBe(true)
  })
})

describe('calls that cannot be right', () => {
  it('attach() before connect()', async () => {
    const attachments = new Attachments({ staging: memoryStorage(), storage: memoryStorage(), background: inlineBackground() })
    await expect(attachments.attach(new User(), 'avatar', await photo)).rejects.toMatchObject({ code: 'not_connected' })
  })

  it('an entity without the attachment, and an object that is no entity', async () => {
    const { attachments } = await world([User])
    await expect(attachments.attach(new User(), 'name' as 'avatar', await photo)).rejects.toMatchObject({
      code: 'unknown_attachment',
      message: expect.stringContaining('User.avatar, User.paper'),
    })
    await expect(attachments.attach({ avatar: null } as unknown as User, 'avatar', await photo)).rejects.toMatchObject({ code: 'unknown_entity' })
  })

  it('connect() to a data source that is not initialized', async () => {
    const attachments = new Attachments({ staging: memoryStorage(), storage: memoryStorage(), background: inlineBackground() })
    const dataSource = new DataSource({ type: 'postgres', entities: [User] })
    await expect(attachments.connect(dataSource)).rejects.toMatchObject({ code: 'not_initialized' })
  })

  it('an unknown style', async () => {
    const { attachments } = await world([User])
    const user = new User()
    await attachments.attach(user, 'avatar', await photo)
    expect(() => user.avatar.url('thmub' as 'thumb')).toThrow(
      expect.objectContaining({ code: 'unknown_style', message: expect.stringContaining('original, thumb') }),
    )
  })

  it('a staging folder that cannot be made', async () => {
    const root = join(await folder(), 'file')
    await writeFile(root, '')
    await expect(world([User], { staging: diskStorage({ root: join(root, 'below') }) })).rejects.toMatchObject({ code: 'disk_failed' })
  })
})

function failing(bytes: Buffer): Readable {
  return Readable.from(
    (async function* () {
      yield bytes.subarray(0, 1000)
      throw new Error('connection reset')
    })(),
  )
}

async function consumed(): Promise<Readable> {
  const stream = Readable.from([Buffer.from('x')])
  for await (const _ of stream);
  return stream
}
