import 'reflect-metadata'
import { Column, type DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, inject, it } from 'vitest'
import { type Attached, Attachment, type AttachmentOptions, diskStorage, memoryStorage, ProcessingError } from '../src'
import { s3Storage } from '../src/storage/s3'
import { digest } from '../src/testing/bodies'
import { pdf, scribe, watched } from './support/doubles'
import { jpeg } from './support/pictures'
import { database, filesIn, folder, heldBackground, newBucket, world } from './support/world'

const pen = scribe()
const styles = ['original', 'a', 'b'] as const

const previous = {
  styles: { a: '1x1', b: '2x2' },
  accept: 'any',
  processors: [pen],
  path: ':version/:style/:filename',
  processingUrl: '/wait.png',
  defaultUrl: '/none.png',
  whileProcessing: 'previous',
} as const satisfies AttachmentOptions<'a' | 'b'>

/** The same entity, as one deployment or another declares it. */
function declare(options: Partial<AttachmentOptions<'a' | 'b'>> = {}) {
  @Entity()
  class Poster {
    @PrimaryGeneratedColumn()
    id!: number

    @Column('text', { default: '' })
    title!: string

    @Attachment({ ...previous, ...options })
    picture!: Attached<'a' | 'b'>
  }
  return Poster
}
type Value = InstanceType<ReturnType<typeof declare>>['picture']

const urls = (value: Value) => styles.map((style) => value.url(style))
const keys = (value: Value) => styles.map((style) => value.path(style) as string)
const bytes = (name: string) => Buffer.from(`what is in ${name}`)

/** A poster with a file called `one`, done; jobs are held back from here on. */
async function start(options: Partial<AttachmentOptions<'a' | 'b'>> = {}, setUp: Parameters<typeof world>[1] = {}) {
  const Entity = declare(options)
  const storage = watched()
  const background = heldBackground()
  const here = await world([Entity], { storage, background, retry: { attempts: 1 }, ...setUp })
  const posters = here.dataSource.getRepository(Entity)
  const poster = new Entity()
  const attach = async (name: string, body = bytes(name)) => {
    await here.attachments.attach(poster, 'picture', body, { fileName: `${name}.txt` })
    await posters.save(poster)
  }
  await attach('one')
  const firstJobs = [...background.jobs]
  await background.run()
  const fresh = async () => (await posters.findOneByOrFail({ id: poster.id })).picture
  const one = await fresh()
  return { ...here, storage, background, posters, poster, attach, firstJobs, fresh, one, held: () => [...storage.objects.keys()].sort() }
}

beforeEach(() => pen.reset())

const broken = (...names: string[]) => {
  pen.before = (style) => {
    if (names.includes(style)) throw new ProcessingError('corrupt', `${style} cannot be made`)
  }
}

