import 'reflect-metadata'
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Attached, Attachment, Attachments, diskStorage, inlineBackground, ProcessingError } from '../src'
import { door, pdf, scribe, watched } from './support/doubles'
import { filesIn, heldBackground, world } from './support/world'

const pen = scribe()

@Entity()
class Poster {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  title!: string

  @Attachment({
    styles: { a: '1x1', b: '2x2' },
    accept: 'any',
    processors: [pen],
    path: ':version/:style/:filename',
    url: 'https://cdn.test/:version/:style/:filename',
    processingUrl: '/wait.png',
  })
  picture!: Attached<'a' | 'b'>
}

type Value = Poster['picture']
const styles = ['original', 'a', 'b'] as const
const urls = (value: Value) => styles.map((style) => value.url(style))
const keys = (value: Value) => styles.map((style) => value.path(style) as string)
/** Where the template leads when it is right: the path has the same parts. */
const placesOf = (value: Value) => keys(value).map((key) => `https://cdn.test/${key}`)

async function start(bytes = Buffer.from('text'), fileName = 'one.txt') {
  const storage = watched()
  const background = heldBackground()
  const here = await world([Poster], { storage, background, retry: { attempts: 1 } })
  const posters = here.dataSource.getRepository(Poster)
  const poster = new Poster()
  await here.attachments.attach(poster, 'picture', bytes, { fileName })
  await posters.save(poster)
  const first = [...background.jobs]
  await background.run()
  const fresh = async () => (await posters.findOneByOrFail({ id: poster.id })).picture
  const before = await fresh()
  Object.assign(poster.picture, before)
  pen.made.length = 0
  storage.written.length = 0
  return { ...here, storage, background, posters, poster, first, fresh, before, held: () => [...storage.objects.keys()].sort() }
}

beforeEach(() => pen.reset())

describe('reprocess()', () => {
  it('makes the styles anew, shows the old ones until all are there, and deletes those then', async () => {
    const { attachments, poster, background, storage, staging, fresh, before, held } = await start()
    expect(await attachments.reprocess(poster, 'picture')).toBe(true)
    for (const value of [poster.picture, await fresh()]) {
      expect(value).toMatchObject({ processing: true, error: null })
      expect(urls(value)).toEqual(urls(before))
    }
    expect(background.jobs).toMatchObject([{ kind: 'process', version: poster.picture.version, keys: [expect.any(String), expect.any(String)] }])

    const seen: Array<readonly [string, unknown]> = []
    storage.beforeWrite = async () => seen.push(['write', urls(await fresh())])
    storage.beforeDelete = async (keys) => seen.push([`delete ${keys.length}`, urls(await fresh())])
    await background.run()
    const after = await fresh()
    expect(seen).toEqual([
      ['write', urls(before)],
      ['write', urls(before)],
      ['delete 2', urls(after)],
    ])
    expect(after).toMatchObject({ processing: false, error: null, attemptedAt: null })
    expect(urls(after)).toEqual(placesOf(after))
    expect(new Set([...keys(before), ...keys(after)]).size).toBe(5)
    expect(held()).toEqual(keys(after).sort())
    expect(await filesIn(staging)).toEqual([])
  })

  it('leaves the original where it is, and what says when it was attached', async () => {
    const { attachments, poster, background, storage, fresh, before } = await start()
    const object = storage.objects.get(before.path() as string)
    await attachments.reprocess(poster, 'picture')
    await background.run()
    const after = await fresh()
    expect(after.path()).toBe(before.path())
    expect(storage.objects.get(after.path() as string)).toBe(object)
    expect(storage.written.sort()).toEqual([after.path('a'), after.path('b')].sort())
    const { fileName, contentType, fileSize, updatedAt, fingerprint } = before
    expect(after).toMatchObject({ fileName, contentType, fileSize, updatedAt, fingerprint })
  })

  it('of named styles touches no other', async () => {
    const { attachments, poster, background, storage, fresh, before, held } = await start()
    const object = storage.objects.get(before.path('b') as string)
    await attachments.reprocess(poster, 'picture', ['a'])
    await background.run()
    const after = await fresh()
    expect(pen.made).toEqual(['a'])
    expect(storage.written).toEqual([after.path('a')])
    expect(after.path('a')).not.toBe(before.path('a'))
    expect(after.path('b')).toBe(before.path('b'))
    expect(storage.objects.get(after.path('b') as string)).toBe(object)
    expect(held()).toEqual(keys(after).sort())
  })

  it('again and again leads every style to where it is, by a template with :version', async () => {
    const { attachments, poster, background, fresh, before, held } = await start()
    for (const names of [['a'], ['b'], ['a', 'b'], ['a']] as const) {
      await attachments.reprocess(poster, 'picture', names)
      await background.run()
      const after = await fresh()
      expect(urls(after)).toEqual(placesOf(after))
      expect(held()).toEqual(keys(after).sort())
      expect(after.path()).toBe(before.path())
    }
  })

  it('adds a style that was declared since, and says that it is on its way', async () => {
    const { dataSource, staging, storage, poster, before, held, attachments: earlier } = await start()
    const next = (() => {
      @Entity()
      class Poster {
        @PrimaryGeneratedColumn()
        id!: number

        @Attachment({ styles: { a: '1x1', b: '2x2', c: '3x3' }, accept: 'any', processors: [pen], processingUrl: '/wait.png' })
        picture!: Attached<'a' | 'b' | 'c'>
      }
      return Poster
    })()
    const later = await new DataSource({ ...dataSource.options, entities: [next], synchronize: false }).initialize()
    const background = heldBackground()
    const attachments = new Attachments({ staging: diskStorage({ root: staging }), storage, background })
    await attachments.connect(later)
    const read = () => later.getRepository(next).findOneByOrFail({ id: poster.id })
    const entity = await read()
    expect(entity.picture.url('c')).toBeNull()
    expect(await attachments.reprocess(entity, 'picture', ['c'])).toBe(true)
    expect((await read()).picture.url('c')).toBe('/wait.png')
    await background.run()
    const { picture } = await read()
    expect(pen.made).toEqual(['c'])
    expect(picture.url('c')).toBe(`https://files.test/${picture.path('c')}`)
    expect(held()).toEqual([...keys(before), picture.path('c')].sort())
    await attachments.close()
    await later.destroy()
    await earlier.close()
  })

  it('shows the entity how it ended, where that is done on the spot', async () => {
    const here = await world([Poster], { background: inlineBackground() })
    const poster = new Poster()
    await here.attachments.attach(poster, 'picture', Buffer.from('text'))
    await here.dataSource.manager.save(poster)
    const old = poster.picture.path('a')
    expect(await here.attachments.reprocess(poster, 'picture')).toBe(true)
    expect(poster.picture).toMatchObject({ processing: false, error: null })
    expect(poster.picture.path('a')).not.toBe(old)
  })
})

