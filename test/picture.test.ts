import 'reflect-metadata'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it } from 'vitest'
import { type Attached, Attachment, type AttachmentsOptions, type BackgroundAdapter, inProcessBackground, memoryStorage } from '../src'
import { s3Storage } from '../src/storage/s3'
import { browserPages } from './support/browser'
import { watched } from './support/doubles'
import { photo } from './support/pictures'
import { webServer } from './support/web-server'
import { heldBackground, newBucket, world } from './support/world'

@Entity()
class Post {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({
    styles: {
      large: '800x800>',
      medium: '400x400>',
      square: '100x100#',
      small: '200x200#',
      largeWebp: { geometry: '800x800>', format: 'webp' },
      mediumWebp: { geometry: '400x400>', format: 'webp' },
      mediumAvif: { geometry: '400x400>', format: 'avif' },
      print: { geometry: '800x800>', format: 'tiff' },
    },
    accept: 'any',
  })
  picture!: Attached<'large' | 'medium' | 'square' | 'small' | 'largeWebp' | 'mediumWebp' | 'mediumAvif' | 'print'>

  @Attachment({ styles: { square: '100x100#', smaller: '50x50#', strip: '30x10#' }, accept: ['image/*'] })
  face!: Attached<'square' | 'smaller' | 'strip'>

  @Attachment({ styles: { thumb: '100x100>' }, accept: 'any', defaultUrl: '/none "<:style>.png' })
  plain!: Attached<'thumb'>
}

type Property = 'picture' | 'face' | 'plain'

const holiday = () => photo(1000, 750).jpeg().toBuffer()

async function setUp(
  files: Partial<Record<Property, Buffer | Promise<Buffer>>>,
  storage: AttachmentsOptions['storage'] = memoryStorage({ publicUrl: 'https://files.test' }),
  background: BackgroundAdapter = heldBackground(),
) {
  const here = await world([Post], { background, storage })
  const post = new Post()
  for (const [property, file] of Object.entries(files)) await here.attachments.attach(post, property as Property, await file)
  await here.dataSource.manager.save(post)
  const load = () => here.dataSource.manager.findOneByOrFail(Post, { id: post.id })
  const done = () => (background as ReturnType<typeof heldBackground>).run().then(load)
  return { ...here, post, load, done }
}

/** The tags of a piece of HTML, with their attributes as a browser would read them. */
function tagsOf(html: string): Array<Record<string, string>> {
  const unescaped = (text: string) => text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code))
  return [...html.matchAll(/<(\w+)((?: [\w-]+="[^"<>]*")*)>/g)].map(([, tag = '', attributes = '']) => ({
    tag,
    ...Object.fromEntries([...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, unescaped(value)])),
  }))
}

/** The widths of a srcset, and the styles that its URLs are of. */
const choices = (srcset = '') => srcset.split(', ').map((one) => one.replace(/^\S*\/(\w+)\/[^/]* /, '$1 '))

describe('srcset()', () => {
  it('has the written styles of the shape of the original, by their real widths, in one form; and nothing before', async () => {
    const { post, done } = await setUp({ picture: holiday() })
    expect(post.picture.srcset()).toBe('')
    const { picture } = await done()
    expect(choices(picture.srcset())).toEqual(['medium 400w', 'large 800w'])
    expect(picture.srcset().split(' ')[0]).toBe(picture.url('medium'))
  })

  it('has the styles that are named, of whatever shape', async () => {
    const { picture, face } = await (await setUp({ picture: holiday(), face: holiday() })).done()
    expect(choices(picture.srcset({ styles: ['small', 'square'] }))).toEqual(['square 100w', 'small 200w'])
    expect(choices(face.srcset())).toEqual(['smaller 50w', 'square 100w'])
    expect(picture.srcset({ styles: ['print'] })).toBe('')
    expect(choices(picture.srcset({ styles: ['original', 'large'] }))).toEqual(['large 800w', 'original 1000w'])
    expect(() => picture.srcset({ styles: ['lagre' as 'large'] })).toThrow(expect.objectContaining({ code: 'unknown_style' }))
  })

  it('has each width once, where a picture is smaller than its styles', async () => {
    const { picture } = await (await setUp({ picture: photo(300, 200).jpeg().toBuffer() })).done()
    expect(choices(picture.srcset())).toEqual(['large 300w'])
  })

  it('tells where its URLs end', async () => {
    const { picture } = await (await setUp({ picture: holiday() })).done()
    const urls = { medium: ',a b,c,', large: '/x' }
    expect(picture.srcset({ urls })).toBe('%2ca%20b,c%2c 400w, /x 800w')
  })
})

