import 'reflect-metadata'
import { randomUUID } from 'node:crypto'
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import {
  type Attached,
  Attachment,
  diskStorage,
  inlineBackground,
  inProcessBackground,
  memoryStorage,
  type Processor,
  type Storage,
  StorageError,
  type Style,
} from '../src'
import { jpeg } from './support/pictures'
import { filesIn, folder, heldBackground, type World, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'], processingUrl: '/processing.png', defaultUrl: '/missing.png' })
  avatar!: Attached<'thumb'>

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'], processInBackground: false, columns: { version: 'now_v' } })
  badge!: Attached<'thumb'>

  @Attachment({
    styles: { thumb: '50x50#', big: '200x200>' },
    accept: ['image/*'],
    processInBackground: { only: ['big'] },
    processingUrl: '/wait/:style.png',
  })
  cover!: Attached<'thumb' | 'big'>

  @Attachment({ accept: 'any' })
  paper!: Attached
}

const photo = jpeg(300, 200)

/** A storage that fails as long as `broken` says so. */
function moody(broken: (key: string) => boolean): Storage & { inner: ReturnType<typeof memoryStorage> } {
  const inner = memoryStorage({ publicUrl: 'https://files.test' })
  return {
    ...inner,
    inner,
    write: async (key, body, info) => {
      await inner.write(key, body, info)
      if (broken(key)) {
        await inner.delete([key])
        throw new StorageError('down', `the storage is down for ${key}`)
      }
    },
  }
}

async function saveAvatar({ dataSource, attachments }: World, property: 'avatar' | 'badge' | 'cover' | 'paper' = 'avatar', bytes = photo) {
  const user = new User()
  await attachments.attach(user, property, await bytes, { fileName: 'me.jpg' })
  await dataSource.manager.save(user)
  return user
}

const fresh = ({ dataSource }: World, { id }: User) => dataSource.getRepository(User).findOneByOrFail({ id })