describe('a replaced picture', () => {
  it('goes on being shown until all of its successor is there, and is deleted only then', async () => {
    const { attach, background, storage, staging, poster, fresh, one, held } = await start()
    await attach('two')
    for (const value of [poster.picture, await fresh()]) expect(urls(value)).toEqual(urls(one))
    const seen: Array<readonly [string, unknown]> = []
    storage.beforeWrite = async () => seen.push(['write', urls(await fresh())])
    storage.beforeDelete = async (keys) => seen.push([`delete ${[...keys].sort()}`, urls(await fresh())])
    await background.run()
    const two = await fresh()
    expect(urls(two)).toEqual(keys(two).map((key) => `https://files.test/${key}`))
    expect(seen).toEqual([...styles.map(() => ['write', urls(one)]), [`delete ${keys(one).sort()}`, urls(two)]])
    expect(held()).toEqual(keys(two).sort())
    expect(two.meta).toEqual({
      storage: 'default',
      id: String(poster.id),
      attachedAt: two.updatedAt?.toISOString(),
      earlier: [one.version],
      styles: expect.anything(),
    })
    expect(await filesIn(staging)).toEqual([])
  })

  it('is shown by toJSON() too, with the facts of the new file', async () => {
    const { attach, fresh, one } = await start()
    await attach('two')
    const two = await fresh()
    expect(two).toMatchObject({ fileName: 'two.txt', fileSize: bytes('two').length, processing: true })
    expect(two.toJSON()).toEqual({
      present: true,
      processing: true,
      failed: false,
      fileName: 'two.txt',
      contentType: 'text/plain',
      fileSize: bytes('two').length,
      updatedAt: two.updatedAt,
      width: null,
      height: null,
      url: one.url(),
      styles: { a: one.url('a'), b: one.url('b') },
    })
    expect(keys(two).filter((key) => keys(one).includes(key))).toEqual([])
    expect((await (await two.stream()).toArray()).join('')).toBe(String(bytes('two')))
  })

  it('has the URL that its own facts give', async () => {
    const url = 'https://cdn.test/:id/:version/:timestamp/:fingerprint/:style/:basename.:content_type_extension'
    const { attach, fresh, one } = await start({ url })
    await attach('two')
    const two = await fresh()
    expect(two.updatedAt).not.toEqual(one.updatedAt)
    expect(urls(two)).toEqual(urls(one))
    const moment = encodeURIComponent(one.updatedAt?.toISOString() as string)
    expect(two.url('a')).toBe(`https://cdn.test/1/${one.version}/${moment}/${one.fingerprint}/a/one.txt`)
  })

  it('is not shown where nobody asked for it', async () => {
    const { attach, fresh } = await start({ whileProcessing: 'placeholder' })
    await attach('two')
    expect(urls(await fresh())).toEqual(['/wait.png', '/wait.png', '/wait.png'])
    expect((await fresh()).meta).not.toHaveProperty('shown')
  })

  it('leaves a first file to its placeholder', async () => {
    const { attachments, posters, poster } = await start()
    const other = posters.create({ title: 'other' })
    await attachments.attach(other, 'picture', bytes('first'))
    await posters.save(other)
    expect(urls(other.picture)).toEqual(['/wait.png', '/wait.png', '/wait.png'])
    expect(other.id).not.toBe(poster.id)
  })

  it('is shown as far as it goes: a style that it lacks has its placeholder', async () => {
    const { attach, background, fresh } = await start()
    await attach('document', pdf)
    await background.run()
    const document = await fresh()
    expect(urls(document)).toEqual([`https://files.test/${document.path()}`, '/none.png', '/none.png'])
    await attach('three')
    expect(urls(await fresh())).toEqual([document.url(), '/wait.png', '/wait.png'])
  })

  it('is shown with its styles while a file waits that will have none', async () => {
    const { attach, background, fresh, one } = await start()
    await attach('document', pdf)
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    expect(urls(await fresh())).toEqual([expect.stringContaining('/document.pdf'), '/none.png', '/none.png'])
  })

  it('with styles by a function of the entity is in toJSON() with those that it has', async () => {
    const { attach, fresh, one } = await start({ styles: () => ({ a: '1x1', b: '2x2' }) })
    await attach('document', pdf)
    expect((await fresh()).toJSON().styles).toEqual({ a: one.url('a'), b: one.url('b') })
  })

  it('of a style without placeholder is shown by its original', async () => {
    const { attach, background, fresh } = await start({ processingUrl: undefined, defaultUrl: undefined })
    await attach('document', pdf)
    await background.run()
    const document = await fresh()
    await attach('three')
    expect(urls(await fresh())).toEqual([document.url(), document.url(), document.url()])
  })

  it('is what ready() does not take for its successor', async () => {
    const { attach, background, storage, fresh, one } = await start()
    broken('b')
    await attach('two')
    await background.run()
    const two = await fresh()
    expect(storage.objects.has(two.path('a') as string)).toBe(true)
    expect(urls(two)).toEqual(urls(one))
    await expect(two.ready('a')).rejects.toMatchObject({ name: 'ProcessingError', code: 'corrupt' })
  })
})