describe('picture()', () => {
  it('offers smaller forms where they go as far up, and the plain one to every browser', async () => {
    const { picture } = await (await setUp({ picture: holiday() })).done()
    const tags = tagsOf(picture.picture({ alt: 'A hill' }))
    expect(tags.map(({ tag }) => tag)).toEqual(['picture', 'source', 'img'])
    expect(tags[1]).toMatchObject({ type: 'image/webp', sizes: '(max-width: 800px) 100vw, 800px' })
    expect(choices(tags[1]?.srcset)).toEqual(['mediumWebp 400w', 'largeWebp 800w'])
    expect(choices(tags[2]?.srcset)).toEqual(['medium 400w', 'large 800w'])
    expect(tags[2]).toMatchObject({
      alt: 'A hill',
      src: picture.url('large'),
      width: '800',
      height: '600',
      loading: 'lazy',
      decoding: 'async',
      sizes: '(max-width: 800px) 100vw, 800px',
      style: `background: url("${picture.placeholder()}") center / 100% 100% no-repeat`,
    })
  })

  it('has the same room before: for a placeholder', async () => {
    const { post, done } = await setUp({ picture: holiday(), face: holiday() })
    const before = { picture: tagsOf(post.picture.picture({ alt: '' })), face: tagsOf(post.face.picture({ alt: '', styles: ['strip'] })) }
    expect(before.picture).toEqual([
      { tag: 'picture' },
      { tag: 'img', alt: '', width: '800', height: '600', loading: 'lazy', decoding: 'async', src: post.picture.placeholder() },
    ])
    const after = await done()
    expect(tagsOf(after.picture.picture({ alt: '' })).at(-1)).toMatchObject({ width: '800', height: '600' })
    expect(before.face[1]).toMatchObject({ width: '30', height: '10' })
    expect(tagsOf(after.face.picture({ alt: '', styles: ['strip'] })).at(-1)).toMatchObject({ width: '30', height: '10' })
  })

  it('lies on nothing that would show through', async () => {
    const clear = photo(100, 100).ensureAlpha(0.5).png().toBuffer()
    const { plain } = await (await setUp({ plain: clear })).done()
    expect(plain.placeholder()).toMatch(/^data:image\/png/)
    expect(plain.picture({ alt: '' })).not.toContain('style=')
  })

  it('shows defaultUrl without a file or where its job has failed, and is empty where there is none', async () => {
    const broken = photo(400, 300)
      .jpeg()
      .toBuffer()
      .then((bytes) => Buffer.concat([bytes.subarray(0, 3000), Buffer.alloc(100, 7), bytes.subarray(-2)]))
    const { plain, face, picture } = await (await setUp({ plain: broken, face: broken })).done()
    expect([plain.error?.code, face.error?.code]).toEqual(['corrupt_image', 'corrupt_image'])
    expect(tagsOf(plain.picture({ alt: '' }))[1]).toMatchObject({ src: '/none "<original>.png' })
    expect(tagsOf(plain.picture({ alt: '' }))[1]).toMatchObject({ src: '/none "<original>.png' })
    expect([face.picture({ alt: '' }), picture.picture({ alt: '' }), picture.srcset(), picture.placeholder()]).toEqual(['', '', '', null])
  })

  it('is as large as what there is, where the rest could not be made', async () => {
    const storage = watched()
    storage.beforeWrite = (key) => {
      if (key.includes('/large')) throw new Error('the storage takes nothing large')
    }
    const { attachments, load } = await setUp({ picture: holiday() }, storage, inProcessBackground())
    await attachments.idle()
    const { picture } = await load()
    expect(picture.error).not.toBeNull()
    expect(tagsOf(picture.picture({ alt: '' })).at(-1)).toMatchObject({ src: picture.url('medium'), width: '400', height: '300' })
  })

  it('escapes what it is told, and takes attributes over its own', async () => {
    const { picture } = await (await setUp({ picture: holiday() })).done()
    const alt = `"><script>alert('&amp;')</script>`
    const html = picture.picture({ alt, sizes: '"', attributes: { loading: 'eager', class: 'a"b', style: 'color: red', 'data-id': 7 } })
    expect(html).not.toContain('<script')
    const img = tagsOf(html).at(-1)
    expect(img).toMatchObject({ alt, sizes: '"', loading: 'eager', class: 'a"b', 'data-id': '7' })
    expect(img?.style).toMatch(/^background: .*; color: red$/)
    const wrong = { 'a onload=x': '1' }
    expect(() => picture.picture({ alt: '', attributes: wrong })).toThrow(expect.objectContaining({ code: 'bad_attribute' }))
    expect(() => picture.picture({} as { alt: string })).toThrow(expect.objectContaining({ code: 'alt_missing' }))
  })

  it('asks for signed URLs where there are no others', async () => {
    const { picture } = await (await setUp({ picture: holiday() }, memoryStorage())).done()
    expect(() => picture.picture({ alt: '' })).toThrow(
      expect.objectContaining({ code: 'url_missing', message: expect.stringContaining('signedUrls') }),
    )
    expect(() => picture.picture({ alt: '', urls: { large: '/l' } })).toThrow(expect.objectContaining({ code: 'url_missing' }))
  })
})