describe('races', () => {
  /** A storage whose writes wait until they are let through. */
  function gated() {
    const inner = memoryStorage()
    let open: () => void = () => undefined
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const reached = { count: 0 }
    const storage: Storage = {
      ...inner,
      write: (...all) => {
        reached.count++
        return gate.then(() => inner.write(...all))
      },
    }
    return { storage, inner, reached, open: () => open() }
  }

  it('a job that ends after its file was replaced changes nothing of the new one, and takes its own files along', async () => {
    const { storage, inner, reached, open } = gated()
    const background = heldBackground()
    const here = await world([User], { storage, background })
    const user = await saveAvatar(here)
    const late = background.run()
    await expect.poll(() => reached.count).toBeGreaterThan(0)
    await here.attachments.attach(user, 'avatar', await jpeg(80, 80))
    await here.dataSource.manager.save(user)
    open()
    await late
    const between = (await fresh(here, user)).avatar
    expect(between).toMatchObject({ processing: true, version: user.avatar.version, error: null, width: 80 })
    expect(inner.objects.size).toBe(0)
    await background.run()
    const after = (await fresh(here, user)).avatar
    expect(after).toMatchObject({ processing: false, width: 80 })
    expect([...inner.objects.keys()].sort()).toEqual([after.path(), after.path('thumb')].sort())
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('a job whose file was removed meanwhile leaves nothing', async () => {
    const { storage, inner, reached, open } = gated()
    const background = heldBackground()
    const here = await world([User], { storage, background })
    const user = await saveAvatar(here)
    const late = background.run()
    await expect.poll(() => reached.count).toBeGreaterThan(0)
    await here.dataSource.manager.remove(user)
    const removal = background.run()
    open()
    await Promise.all([late, removal])
    expect(inner.objects.size).toBe(0)
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('twins of a job do its work twice and end it once', async () => {
    const background = heldBackground()
    const here = await world([User], { background })
    const user = await saveAvatar(here)
    await here.attachments.requeueLost({ olderThan: -1000 })
    await Promise.all([background.run(), background.run(), background.run()])
    await here.attachments.requeueLost({ olderThan: -1000 })
    await background.run()
    expect((await fresh(here, user)).avatar).toMatchObject({ processing: false, error: null })
    expect(here.storage.objects.size).toBe(2)
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('a job whose twin finished, and took the staged file away before it could read it, ends quietly', async () => {
    const root = await folder()
    const disk = diskStorage({ root })
    const begun: Array<() => void> = []
    // both begin to read before either goes on, and one of them goes on alone
    const staging: Storage = {
      ...disk,
      read: async (key) => {
        await new Promise<void>((resolve) => {
          if (begun.push(resolve) === 2) begun[0]?.()
        })
        return disk.read(key)
      },
    }
    const background = heldBackground()
    const here = await world([User], { background, staging })
    const user = await saveAvatar(here, 'paper')
    background.jobs.push(...background.jobs)
    const both = background.run()
    await expect.poll(() => filesIn(root)).toEqual([])
    begun[1]?.()
    await both
    expect((await fresh(here, user)).paper).toMatchObject({ processing: false, error: null })
    expect(here.storage.objects.size).toBe(1)
  })

  it('a job that comes again after it failed, or after it was done, changes nothing', async () => {
    const background = heldBackground()
    const here = await world([User], { background })
    const user = await saveAvatar(here)
    const again = [...background.jobs]
    await background.run()
    const done = (await fresh(here, user)).avatar
    background.jobs.push(...again)
    await background.run()
    expect((await fresh(here, user)).avatar).toEqual(done)
    expect(here.storage.objects.size).toBe(2)
  })
})

describe('a processor that does not do as it is told', () => {
  const cases: Array<[string, string, Processor['process']]> = [
    ['leaves a style out', 'style_missing', async function* () {}],
    [
      'makes what nobody asked for',
      'style_unexpected',
      async function* (_input, [style]) {
        yield { style: { ...(style as Style), name: '../x' }, body: Buffer.from('x'), contentType: 'image/png' }
      },
    ],
    [
      'makes nothing of a style',
      'style_empty',
      async function* (_input, [style]) {
        yield { style: style as Style, body: Buffer.alloc(0), contentType: 'image/png' }
      },
    ],
  ]
  it.each(cases)('%s: the file fails, and nothing is said to be there', async (_name, code, process) => {
    @Entity()
    class Poster {
      @PrimaryGeneratedColumn()
      id!: number

      @Attachment({ styles: { a: '10x10' }, accept: 'any', processors: [{ reads: () => true, process }] })
      picture!: Attached<'a'>
    }
    const { dataSource, attachments } = await world([Poster])
    const poster = new Poster()
    await attachments.attach(poster, 'picture', await photo)
    await dataSource.manager.save(poster)
    await attachments.idle()
    const { picture } = await dataSource.getRepository(Poster).findOneByOrFail({ id: poster.id })
    expect(picture).toMatchObject({ processing: false, error: { code } })
    expect(Object.keys(picture.meta?.styles ?? {})).toEqual(['original', 'a'])
  })
})

describe('the moment of processing', () => {
  it('false: right after the commit, awaited by whoever commits', async () => {
    const here = await world([User])
    const user = await saveAvatar(here, 'badge')
    expect(user.badge).toMatchObject({ processing: false, error: null })
    expect(user.badge.url('thumb')).toBe(`https://files.test/${user.badge.path('thumb')}`)
    expect(here.storage.objects.size).toBe(2)
    await here.dataSource.transaction(async (manager) => {
      await here.attachments.detach(user, 'badge')
      await manager.save(user)
      expect(here.storage.objects.size).toBe(2)
    })
    expect(here.storage.objects.size).toBe(0)
  })

  it('false, and failing: save() succeeds, the row says why', async () => {
    const here = await world([User], { storage: moody(() => true) })
    const user = await saveAvatar(here, 'badge')
    expect(user.badge).toMatchObject({ processing: false, error: { code: 'down', attempts: 1 } })
  })

  it('only some: the others are made while attaching and shown from the staging until they are stored', async () => {
    const root = await folder()
    const background = heldBackground()
    const here = await world([User], { staging: diskStorage({ root, publicUrl: '/staged' }), background })
    const user = new User()
    await here.attachments.attach(user, 'cover', await photo)
    expect((await filesIn(root)).filter((file) => /thumb-[0-9a-f]{8}\.jpg$|original$/.test(file))).toHaveLength(2)
    await here.dataSource.manager.save(user)
    const waiting = (await fresh(here, user)).cover
    expect(waiting.url('thumb')).toMatch(/^\/staged\/User\/cover\/..\/[0-9a-f]{32}\/thumb-[0-9a-f]{8}\.jpg$/)
    expect(waiting.url('big')).toBe('/wait/big.png')
    expect(waiting.meta?.styles['thumb']).toMatchObject({ width: 50, height: 50 })
    await background.run()
    const done = (await fresh(here, user)).cover
    expect(done.url('thumb')).toBe(`https://files.test/${done.path('thumb')}`)
    expect(here.storage.objects.size).toBe(3)
    expect(await filesIn(root)).toEqual([])
  })

  it('inline: everything happens before save() returns', async () => {
    const here = await world([User], { background: inlineBackground() })
    const user = await saveAvatar(here)
    expect(user.avatar.processing).toBe(false)
    expect((await fresh(here, user)).avatar.processing).toBe(false)
  })
})

it('passes a file through that no processor reads, without styles', async () => {
  const here = await world([User])
  const pdf = Buffer.concat([Buffer.from('%PDF-1.7\n'), Buffer.alloc(3000, ' ')])
  const user = await saveAvatar(here, 'paper', Promise.resolve(pdf))
  await here.attachments.idle()
  const { paper } = await fresh(here, user)
  expect(paper).toMatchObject({ processing: false, error: null, contentType: 'application/pdf', width: null })
  expect(here.storage.objects.get(paper.path() as string)?.body).toEqual(pdf)
})

it('lets running jobs finish on close()', async () => {
  let release: () => void = () => undefined
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const storage = memoryStorage()
  const slow: Storage = { ...storage, write: (...all) => gate.then(() => storage.write(...all)) }
  const here = await world([User], { storage: slow })
  const user = await saveAvatar(here)
  const closed = here.attachments.close()
  release()
  await closed
  expect((await fresh(here, user)).avatar.processing).toBe(false)
})

it('deletes on close() what is still to be deleted, and works again after the next connect()', async () => {
  const background = inProcessBackground({ concurrency: 1 })
  const here = await world([User], { background })
  const users = await Promise.all(Array.from({ length: 4 }, () => saveAvatar(here)))
  await here.attachments.idle()
  expect(here.storage.objects.size).toBe(8)
  await here.dataSource.manager.remove(users)
  await here.attachments.close()
  expect(here.storage.objects.size).toBe(0)
  await here.attachments.connect(here.dataSource)
  const user = await saveAvatar(here)
  await here.attachments.idle()
  expect((await fresh(here, user)).avatar.processing).toBe(false)
})

it('keeps several storages by name, and the row remembers which', async () => {
  @Entity()
  class Report {
    @PrimaryGeneratedColumn('uuid')
    id!: string

    @Attachment({ accept: 'any', storage: 'papers', path: ':id_partition/:filename' })
    pdf!: Attached
  }
  const [photos, papers] = [memoryStorage(), memoryStorage({ publicUrl: 'https://papers.test' })]
  const { dataSource, attachments } = await world([Report], { storage: { photos, papers } })
  const report = Object.assign(new Report(), { id: randomUUID() })
  await attachments.attach(report, 'pdf', Buffer.from('text'), { fileName: 'a b.txt' })
  await dataSource.manager.save(report)
  await attachments.idle()
  const saved = await dataSource.getRepository(Report).findOneByOrFail({ id: report.id })
  const threes = saved.id.slice(0, 9).match(/.{3}/g)?.join('/')
  expect([...papers.objects.keys()]).toEqual([`${threes}/${saved.id}/a b-${saved.pdf.version}.txt`])
  expect(saved.pdf.url()).toBe(`https://papers.test/${threes}/${saved.id}/a%20b-${saved.pdf.version}.txt`)
  expect(photos.objects.size).toBe(0)
})
