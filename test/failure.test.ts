import 'reflect-metadata'
import { buffer } from 'node:stream/consumers'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  type Attached,
  Attachment,
  type AttachmentsOptions,
  inProcessBackground,
  memoryStorage,
  ProcessingError,
  type Storage,
  StorageError,
  TryLater,
} from '../src'
import { scribe, watched } from './support/doubles'
import { jpeg } from './support/pictures'
import { filesIn, heldBackground, world } from './support/world'

const pen = scribe()

@Entity()
class Report {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1', b: '2x2', c: '3x3' }, accept: 'any', processors: [pen], defaultUrl: '/missing.png' })
  scan!: Attached<'a' | 'b' | 'c'> | null

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  photo!: Attached<'thumb'>
}

const names = ['a', 'b', 'c'] as const
const down = () => new StorageError('down', 'the storage is down')
const impossible = () => new ProcessingError('impossible', 'it cannot be made')

async function start(options: Partial<AttachmentsOptions> = {}) {
  const storage = watched()
  const background = heldBackground()
  const here = await world([Report], { storage, background, ...options })
  const reports = here.dataSource.getRepository(Report)
  const report = new Report()
  return {
    ...here,
    storage,
    background,
    reports,
    report,
    fresh: () => reports.findOneByOrFail({ id: report.id }),
    async save(property: 'scan' | 'photo', bytes: Buffer) {
      await here.attachments.attach(report, property, bytes, { fileName: 'one.txt' })
      await reports.save(report)
    },
    /** The file as its row says after one attempt of its job, which is held back again. */
    async attempt() {
      const jobs = [...background.jobs]
      const outcome = await background.run().catch((error) => error)
      background.jobs.unshift(...jobs)
      const { scan } = await reports.findOneByOrFail({ id: report.id })
      return { outcome, scan: scan as Attached<'a' | 'b' | 'c'> }
    },
  }
}

beforeEach(() => pen.reset())

describe('a job that fails', () => {
  const inProcess = (attempts: number) => ({ background: inProcessBackground(), retry: { attempts, backoff: () => 1 } })

  it('is tried again, and ends well when the cause goes away', async () => {
    const { storage, staging, attachments, save, fresh } = await start(inProcess(5))
    let failures = 0
    storage.beforeWrite = () => {
      if (failures++ < 2) throw down()
    }
    await save('photo', await jpeg())
    await attachments.idle()
    expect((await fresh()).photo).toMatchObject({ processing: false, error: null })
    expect(storage.objects.size).toBe(2)
    expect(await filesIn(staging)).toEqual([])
  })

  it('ends as failed: visible on the row, the original kept and readable', async () => {
    const { storage, attachments, save, fresh } = await start(inProcess(3))
    storage.beforeWrite = () => {
      throw down()
    }
    await save('scan', Buffer.from('text'))
    await attachments.idle()
    const { scan } = await fresh()
    expect(scan?.processing).toBe(false)
    expect(scan?.error).toEqual({ code: 'down', message: 'the storage is down', attempts: 3, at: expect.any(String) })
    expect([scan?.url('a'), scan?.url()]).toEqual(['/missing.png', '/missing.png'])
    expect(await buffer((await scan?.stream('original')) as never)).toEqual(Buffer.from('text'))
  })

  it('for a reason that no retry can mend fails at once', async () => {
    const bytes = Buffer.from(await jpeg(300, 200))
    // damage inside the picture's data: it begins and ends well
    const middle = Math.floor(bytes.length / 2)
    bytes.fill(0xaa, middle, middle + 600)
    const { attachments, save, fresh } = await start(inProcess(2))
    await save('photo', bytes)
    await attachments.idle()
    expect((await fresh()).photo.error).toMatchObject({ code: 'corrupt_image', attempts: 1 })
  })

  it('when the storage loses what it took is noticed before anything local goes', async () => {
    const inner = memoryStorage()
    const forgetful: Storage = { ...inner, stat: async (key) => (key.includes('/a/') ? { size: 1 } : inner.stat(key)) }
    const { staging, attachments, save, fresh } = await start({ ...inProcess(2), storage: forgetful })
    await save('scan', Buffer.from('text'))
    await attachments.idle()
    expect((await fresh()).scan?.error).toMatchObject({ code: 'not_verified' })
    expect(await filesIn(staging)).not.toEqual([])
  })

  it('as often as it may be tried says why, and not that it killed its workers', async () => {
    const { storage, attachments, save, fresh } = await start(inProcess(25))
    storage.beforeWrite = () => {
      throw down()
    }
    await save('scan', Buffer.from('text'))
    await attachments.idle()
    expect((await fresh()).scan?.error).toMatchObject({ code: 'down', attempts: 25 })
  })
})

