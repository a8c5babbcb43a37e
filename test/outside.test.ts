import 'reflect-metadata'
import { buffer } from 'node:stream/consumers'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, inject, it } from 'vitest'
import { type Attached, Attachment, diskStorage, type HandedOn, imageProcessor, outsideProcessor, type Storage } from '../src'
import { s3Storage } from '../src/storage/s3'
import { jpeg, png } from './support/pictures'
import { send } from './support/uploading'
import { folder, heldBackground, newBucket, world } from './support/world'

const server = inject('s3')
const text = Buffer.from('first,second\n1,2\n')

/** What the service was told. */
let told: HandedOn[] = []
let deaf: Error | undefined
/** Whether it takes pictures, too. */
let open = false

const converter = outsideProcessor({
  reads: (contentType) => contentType === 'text/csv' || (open && contentType === 'image/jpeg'),
  format: 'png',
  hand: async (handed) => {
    if (deaf) throw deaf
    told.push(handed)
  },
})

@Entity()
class Paper {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({
    styles: { preview: '300x300>', thumb: { geometry: '50x50#', format: 'jpg' } },
    accept: ['text/csv', 'image/*'],
    processors: [converter, imageProcessor()],
  })
  file!: Attached<'preview' | 'thumb'>
}

beforeEach(() => {
  told = []
  deaf = undefined
  open = false
})