describe('a replaced picture, when its successor is replaced while it waits,', () => {
  it('stays until the last of them is there, and everything goes once', async () => {
    const { attach, background, storage, staging, fresh, one, held } = await start()
    await attach('two')
    const two = await fresh()
    await attach('three')
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    const three = await fresh()
    expect(three).toMatchObject({ processing: false, fileName: 'three.txt' })
    expect(held()).toEqual(keys(three).sort())
    expect(
      storage.deleted
        .flat()
        .filter((key) => keys(one).includes(key))
        .sort(),
    ).toEqual(keys(one).sort())
    expect(storage.deleted.flat()).toEqual(expect.arrayContaining(keys(two)))
    expect((await filesIn(staging)).filter((file) => !file.startsWith('.deletes/'))).toEqual([])
  })

  it.each(['first', 'last'])('stays also when the job of the second comes %s', async (when) => {
    const { attach, background, fresh, one, held } = await start()
    await attach('two')
    const second = background.jobs.splice(0)
    await attach('three')
    const third = background.jobs.splice(0)
    for (const jobs of when === 'first' ? [second, third] : [third, second]) {
      if (jobs === third || when === 'first') expect(urls(await fresh())).toEqual(urls(one))
      background.jobs.push(...jobs)
      await background.run()
    }
    expect(held()).toEqual(keys(await fresh()).sort())
  })

  it('is remembered once, however often that happens', async () => {
    const { attach, fresh, one } = await start()
    for (let times = 0; times < 20; times++) await attach(`file ${times}`)
    const last = await fresh()
    expect(urls(last)).toEqual(urls(one))
    expect(last.meta?.shown).toMatchObject({ version: one.version, fileName: 'one.txt' })
    expect(JSON.stringify({ ...last.meta, previous: [] }).length).toBeLessThan(2_500)
  })

  it('is deleted by no late twin of its own job', async () => {
    const { attach, background, firstJobs, fresh, one, held } = await start()
    await attach('two')
    const waiting = background.jobs.splice(0)
    background.jobs.push(...firstJobs)
    await background.run()
    expect(held()).toEqual(keys(one).sort())
    background.jobs.push(...waiting)
    await background.run()
    expect(held()).toEqual(keys(await fresh()).sort())
  })
})

describe('a replaced picture, when its successor fails,', () => {
  async function failed(...names: string[]) {
    const here = await start()
    broken(...names)
    await here.attach('two')
    await here.background.run()
    pen.reset()
    return here
  }

  it.each([['everything', ['a', 'b']] as const, ['one style', ['b']] as const])('for %s, stays, and the failure is told', async (_, names) => {
    const { fresh, one, held } = await failed(...names)
    const two = await fresh()
    expect(two).toMatchObject({ processing: false, error: { code: 'corrupt' }, fileName: 'two.txt' })
    expect(two.toJSON()).toMatchObject({ failed: true, processing: false, url: one.url(), styles: { a: one.url('a'), b: one.url('b') } })
    expect(held()).toEqual(expect.arrayContaining(keys(one)))
  })

  it('stays during a retry, and goes when that has worked', async () => {
    const { attachments, poster, background, fresh, one, held } = await failed('b')
    expect(await attachments.retry(poster, 'picture')).toBe(true)
    expect([urls(poster.picture), urls(await fresh())]).toEqual([urls(one), urls(one)])
    await background.run()
    const two = await fresh()
    expect(urls(two)).toEqual(keys(two).map((key) => `https://files.test/${key}`))
    expect(held()).toEqual(keys(two).sort())
  })

  it.each([['all', undefined] as const, ['some', ['a']] as const])('stays while %s styles are made anew', async (_, names) => {
    const { attachments, poster, background, fresh, one, held } = await failed('b')
    Object.assign(poster.picture, await fresh())
    expect(await attachments.reprocess(poster, 'picture', names)).toBe(true)
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    const two = await fresh()
    expect(two).toMatchObject({ processing: false, error: null })
    expect(urls(two)).toEqual(keys(two).map((key) => `https://files.test/${key}`))
    expect(held()).toEqual(keys(two).sort())
  })

  it('stays until a third is there', async () => {
    const { attach, background, fresh, one, held } = await failed('a', 'b')
    await attach('three')
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    expect(held()).toEqual(keys(await fresh()).sort())
  })

  it('goes with it when that is detached', async () => {
    const { attachments, posters, poster, background, staging, fresh, held } = await failed('b')
    await attachments.detach(poster, 'picture')
    await posters.save(poster)
    await background.run()
    expect(urls(await fresh())).toEqual(['/none.png', '/none.png', '/none.png'])
    expect(held()).toEqual([])
    expect((await filesIn(staging)).filter((file) => !file.startsWith('.deletes/'))).toEqual([])
  })
})

