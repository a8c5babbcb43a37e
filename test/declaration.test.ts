import 'reflect-metadata'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment, type AttachmentOptions, DeclarationError, memoryStorage } from '../src'
import { jpeg } from './support/pictures'
import { database, world } from './support/world'

function declare(options: unknown): void {
  class User {
    avatar!: Attached<string>
  }
  Attachment(options as AttachmentOptions<string>)(User.prototype, 'avatar')
}

describe('what is wrong with a declaration is said when the class is declared', () => {
  const accept = ['image/jpeg']
  it.each([
    ['bad geometry', { accept, styles: { thumb: '100x100px' } }, 'bad_style', /User\.avatar.*'thumb'.*'100x100px'.*'800x600'/s],
    ['a style of nonsense', { accept, styles: { thumb: 7 } }, 'bad_style', /'thumb'/],
    ['an unknown option of a style', { accept, styles: { thumb: { size: '1x1' } } }, 'bad_style', /'size'.*geometry/],
    ['a format nobody writes', { accept, styles: { thumb: { format: 'bmp' } } }, 'bad_style', /'bmp'.*webp/],
    ['quality out of range', { accept, styles: { thumb: { quality: 101 } } }, 'bad_style', /101.*1 to 100/],
    ['a style called original', { accept, styles: { original: '10x10' } }, 'bad_style', /'original'.*another name/],
    [
      'an unknown token in path',
      { accept, path: ':class/:nope/:style' },
      'bad_template',
      /User\.avatar.*':class\/:nope\/:style'.*':nope'.*:filename/s,
    ],
    ['an unknown token in url', { accept, url: 'https://x/:nope' }, 'bad_template', /url.*:nope/],
    ['an unknown token in defaultUrl', { accept, defaultUrl: '/:nope.png' }, 'bad_template', /defaultUrl.*:nope/],
    ['an id in defaultUrl', { accept, defaultUrl: '/:id/missing.png' }, 'bad_template', /:id.*leave it out/],
    ['a path without :style', { accept, styles: { thumb: '1x1' }, path: ':class/:id/:filename' }, 'bad_template', /:style/],
    [':hash without a secret', { accept, path: ':hash/:style' }, 'secret_missing', /secret/],
    ['an unknown option', { accept, style: {} }, 'unknown_option', /'style'.*styles/],
    ['no accept', {}, 'accept_missing', /User\.avatar.*accept: 'any'/],
    ['an empty accept', { accept: [] }, 'accept_missing', /\[\]/],
    ['an accept that is no content type', { accept: ['jpg'] }, 'bad_accept', /'jpg'/],
    ['a size that cannot be read', { accept, maxSize: '10 potatoes' }, 'bad_max_size', /10 potatoes.*10 MB/],
    ['a column that does not exist', { accept, columns: { name: 'x' } }, 'unknown_column', /'name'.*fileName/],
    ['a style that waits and does not exist', { accept, processInBackground: { only: ['big'] } }, 'unknown_style', /'big'/],
    ['a queue of a strange name', { accept, processInBackground: { queue: 'a b' } }, 'bad_option', /queue.*letters.*"a b"/],
    ['a priority below 0', { accept, processInBackground: { priority: -1 } }, 'bad_option', /priority.*from 0 to 2097152, not -1/],
    ['a delay of more than a day', { accept, processInBackground: { delay: 1e9 } }, 'bad_option', /delay.*a day.*not 1000000000/],
    ['a misspelt option of the background', { accept, processInBackground: { que: 'a' } }, 'bad_option', /'que'.*only, queue, priority, delay/],
    ['a background that is none', { accept, processInBackground: 'later' }, 'bad_option', /true, false or an object/],
    ['no options', undefined, 'options_missing', /accept/],
  ])('%s', (_what, options, code, message) => {
    expect(() => declare(options)).toThrow(DeclarationError)
    expect(() => declare(options)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
  })
})

abstract class Photographed {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })
  photo!: Attached<'thumb'>
}

@Entity()
class Person extends Photographed {
  @Attachment({ accept: ['image/*'], columns: { processing: 'processing_upload', fileName: 'upload_file_name' } })
  upload!: Attached
}

@Entity()
class Place extends Photographed {
  @Attachment({ styles: { thumb: '10x10#', wide: '300x100#' }, accept: ['image/*'] })
  declare photo: Attached<'thumb' | 'wide'>
}