describe.skipIf(inject('chromium') === null)('in Chromium', () => {
  const newPage = browserPages()

  /** A page of a width with this in it, below which stands something that must not move. */
  async function open(body: string, width: number, scale = 1) {
    const page = await newPage({ viewport: { width, height: 600 }, deviceScaleFactor: scale })
    await page.addInitScript(`
      globalThis.shifts = []
      new PerformanceObserver((list) => shifts.push(...list.getEntries().map(({ value }) => value))).observe({ type: 'layout-shift', buffered: true })`)
    const { origin } = await webServer(() => ({
      body: `<!doctype html><style>body { margin: 0 } img { max-width: 100%; height: auto }</style>${body}<p>below`,
      headers: { 'content-type': 'text/html' },
    }))
    await page.goto(origin)
    await page.waitForFunction('document.images[0].complete && document.images[0].naturalWidth > 0')
    const look = () =>
      page.evaluate(`(() => {
        const [img] = document.images
        const { width, height } = img.getBoundingClientRect()
        return { source: img.currentSrc, width, height, natural: [img.naturalWidth, img.naturalHeight], below: document.querySelector('p').offsetTop, shifts }
      })()`) as Promise<{ source: string; width: number; height: number; natural: [number, number]; below: number; shifts: number[] }>
    return { page, look }
  }

  /** A picture in a bucket that nobody sees without a signature. */
  async function signed() {
    const { client, bucket } = await newBucket()
    const storage = s3Storage({ client, bucket, publicUrl: null })
    const here = await setUp({ picture: holiday() }, storage)
    return { ...here, urlsOf: ({ picture }: Post) => picture.signedUrls({ expiresIn: 600, stable: true }) }
  }

  it.each([
    [1000, 1, 'largeWebp', 800],
    [380, 1, 'mediumWebp', 380],
    [380, 2, 'largeWebp', 380],
  ] as const)('a window of %i pixels, each of them %i across, loads %s', async (window, scale, style, shown) => {
    const { done, urlsOf } = await signed()
    const post = await done()
    const urls = await urlsOf(post)
    const { look } = await open(post.picture.picture({ alt: 'A hill', urls }), window, scale)
    expect(await look()).toMatchObject({ source: urls[style], width: shown, height: (shown * 3) / 4, shifts: [] })
  })

  it('nothing moves when the placeholder gives way to the picture', async () => {
    const { post, done, urlsOf } = await signed()
    const { page, look } = await open(post.picture.picture({ alt: 'A hill' }), 500)
    const before = await look()
    expect(before).toMatchObject({ source: expect.stringMatching(/^data:image\/svg/), width: 500, height: 375, natural: [1000, 750] })
    const after = await done()
    for (const html of [
      `<picture><img src="${after.picture.placeholder()}" width="800" height="600"></picture>`,
      after.picture.picture({ alt: '', urls: await urlsOf(after) }),
    ]) {
      await page.evaluate(`document.querySelector('picture').outerHTML = ${JSON.stringify(html)}`)
      await page.waitForFunction('document.images[0].complete && document.images[0].naturalWidth > 0')
      expect(await look()).toMatchObject({ width: 500, height: 375, below: before.below, shifts: [] })
    }
  })
})