describe('a replaced picture, while its successor waits,', () => {
  it.each(['detached', 'removed'])('goes with it when that is %s', async (end) => {
    const { attach, attachments, posters, poster, background, staging, held } = await start()
    await attach('two')
    const late = background.jobs.splice(0)
    if (end === 'removed') await posters.remove(poster)
    else {
      await attachments.detach(poster, 'picture')
      expect(urls(poster.picture)).toEqual(['/none.png', '/none.png', '/none.png'])
      await posters.save(poster)
    }
    await background.run()
    background.jobs.push(...late)
    await background.run()
    expect(held()).toEqual([])
    expect((await filesIn(staging)).filter((file) => !file.startsWith('.deletes/'))).toEqual([])
  })

  it('is what it was when the transaction is rolled back, and shown when the file is saved again', async () => {
    const { attachments, dataSource, posters, poster, background, fresh, one, held } = await start()
    const metaBefore = one.meta
    await attachments.attach(poster, 'picture', bytes('two'), { fileName: 'two.txt' })
    const undone = dataSource.transaction(async (manager) => {
      await manager.save(poster)
      throw new Error('no')
    })
    await expect(undone).rejects.toThrow('no')
    expect((await fresh()).meta).toEqual(metaBefore)
    expect(urls(await fresh())).toEqual(urls(one))
    expect(held()).toEqual(keys(one).sort())
    await posters.save(poster)
    expect([urls(poster.picture), urls(await fresh())]).toEqual([urls(one), urls(one)])
    await background.run()
    expect(held()).toEqual(keys(await fresh()).sort())
  })

  it('is brought back by no stale entity', async () => {
    const { attach, posters, poster, background, fresh, one } = await start()
    const first = await posters.findOneByOrFail({ id: poster.id })
    await attach('two')
    const second = await posters.findOneByOrFail({ id: poster.id })
    expect([urls(first.picture), urls(second.picture)]).toEqual([urls(one), urls(one)])
    await background.run()
    const { meta } = await fresh()
    for (const stale of [first, second]) {
      stale.title += 'changed'
      await posters.save(stale)
      expect((await fresh()).meta).toEqual(meta)
    }
  })

  it('was itself made anew: what was shown of it is shown, and goes with the rest', async () => {
    const { attach, attachments, poster, background, fresh, one, held } = await start()
    await attachments.reprocess(poster, 'picture')
    await attach('two')
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    expect(held()).toEqual(keys(await fresh()).sort())
  })

  it('has styles of two versions, and each its own URL', async () => {
    const { attach, attachments, poster, background, fresh } = await start({ url: 'https://cdn.test/:version/:style' })
    await attachments.reprocess(poster, 'picture', ['a'])
    await background.run()
    const anew = await fresh()
    expect(new Set(urls(anew).map((url) => url?.split('/')[3])).size).toBe(2)
    await attach('two')
    expect(urls(await fresh())).toEqual(urls(anew))
  })
})

describe('kept files', () => {
  it.each(['keepOldFiles', 'preserveFiles'])('%s: a replaced picture is shown until its successor is there, and stays', async (option) => {
    const { attach, background, fresh, one, held } = await start({ [option]: true })
    await attach('two')
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    const two = await fresh()
    expect(urls(two)).toEqual(keys(two).map((key) => `https://files.test/${key}`))
    expect(two.meta).not.toHaveProperty('shown')
    expect(held()).toEqual([...keys(one), ...keys(two)].sort())
  })
})

describe('when the job runs', () => {
  it('right after the commit, the new file is what save() leaves, and what is shown where it failed is the old', async () => {
    const { attach, poster, fresh, one, held } = await start({ processInBackground: false })
    broken('b')
    await attach('two')
    expect([urls(poster.picture), urls(await fresh())]).toEqual([urls(one), urls(one)])
    expect(poster.picture.error).toMatchObject({ code: 'corrupt' })
    pen.reset()
    await attach('three')
    expect(poster.picture).toMatchObject({ processing: false, fileName: 'three.txt' })
    expect(urls(poster.picture)).toEqual(keys(poster.picture).map((key) => `https://files.test/${key}`))
    expect(held()).toEqual(keys(await fresh()).sort())
  })

  it('later for some styles, those that are made at once change with the rest', async () => {
    const staging = diskStorage({ root: await folder(), publicUrl: 'https://staging.test' })
    const { attach, background, fresh, one, held } = await start({ processInBackground: { only: ['b'] } }, { staging })
    await attach('two')
    expect(urls(await fresh())).toEqual(urls(one))
    await background.run()
    expect(held()).toEqual(keys(await fresh()).sort())
  })
})