describe('reprocess() has nothing to do', () => {
  it('with a style that is not declared', async () => {
    const { attachments, poster, background, fresh, before } = await start()
    const asked = attachments.reprocess(poster, 'picture', ['a', 'x' as 'a'])
    await expect(asked).rejects.toMatchObject({ name: 'UsageError', code: 'unknown_style', message: expect.stringContaining("'x'") })
    expect([await fresh(), background.jobs]).toEqual([before, []])
  })

  it('with a file that is being processed', async () => {
    const { attachments, poster, background, fresh } = await start()
    await attachments.reprocess(poster, 'picture')
    const processing = await fresh()
    await expect(attachments.reprocess(poster, 'picture', ['b'])).rejects.toMatchObject({ name: 'UsageError', code: 'still_processing' })
    expect(await fresh()).toEqual(processing)
    expect(background.jobs).toHaveLength(1)
  })

  it('twice at once', async () => {
    const { attachments, poster, background, fresh, held } = await start()
    const asked = await Promise.allSettled(Array.from({ length: 4 }, () => attachments.reprocess(poster, 'picture')))
    expect(asked.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected'])
    await background.run()
    expect(held()).toEqual(keys(await fresh()).sort())
  })

  it('with what is no picture, is not there, was never saved, or for no style at all', async () => {
    const { attachments, poster, posters, background, fresh, before } = await start(pdf, 'one.pdf')
    expect(await attachments.reprocess(poster, 'picture')).toBe(false)
    expect(await attachments.reprocess(await posters.save(new Poster()), 'picture')).toBe(false)
    expect(await attachments.reprocess(new Poster(), 'picture')).toBe(false)
    expect([await fresh(), background.jobs]).toEqual([before, []])
    const other = await start()
    expect(await other.attachments.reprocess(other.poster, 'picture', [])).toBe(false)
    expect([await other.fresh(), other.background.jobs]).toEqual([other.before, []])
  })
})

describe('reprocess() that fails in the middle', () => {
  async function failed() {
    const everything = await start()
    const { attachments, poster, background, fresh, before } = everything
    pen.before = (style) => {
      if (style === 'b') throw new ProcessingError('impossible', 'it cannot be made')
    }
    await attachments.reprocess(poster, 'picture')
    await background.run()
    pen.before = () => undefined
    const value = await fresh()
    expect(value).toMatchObject({ processing: false, error: { code: 'impossible', attempts: 1 } })
    expect(urls(value)).toEqual(urls(before))
    pen.made.length = 0
    return everything
  }

  it('keeps showing the old ones, and a retry makes what is missing', async () => {
    const { attachments, poster, background, fresh, before, held } = await failed()
    expect(await attachments.retry(poster, 'picture')).toBe(true)
    expect(urls(poster.picture)).toEqual(urls(before))
    await background.run()
    const after = await fresh()
    expect(after).toMatchObject({ processing: false, error: null })
    expect(pen.made).toEqual(['b'])
    expect(after.path('a')).not.toBe(before.path('a'))
    expect(held()).toEqual(keys(after).sort())
  })

  it.each([[undefined], [['a']], [['b']]] as const)('and again for %s leaves nothing behind', async (names) => {
    const { attachments, poster, background, fresh, before, held } = await failed()
    expect(await attachments.reprocess(poster, 'picture', names)).toBe(true)
    expect(urls(await fresh())).toEqual(urls(before))
    await background.run()
    const after = await fresh()
    expect(after).toMatchObject({ processing: false, error: null })
    expect([after.path('a') === before.path('a'), after.path('b') === before.path('b')]).toEqual([false, false])
    expect(urls(after)).toEqual(placesOf(after))
    expect(held()).toEqual(keys(after).sort())
  })

  it('leaves nothing when the file is detached or removed then', async () => {
    for (const end of ['detach', 'remove'] as const) {
      const { attachments, posters, poster, background, held, staging } = await failed()
      if (end === 'detach') await attachments.detach(poster, 'picture')
      await (end === 'detach' ? posters.save(poster) : posters.remove(poster))
      await background.run()
      expect(held()).toEqual([])
      expect(await filesIn(staging)).toEqual([])
    }
  })
})

describe('a file that reprocess() works on', () => {
  const ends: Array<[string, (here: Awaited<ReturnType<typeof start>>) => Promise<unknown>]> = [
    [
      'replaced',
      async ({ attachments, posters, poster }) => {
        await attachments.attach(poster, 'picture', Buffer.from('another'))
        await posters.save(poster)
      },
    ],
    [
      'detached',
      async ({ attachments, posters, poster }) => {
        await attachments.detach(poster, 'picture')
        await posters.save(poster)
      },
    ],
    ['removed', ({ posters, poster }) => posters.remove(poster)],
  ]
  const left = async ({ posters, storage, staging }: Awaited<ReturnType<typeof start>>) => {
    const [row] = await posters.find()
    expect([...storage.objects.keys()].sort()).toEqual(row?.picture.present ? keys(row.picture).sort() : [])
    expect(await filesIn(staging)).toEqual([])
  }

  it.each(ends)('may be %s before its job begins', async (_how, end) => {
    const here = await start()
    await here.attachments.reprocess(here.poster, 'picture')
    const late = here.background.jobs.splice(0)
    await end(here)
    await here.background.run()
    here.background.jobs.push(...late)
    await here.background.run()
    await left(here)
  })

  it.each(ends)('may be %s while its job writes', async (_how, end) => {
    const here = await start()
    await here.attachments.reprocess(here.poster, 'picture')
    const gate = door()
    here.storage.beforeWrite = gate.pass
    const late = here.background.run()
    await expect.poll(() => gate.came).toBe(2)
    here.storage.beforeWrite = () => undefined
    await end(here)
    await here.background.run()
    gate.open()
    await late
    await here.background.run()
    await left(here)
  })

  it.each(ends)('may be %s right before the old styles are deleted', async (_how, end) => {
    const here = await start()
    await here.attachments.reprocess(here.poster, 'picture')
    const gate = door()
    here.storage.beforeDelete = gate.pass
    const late = here.background.run()
    await expect.poll(() => gate.came).toBe(1)
    here.storage.beforeDelete = () => undefined
    await end(here)
    await here.background.run()
    gate.open()
    await late
    await here.background.run()
    await left(here)
  })

  it('is not touched by a late twin of the job that came before', async () => {
    const { attachments, poster, background, first, fresh, held, before } = await start()
    await attachments.reprocess(poster, 'picture', ['a'])
    const second = background.jobs.splice(0)
    const processing = await fresh()
    background.jobs.push(...first)
    await background.run()
    expect([await fresh(), held()]).toEqual([processing, keys(before).sort()])
    background.jobs.push(...second)
    await background.run()
    const after = await fresh()
    background.jobs.push(...first, ...second)
    await background.run()
    expect([await fresh(), held()]).toEqual([after, keys(after).sort()])
  })

  it('stays as it is when a stale entity is saved, which is shown the truth', async () => {
    const { attachments, poster, posters, background, fresh } = await start()
    const load = () => posters.findOneByOrFail({ id: poster.id })
    const stale = { 'while it is processed': await load(), afterwards: await load() }
    await attachments.reprocess(poster, 'picture')
    for (const [title, entity] of Object.entries(stale)) {
      const truth = await fresh()
      entity.title = title
      await posters.save(entity)
      expect(entity.picture).toEqual(truth)
      expect(await load()).toMatchObject({ title, picture: truth })
      await background.run()
    }
  })
})
