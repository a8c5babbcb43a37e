import 'reflect-metadata'
import { buffer } from 'node:stream/consumers'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, it, vi } from 'vitest'
import { type Attached, Attachment, diskStorage } from '../src'
import { jpeg } from './support/pictures'
import { folder, heldBackground, type World, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  plain!: Attached<'thumb'>

  @Attachment({
    styles: { thumb: '50x50#' },
    accept: ['image/*'],
    url: 'https://cdn.example.com/:class/:path?v=:updated_at&id=:id&n=:filename',
    path: ':id_partition/:style/:version/:filename',
    defaultUrl: (style, file) => `/default/${style}/${file.present}`,
    processingUrl: '/images/:attachment/:style/:basename.png',
  })
  fancy!: Attached<'thumb'>
}

/** Jobs are kept back until they are asked for. */
async function start(staging?: { publicUrl: string }) {
  const background = heldBackground()
  const here = await world([User], { staging: diskStorage({ root: await folder(), ...staging }), background })
  return { ...here, run: background.run }
}

async function save({ dataSource, attachments }: World, property: 'plain' | 'fancy', fileName: string) {
  const user = new User()
  await attachments.attach(user, property, await jpeg(), { fileName })
  await dataSource.manager.save(user)
  return user
}

const load = ({ dataSource }: World) => dataSource.getRepository(User).findOneByOrFail({})

it('answers without a file by defaultUrl, or null', async () => {
  const here = await start()
  await here.dataSource.manager.save(new User())
  const { plain, fancy } = await load(here)
  expect([plain.url(), plain.url('thumb'), fancy.url(), fancy.url('thumb')]).toEqual([null, null, '/default/original/false', '/default/thumb/false'])
  expect(plain).toMatchObject({ present: false, processing: false, error: null, width: null, height: null })
  expect([plain.path(), await plain.signedUrl()]).toEqual([null, null])
  await expect(plain.stream()).rejects.toMatchObject({ code: 'not_ready' })
})

it('answers while processing by processingUrl, else defaultUrl, else the original where that can be reached', async () => {
  const here = await start({ publicUrl: '/staged' })
  await save(here, 'fancy', 'my photo.jpg')
  await save(here, 'plain', 'x.jpg')
  const [fancy, plain] = (await here.dataSource.getRepository(User).find({ order: { id: 'ASC' } })).map((user) =>
    user.fancy.present ? user.fancy : user.plain,
  )
  expect(fancy?.url('thumb')).toBe('/images/fancies/thumb/my%20photo.png')
  expect(plain?.url('thumb')).toMatch(/^\/staged\/User\/plain\/..\/[0-9a-f]{32}\/original$/)
})

it('answers null while processing when nothing can be reached', async () => {
  const here = await start()
  await save(here, 'plain', 'x.jpg')
  expect((await load(here)).plain.url('thumb')).toBeNull()
})

it('encodes each segment of a URL, and keeps the template’s query', async () => {
  const here = await start()
  const user = await save(here, 'fancy', '100% größe #1?&.jpg')
  await here.run()
  const { fancy } = await load(here)
  const seconds = Math.floor((fancy.updatedAt as Date).getTime() / 1000)
  const name = encodeURIComponent('100% größe #1?&.jpg')
  expect(fancy.path('thumb')).toBe(`000/000/00${user.id}/thumb/${fancy.version}/100% größe #1?&.jpg`)
  expect(fancy.url('thumb')).toBe(
    `https://cdn.example.com/users/000/000/00${user.id}/thumb/${fancy.version}/${name}?v=${seconds}&id=${user.id}&n=${name}`,
  )
})

it('needs no query for url(), and none of the loading but for the row itself', async () => {
  const here = await start()
  await save(here, 'fancy', 'a.jpg')
  await here.run()
  const { fancy, plain } = await load(here)
  const queried = vi.spyOn(here.dataSource, 'createQueryRunner')
  expect(fancy.url('thumb')).toContain('https://cdn.example.com/')
  expect(plain.url('thumb')).toBeNull()
  expect(queried).not.toHaveBeenCalled()
})

it('shows URLs and facts as JSON, and no keys', async () => {
  const here = await start()
  await save(here, 'fancy', 'a.jpg')
  await here.run()
  const user = await load(here)
  const json = JSON.parse(JSON.stringify(user))
  expect(json.fancy).toEqual({
    present: true,
    processing: false,
    failed: false,
    fileName: 'a.jpg',
    contentType: 'image/jpeg',
    fileSize: user.fancy.fileSize,
    updatedAt: user.fancy.updatedAt?.toISOString(),
    width: 400,
    height: 300,
    url: user.fancy.url(),
    styles: { thumb: user.fancy.url('thumb') },
  })
  expect(json.plain).toMatchObject({ present: false, url: null, styles: { thumb: null } })
})

it('reads what a partial select left in', async () => {
  const here = await start()
  await save(here, 'fancy', 'a.jpg')
  await here.run()
  const users = here.dataSource.getRepository(User)
  const none = await users.findOneOrFail({ where: {}, select: { id: true } })
  expect(none.fancy).toBeUndefined()
  none.name = 'changed'
  await users.save(none)
  const some = await users.findOneOrFail({ where: {}, select: { id: true, fancy: { fileName: true, fileSize: true } } })
  expect(some.fancy).toMatchObject({ present: true, fileName: 'a.jpg', fileSize: expect.any(Number) })
  expect(some.fancy.url('thumb')).toBe('/default/thumb/true')
  expect(JSON.stringify(some)).toContain('a.jpg')
  some.name = 'again'
  await users.save(some)
  expect((await load(here)).fancy).toMatchObject({ fileName: 'a.jpg', processing: false, width: 400 })
})

it('streams what is stored, and what still waits', async () => {
  const here = await start()
  await save(here, 'plain', 'a.jpg')
  const waiting = (await load(here)).plain
  const read = async (style: 'original' | 'thumb', value: typeof waiting) => buffer(await value.stream(style))
  const original = await read('original', waiting)
  expect(original.length).toBe(waiting.fileSize)
  await expect(waiting.stream('thumb')).rejects.toMatchObject({ code: 'not_ready' })
  await here.run()
  const done = (await load(here)).plain
  expect(await read('original', done)).toEqual(original)
  expect((await read('thumb', done)).length).toBe(done.meta?.styles['thumb']?.size)
  await expect(done.signedUrl('thumb')).rejects.toMatchObject({ code: 'no_signed_urls' })
})