it('inherits attachments from a parent class, lets subclasses override them, and keeps two on one entity apart', async () => {
  const { dataSource, attachments, storage } = await world([Person, Place])
  const person = dataSource.getRepository(Person).create()
  const place = dataSource.getRepository(Place).create()
  await attachments.attach(person, 'photo', await jpeg())
  await attachments.attach(person, 'upload', await jpeg(50, 60), { fileName: 'u.jpg' })
  await attachments.attach(place, 'photo', await jpeg())
  await dataSource.manager.save([person, place])
  await attachments.idle()

  const people = await dataSource.getRepository(Person).find()
  const places = await dataSource.getRepository(Place).find()
  expect(people[0]?.photo).toMatchObject({ processing: false, width: 400 })
  expect(people[0]?.upload).toMatchObject({ processing: false, width: 50, fileName: 'u.jpg' })
  expect(Object.keys(people[0]?.photo.meta?.styles ?? {})).toEqual(['original', 'thumb'])
  expect(Object.keys(places[0]?.photo.meta?.styles ?? {})).toEqual(['original', 'thumb', 'wide'])
  expect(places[0]?.photo.meta?.styles['thumb']).toMatchObject({ width: 10, height: 10, written: true })
  expect(storage.objects.size).toBe(2 + 1 + 3)
  expect(places[0]?.photo.url('wide')).toContain('/places/photos/')
})

@Entity()
class Document {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text')
  title!: string

  @Attachment({ accept: 'any', columns: { processing: 'processing_upload' } })
  scan!: Attached
}

it('adds real columns and indexes, which migrations see', async () => {
  const dataSource = await database([Document], { synchronize: false })
  const { upQueries } = await dataSource.driver.createSchemaBuilder().log()
  const sql = upQueries.map(({ query }) => query).join('\n')
  for (const column of [
    'scan_file_name',
    'scan_content_type',
    'scan_file_size',
    'scan_updated_at',
    'scan_fingerprint',
    'scan_version',
    'scan_attempted_at',
    'scan_error',
    'scan_meta',
  ]) {
    expect(sql).toContain(`"${column}"`)
  }
  expect(sql).toMatch(/"processing_upload" boolean NOT NULL DEFAULT false/)
  expect(sql).toMatch(/CREATE INDEX \S+ ON "document"\s+\("processing_upload", "scan_attempted_at"\)/)
  expect(sql).toMatch(/CREATE UNIQUE INDEX \S+ ON "document"\s+\("scan_version"\)/)
  await dataSource.synchronize()
  const again = await dataSource.driver.createSchemaBuilder().log()
  expect(again.upQueries).toEqual([])
})

it('makes the columns queryable', async () => {
  const { dataSource, attachments } = await world([Document])
  const repository = dataSource.getRepository(Document)
  const document = repository.create({ title: 'a' })
  await attachments.attach(document, 'scan', Buffer.from('hello'), { fileName: 'hello.txt' })
  await repository.save([document, repository.create({ title: 'b' })])
  await attachments.idle()
  expect(await repository.findBy({ scan: { processing: false, fileName: 'hello.txt' } })).toHaveLength(1)
  expect(await repository.findBy({ scan: { updatedAt: document.scan.updatedAt as Date } })).toHaveLength(1)
})

it('asks a function of the entity for its styles when a file is attached', async () => {
  @Entity()
  class Poster {
    @PrimaryGeneratedColumn()
    id!: number

    @Column('int')
    width!: number

    @Attachment({ styles: (poster: Poster) => ({ print: `${poster.width}x` }), accept: ['image/*'] })
    picture!: Attached<'print'>
  }
  const { dataSource, attachments } = await world([Poster])
  const poster = dataSource.getRepository(Poster).create({ width: 123 })
  await attachments.attach(poster, 'picture', await jpeg())
  poster.width = 7
  await dataSource.manager.save(poster)
  await attachments.idle()
  const saved = await dataSource.getRepository(Poster).findOneByOrFail({ id: poster.id })
  expect(saved.picture.meta?.styles['print']).toMatchObject({ width: 123, written: true })
})

it('says at connect() which storage an attachment names and nobody configured', async () => {
  @Entity()
  class Invoice {
    @PrimaryGeneratedColumn()
    id!: number

    @Attachment({ accept: 'any', storage: 'papers' })
    pdf!: Attached
  }
  await expect(world([Invoice], { storage: { photos: memoryStorage() } })).rejects.toMatchObject({
    code: 'unknown_storage',
    message: expect.stringContaining('photos'),
  })
})