describe.skipIf(!server.faithful)('styles that a service outside makes', () => {
  async function setUp() {
    const { client, bucket, keys } = await newBucket()
    const background = heldBackground()
    const staging = s3Storage({ client, bucket, prefix: 'staging/', publicUrl: null })
    const files = s3Storage({ client, bucket, prefix: 'files/', publicUrl: null })
    const full = { is: false }
    const storage: Storage = {
      ...files,
      copy: undefined,
      async write(...given) {
        if (full.is) throw new Error('no room')
        return files.write(...given)
      },
    }
    const { dataSource, attachments } = await world([Paper], { staging, storage, background })
    const paper = new Paper()
    const load = () => dataSource.manager.findOneByOrFail(Paper, { id: paper.id })
    async function save(bytes: Uint8Array = text, fileName = 'numbers.csv') {
      await attachments.attach(paper, 'file', bytes, { fileName })
      await dataSource.manager.save(paper)
      await background.run()
    }
    /** The event that follows when a style is put where it belongs. */
    async function arrived(style: string) {
      const { styles = {}, next } = (await load()).file.meta ?? {}
      const key = `staging/${(next?.[style] ?? styles[style])?.staged}`
      return attachments.handleObjectCreated({ Records: [{ eventName: 'ObjectCreated:Put', s3: { bucket: { name: bucket }, object: { key } } }] })
    }
    async function late() {
      const { file } = await load()
      const meta = JSON.stringify(file.meta).replace(/"awaited":"[^"]*"/g, '"awaited":"2020-01-01T00:00:00.000Z"')
      await dataSource.query("UPDATE paper SET file_meta = $1, file_attempted_at = now() - interval '1 day'", [meta])
    }
    const of = (style: string) => told.findLast((handed) => handed.style.name === style) as HandedOn
    /** The service brings a style, and the job takes it. */
    async function bring(style: string, bytes: Uint8Array) {
      expect(await send(of(style).result, bytes)).toBeLessThan(300)
      await arrived(style)
      await background.run()
    }
    return { attachments, background, load, save, arrived, bring, late, of, keys, full, dataSource }
  }

  it('come when it has put them where it was told to, one by one', async () => {
    const { background, load, save, arrived, of, keys } = await setUp()
    await save()
    expect(told.map(({ style, contentType }) => [style.name, contentType])).toEqual([
      ['preview', 'text/csv'],
      ['thumb', 'text/csv'],
    ])
    expect(Buffer.from(await (await fetch(of('preview').source)).arrayBuffer())).toEqual(text)
    const waiting = await load()
    expect(waiting.file).toMatchObject({ processing: true, error: null })
    expect([waiting.file.url('preview'), await waiting.file.signedUrl('original')]).toEqual([null, expect.stringContaining('/files/')])
    expect(await send(of('preview').result, await png(120, 80))).toBeLessThan(300)
    expect(await arrived('preview')).toBe(1)
    await background.run()
    expect((await load()).file.meta?.styles).toMatchObject({ preview: { written: true, width: 120, height: 80 }, thumb: { written: false } })
    await send(of('thumb').result, await jpeg(50, 50))
    await arrived('thumb')
    await background.run()
    const { file } = await load()
    expect(file).toMatchObject({ processing: false, error: null })
    expect(await buffer(await file.stream('thumb'))).toEqual(Buffer.from(await jpeg(50, 50)))
    expect(told).toHaveLength(2)
    expect((await keys()).filter((key) => key.startsWith('staging/Paper'))).toEqual([])
  })

  it('of a file that no service reads are made here', async () => {
    const { load, save } = await setUp()
    await save(await jpeg(200, 100), 'a.jpg')
    expect(told).toEqual([])
    expect((await load()).file).toMatchObject({ processing: false, error: null })
  })

  it('are asked for again where the service could not be told', async () => {
    const { attachments, background, load, save } = await setUp()
    deaf = new Error('nobody is there')
    await save().catch(() => undefined)
    expect((await load()).file).toMatchObject({ processing: true })
    deaf = undefined
    await attachments.requeueLost({ olderThan: -60_000 })
    await background.run()
    expect(told).toHaveLength(2)
  })

  it('fail when the service is late, and are handed on once more by retry()', async () => {
    const { attachments, background, load, save, arrived, late, of, keys } = await setUp()
    await save()
    await late()
    expect(await attachments.requeueLost()).toBe(1)
    await background.run()
    const failed = await load()
    expect(failed.file).toMatchObject({ processing: false, error: { code: 'not_delivered' } })
    expect(await arrived('preview')).toBe(0)
    told = []
    expect(await attachments.retry(failed, 'file')).toBe(true)
    await background.run()
    expect(told).toHaveLength(2)
    await send(of('preview').result, await png(120, 80))
    await send(of('thumb').result, await jpeg(50, 50))
    await arrived('thumb')
    await background.run()
    expect((await load()).file).toMatchObject({ processing: false, error: null })
    expect((await keys()).filter((key) => key.startsWith('staging/Paper'))).toEqual([])
  })

  it('that have come by the deadline, without an event, are not handed on again', async () => {
    const { attachments, background, load, save, bring, late, of } = await setUp()
    await save()
    await send(of('preview').result, await png(120, 80))
    await late()
    await attachments.requeueLost()
    await background.run()
    const failed = await load()
    expect(failed.file.error).toMatchObject({ code: 'not_delivered', message: expect.stringContaining("'thumb'") })
    told = []
    await attachments.retry(failed, 'file')
    await background.run()
    expect(told.map(({ style }) => style.name)).toEqual(['thumb'])
    await bring('thumb', await jpeg(50, 50))
    expect((await load()).file).toMatchObject({ processing: false, error: null })
  })

  it('that come a second time, before the first could be stored, are taken by retry()', async () => {
    const { attachments, background, load, save, bring, of, full } = await setUp()
    await save()
    await bring('thumb', await jpeg(50, 50))
    full.is = true
    await expect(bring('preview', await png(120, 80))).rejects.toThrow('no room')
    full.is = false
    await send(of('preview').result, await png(60, 40))
    await attachments.requeueLost({ olderThan: -60_000 })
    await background.run()
    const failed = await load()
    expect(failed.file.error).toMatchObject({ code: 'object_changed' })
    await attachments.retry(failed, 'file')
    await background.run()
    const { file } = await load()
    expect(file).toMatchObject({ processing: false, error: null })
    expect(await buffer(await file.stream('preview'))).toEqual(Buffer.from(await png(60, 40)))
  })

  it('are made here once the service is given up', async () => {
    const { attachments, background, load, save, late } = await setUp()
    open = true
    await save(await jpeg(200, 100), 'a.jpg')
    await late()
    await attachments.requeueLost()
    await background.run()
    const failed = await load()
    expect(failed.file.error).toMatchObject({ code: 'not_delivered' })
    open = false
    await attachments.retry(failed, 'file')
    await background.run()
    const { file } = await load()
    expect(file).toMatchObject({ processing: false, error: null })
    expect((await buffer(await file.stream('thumb'))).length).toBeGreaterThan(100)
  })

  it('are made anew by reprocess(), and those before are shown until all have come', async () => {
    const { attachments, background, load, save, bring, keys } = await setUp()
    await save()
    await bring('preview', await png(120, 80))
    await bring('thumb', await jpeg(50, 50))
    const before = await load()
    expect(await attachments.reprocess(before, 'file')).toBe(true)
    await background.run()
    expect(told).toHaveLength(4)
    await bring('preview', await png(60, 40))
    const waiting = await load()
    expect(waiting.file).toMatchObject({ processing: true, error: null })
    expect(await buffer(await waiting.file.stream('preview'))).toEqual(Buffer.from(await png(120, 80)))
    await bring('thumb', await jpeg(50, 40))
    const { file } = await load()
    expect(file).toMatchObject({ processing: false, error: null })
    expect(await buffer(await file.stream('preview'))).toEqual(Buffer.from(await png(60, 40)))
    expect(await buffer(await file.stream('thumb'))).toEqual(Buffer.from(await jpeg(50, 40)))
    expect((await keys()).filter((key) => !key.startsWith('staging/.'))).toHaveLength(3)
  })

  it('that were not made anew in time are handed on with what is asked for next', async () => {
    const { attachments, background, load, save, bring, late } = await setUp()
    await save()
    await bring('preview', await png(120, 80))
    await bring('thumb', await jpeg(50, 50))
    await attachments.reprocess(await load(), 'file', ['preview'])
    await background.run()
    await late()
    await attachments.requeueLost()
    await background.run()
    const failed = await load()
    expect(failed.file).toMatchObject({ processing: false, error: { code: 'not_delivered' } })
    expect(await buffer(await failed.file.stream('preview'))).toEqual(Buffer.from(await png(120, 80)))
    await attachments.reprocess(failed, 'file', ['thumb'])
    await background.run()
    await bring('preview', await png(60, 40))
    await bring('thumb', await jpeg(50, 40))
    const { file } = await load()
    expect(file).toMatchObject({ processing: false, error: null })
    expect(await buffer(await file.stream('preview'))).toEqual(Buffer.from(await png(60, 40)))
  })

  it.each([
    ['another form than was asked for', async () => jpeg(50, 50)],
    ['a page', async () => Buffer.from('<!doctype html><script>alert(1)</script>')],
    ['nothing', async () => Buffer.alloc(0)],
  ])('fail when %s comes, and are handed on once more by retry()', async (_, bytes) => {
    const { attachments, background, load, save, bring } = await setUp()
    await save()
    await bring('preview', await bytes())
    const failed = await load()
    expect(failed.file).toMatchObject({ processing: false, error: { code: 'result_mismatch' } })
    await attachments.retry(failed, 'file')
    await background.run()
    await bring('thumb', await jpeg(50, 50))
    expect((await load()).file).toMatchObject({ processing: true, error: null })
    await bring('preview', await png(120, 80))
    expect((await load()).file).toMatchObject({ processing: false, error: null })
  })

  it('of a file that was replaced come too late to do anything', async () => {
    const { background, load, save, arrived, of, dataSource } = await setUp()
    await save()
    const { result } = of('preview')
    const before = await load()
    await save(await jpeg(200, 100), 'a.jpg')
    await send(result, await png(120, 80))
    expect(await arrived('preview')).toBe(0)
    await background.run()
    expect((await load()).file).toMatchObject({ processing: false, error: null, contentType: 'image/jpeg' })
    expect((await load()).file.version).not.toBe(before.file.version)
    await dataSource.manager.remove(await load())
  })
})

describe('a staging that no service can see', () => {
  it('is said to be one', async () => {
    const background = heldBackground()
    const { attachments, dataSource } = await world([Paper], { staging: diskStorage({ root: await folder() }), background })
    const paper = new Paper()
    await attachments.attach(paper, 'file', text, { fileName: 'a.csv' })
    await dataSource.manager.save(paper)
    await background.run()
    expect((await dataSource.manager.findOneByOrFail(Paper, { id: paper.id })).file.error).toMatchObject({ code: 'not_signed' })
  })
})