describe('another deployment', () => {
  /** The same rows and files, under two declarations; jobs are done under the second. */
  async function redeployed(...declared: [Partial<AttachmentOptions<'a' | 'b'>>, Partial<AttachmentOptions<'a' | 'b'>>]) {
    const background = heldBackground()
    const staging = diskStorage({ root: await folder() })
    const storage = { old: memoryStorage({ publicUrl: 'https://old.test' }), new: memoryStorage({ publicUrl: 'https://new.test' }) }
    const [Before, After] = declared.map(declare) as [ReturnType<typeof declare>, ReturnType<typeof declare>]
    const first = await database([Before])
    const second = await database([After], { ...first.options, entities: [After], synchronize: false } as object)
    async function deployment(dataSource: DataSource, Entity: typeof Before) {
      const { attachments } = await world([], { dataSource, staging, storage, background, retry: { attempts: 1 } })
      const posters = dataSource.getRepository(Entity)
      const load = async () => (await posters.findOneBy({ id: 1 })) ?? posters.create({})
      return {
        picture: async () => (await load()).picture,
        async attach(name: string) {
          const poster = await load()
          await attachments.attach(poster, 'picture', bytes(name), { fileName: `${name}.txt` })
          return (await posters.save(poster)).picture
        },
      }
    }
    return { background, storage, before: await deployment(first, Before), after: await deployment(second, After) }
  }

  it('with another storage shows the old file from the one that it is in, and deletes it there', async () => {
    const { background, storage, before, after } = await redeployed({ storage: 'old' }, { storage: 'new' })
    const one = await before.attach('one')
    await background.run()
    await after.attach('two')
    expect(urls(await after.picture())).toEqual(keys(one).map((key) => `https://old.test/${key}`))
    await background.run()
    const two = await after.picture()
    expect(urls(two)).toEqual(keys(two).map((key) => `https://new.test/${key}`))
    expect([storage.old.objects.size, storage.new.objects.size]).toEqual([0, 3])
  })

  it('that keeps no files deletes none that is shown, whatever job comes late', async () => {
    const { background, storage, before, after } = await redeployed({ keepOldFiles: true }, {})
    const one = await before.attach('one')
    const late = [...background.jobs]
    await background.run()
    await before.attach('two')
    const waiting = background.jobs.splice(0)
    background.jobs.push(...late)
    await background.run()
    expect([...storage.old.objects.keys()].sort()).toEqual(keys(one).sort())
    background.jobs.push(...waiting)
    await background.run()
    expect(urls(await after.picture())).toEqual(keys(await after.picture()).map((key) => `https://old.test/${key}`))
  })

  it('that shows placeholders goes on with what is shown, and shows no more of what is replaced', async () => {
    const { background, before, after } = await redeployed({}, { whileProcessing: 'placeholder' })
    const one = await before.attach('one')
    await background.run()
    await before.attach('two')
    expect(urls(await after.picture())).toEqual(keys(one).map((key) => `https://old.test/${key}`))
    await after.attach('three')
    expect(urls(await after.picture())).toEqual(['/wait.png', '/wait.png', '/wait.png'])
  })
})

it('an unknown word for it ends the program at its start', () => {
  expect(() => declare({ whileProcessing: 'earlier' as never })).toThrow(
    "@Attachment on Poster.picture: whileProcessing must be 'placeholder' or 'previous', not \"earlier\"",
  )
})

const server = inject('s3')
const photo = jpeg(200, 100)

@Entity()
class Member {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'], whileProcessing: 'previous', processingUrl: '/wait.png' })
  photo!: Attached<'thumb'>

  @Attachment({
    styles: { small: '200x200>', large: '800x800>' },
    accept: ['image/*'],
    whileProcessing: 'previous',
    processInBackground: { only: ['large'] },
  })
  cover!: Attached<'small' | 'large'>
}