describe('a job of which a part fails', () => {
  it('shows at once what was written, and neither makes nor writes it again', async () => {
    const { storage, staging, save, attempt } = await start()
    storage.beforeWrite = (key) => {
      if (key.includes('/b/')) throw down()
    }
    await save('scan', Buffer.from('text'))

    const first = await attempt()
    expect(first.outcome).toBeInstanceOf(TryLater)
    expect(first.scan).toMatchObject({ processing: true, error: null })
    for (const style of ['original', 'a', 'c'] as const) expect(first.scan.url(style)).toBe(`https://files.test/${first.scan.path(style)}`)
    expect(first.scan.url('b')).toBe('/missing.png')
    expect(pen.made).toEqual(['a', 'b', 'c'])
    expect(storage.written).toHaveLength(4)

    storage.beforeWrite = () => undefined
    const second = await attempt()
    expect(second.scan).toMatchObject({ processing: false, error: null })
    for (const style of ['original', ...names] as const) expect(second.scan.url(style)).toBe(`https://files.test/${first.scan.path(style)}`)
    expect(pen.made).toEqual(['a', 'b', 'c', 'b'])
    expect(storage.written.slice(4)).toEqual([first.scan.path('b')])
    expect(await filesIn(staging)).toEqual([])
  })

  it('does not lose the styles when the original cannot be written', async () => {
    const { storage, save, attempt } = await start()
    storage.beforeWrite = (key) => {
      if (key.includes('/original/')) throw down()
    }
    await save('scan', Buffer.from('text'))
    const { scan } = await attempt()
    expect(names.map((style) => scan.url(style))).toEqual(names.map((style) => `https://files.test/${scan.path(style)}`))
    expect(await buffer(await scan.stream('original'))).toEqual(Buffer.from('text'))
    storage.beforeWrite = () => undefined
    expect((await attempt()).scan).toMatchObject({ processing: false, error: null })
    expect(pen.made).toEqual(names)
  })

  it.each(names)('for good, because %s can never be made, fails at once, and the others stay shown', async (broken) => {
    const { save, attempt, storage } = await start()
    pen.before = (style) => {
      if (style === broken) throw impossible()
    }
    await save('scan', Buffer.from('text'))
    const { outcome, scan } = await attempt()
    expect(outcome).toBeUndefined()
    expect(scan).toMatchObject({ processing: false, error: { code: 'impossible', attempts: 1 } })
    const others = names.filter((style) => style !== broken)
    expect([...pen.made].sort()).toEqual(others)
    for (const style of ['original', ...others] as const) expect(scan.url(style)).toBe(`https://files.test/${scan.path(style)}`)
    expect(scan.url(broken)).toBe('/missing.png')
    expect(storage.written).toHaveLength(3)
  })
})

describe('a failed file', () => {
  const ways = ['nothing was written', 'all but one style was written'] as const

  describe.each(ways)('of which %s', (way) => {
    async function failed() {
      const everything = await start()
      const { storage, save, attempt, background } = everything
      if (way === 'nothing was written') storage.beforeWrite = () => Promise.reject(new ProcessingError('refused', 'the storage takes none of it'))
      pen.before = (style) => {
        if (style === 'b') throw impossible()
      }
      await save('scan', Buffer.from('text'))
      expect((await attempt()).scan.error).not.toBeNull()
      const twin = background.jobs.splice(0)
      pen.reset()
      storage.beforeWrite = () => undefined
      return { ...everything, twin }
    }

    it('is left as it is by a twin of its job, and can be tried again then', async () => {
      const { attachments, storage, staging, background, report, fresh, twin } = await failed()
      const before = [await fresh(), await filesIn(staging), [...storage.objects.keys()]]
      background.jobs.push(...twin)
      await background.run()
      expect([await fresh(), await filesIn(staging), [...storage.objects.keys()]]).toEqual(before)
      expect(await attachments.retry(report, 'scan')).toBe(true)
      await background.run()
      expect((await fresh()).scan).toMatchObject({ processing: false, error: null })
      expect(storage.objects.size).toBe(4)
    })

    it('can be replaced', async () => {
      const { storage, staging, background, save, fresh } = await failed()
      await save('scan', Buffer.from('another'))
      await background.run()
      const { scan } = await fresh()
      expect(scan).toMatchObject({ processing: false, error: null, fileSize: 7 })
      expect([...storage.objects.keys()].sort()).toEqual((['original', ...names] as const).map((style) => scan?.path(style)).sort())
      expect(await filesIn(staging)).toEqual([])
    })

    it.each([
      [
        'detached',
        async ({ attachments, reports, report }: Awaited<ReturnType<typeof start>>) => {
          await attachments.detach(report, 'scan')
          await reports.save(report)
        },
      ],
      ['removed', async ({ reports, report }: Awaited<ReturnType<typeof start>>) => reports.remove(report)],
    ])('can be %s, which leaves nothing', async (_how, end) => {
      const everything = await failed()
      await end(everything)
      await everything.background.run()
      expect(everything.storage.objects.size).toBe(0)
      expect(await filesIn(everything.staging)).toEqual([])
    })
  })
})