describe.skipIf(!server.faithful)('in private buckets', () => {
  async function setUp() {
    const { client, bucket, keys } = await newBucket()
    const background = heldBackground()
    const staging = s3Storage({ client, bucket, prefix: 'staging/', publicUrl: null })
    const storage = s3Storage({ client, bucket, prefix: 'files/', publicUrl: null })
    const here = await world([Member], { staging, storage, background, retry: { attempts: 1 }, secret: 'a secret of more than 32 characters' })
    const member = new Member()
    const attach = async (property: 'photo' | 'cover', body: Uint8Array) => {
      await here.attachments.attach(member, property, body)
      await here.dataSource.manager.save(member)
    }
    const load = () => here.dataSource.manager.findOneByOrFail(Member, { id: member.id })
    return { ...here, background, member, attach, load, keys }
  }

  /** What is behind a signed URL. */
  async function digestAt(url: string | null): Promise<string> {
    const answer = await fetch(url as string)
    expect(answer.status).toBe(200)
    return digest(Buffer.from(await answer.arrayBuffer()))
  }

  it('signed URLs show the replaced picture until its successor is there', async () => {
    const { attach, load, background, keys } = await setUp()
    await attach('photo', await photo)
    await background.run()
    const before = (await load()).photo
    const thumb = await digestAt(await before.signedUrl('thumb'))
    const other = await jpeg(100, 200)
    await attach('photo', other)
    const waiting = (await load()).photo
    expect([waiting.width, waiting.height]).toEqual([100, 200])
    expect(await digestAt(await waiting.signedUrl())).toBe(digest(await photo))
    expect(await digestAt(await waiting.signedUrl('thumb', { stable: true }))).toEqual(thumb)
    expect([waiting.url(), waiting.url('thumb')]).toEqual([null, null])
    await background.run()
    const after = (await load()).photo
    expect(await digestAt(await after.signedUrl())).toBe(digest(other))
    expect(await keys()).toEqual([after.path(), after.path('thumb')].map((key) => `files/${key}`).sort())
  })

  it('srcset() and picture() show the replaced picture, in its sizes, until its successor is there', async () => {
    const { attach, load, background } = await setUp()
    await attach('cover', await jpeg(1000, 500))
    await background.run()
    const shown = async () => {
      const { cover } = await load()
      const urls = await cover.signedUrls({ stable: true, expiresIn: 86_400 })
      return { urls, srcset: cover.srcset({ urls }), picture: cover.picture({ alt: '', urls }) }
    }
    const before = await shown()
    expect(before.picture).toMatch(/width="800" height="400"/)
    await attach('cover', await jpeg(500, 1000))
    expect(await shown()).toEqual({ ...before, picture: before.picture.replace(/ style="background[^"]*"/, '') })
    await background.run()
    const after = await shown()
    expect(after.picture).toMatch(/width="400" height="800"/)
    expect(after.srcset).not.toBe(before.srcset)
  })

  it('an expected upload that never comes leaves the old picture on show, until another file is there', async () => {
    const { attach, attachments, dataSource, member, load, background, keys } = await setUp()
    await attach('photo', await photo)
    await background.run()
    const kept = await keys()
    const announced = { fileName: 'new.jpg', contentType: 'image/jpeg', size: 1000 }
    await attachments.expect(member, 'photo', announced)
    const awaited = (await load()).photo
    expect(awaited).toMatchObject({ awaiting: true, fileName: 'new.jpg' })
    expect(await digestAt(await awaited.signedUrl())).toBe(digest(await photo))
    // as if the deadline had passed
    const meta = JSON.stringify(awaited.meta).replace(/"awaited":"[^"]*"/g, '"awaited":"2020-01-01T00:00:00.000Z"')
    await dataSource.query('UPDATE "member" SET photo_meta = $1, photo_attempted_at = now() - interval \'1 day\'', [meta])
    expect(await attachments.requeueLost()).toBe(1)
    await background.run()
    const never = (await load()).photo
    expect(never).toMatchObject({ processing: false, error: { code: 'never_uploaded' } })
    expect(await digestAt(await never.signedUrl())).toBe(digest(await photo))
    expect(await keys()).toEqual(kept)
    Object.assign(member.photo, never)
    await attach('photo', await jpeg(100, 200))
    expect(await digestAt(await member.photo.signedUrl())).toBe(digest(await photo))
    await background.run()
    const after = (await load()).photo
    expect(await keys()).toEqual([after.path(), after.path('thumb')].map((key) => `files/${key}`).sort())
  })
})
