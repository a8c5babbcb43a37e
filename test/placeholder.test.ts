import 'reflect-metadata'
import sharp, { type Sharp } from 'sharp'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, it, vi } from 'vitest'
import { type Attached, Attachment, imageProcessor, type Processor } from '../src'
import { watched } from './support/doubles'
import { animation, cornerColours, corners, photo, picture } from './support/pictures'
import { type World, type WorldOptions, world } from './support/world'

/** Turns what another processor has made into its negative. */
const negative: Processor = {
  reads: (contentType) => contentType === 'image/png',
  async *process(input, styles) {
    const [bytes] = (await (await input.open()).toArray()) as [Buffer]
    for (const style of styles)
      yield { style, body: await sharp(bytes).negate({ alpha: false }).png().toBuffer(), contentType: 'image/png', thumbhash: Buffer.from('wrong') }
  },
}

@Entity()
class Post {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { large: '400x400>', thumb: '50x50#' }, accept: 'any' })
  picture!: Attached<'large' | 'thumb'>

  @Attachment({ styles: { moving: { geometry: '100x100>', animated: true } }, accept: ['image/*'] })
  film!: Attached<'moving'>

  @Attachment({ styles: { first: '50x50>', later: '100x100>' }, accept: ['image/*'], processInBackground: { only: ['later'] } })
  early!: Attached<'first' | 'later'>

  @Attachment({ styles: { large: { geometry: '100x100#', format: 'png' } }, accept: ['image/*'], processors: [imageProcessor(), negative] })
  negative!: Attached<'large'>
}

type Property = 'picture' | 'film' | 'early' | 'negative'

async function save({ dataSource, attachments }: World, property: Property, file: Buffer): Promise<Post> {
  const post = new Post()
  await attachments.attach(post, property, file)
  return dataSource.manager.save(post)
}

/** A file as its row is when its job is done. */
async function processed(property: Property, file: Buffer, options: WorldOptions = {}) {
  const here = await world([Post], options)
  const { id } = await save(here, property, file)
  await here.attachments.idle()
  const post = await here.dataSource.manager.findOneByOrFail(Post, { id })
  expect(post[property]).toMatchObject({ processing: false, error: null })
  return { ...here, post, file: post[property] }
}

/** The bytes behind a data URL. */
function bytesOf(url: string | null): Buffer {
  const [, type = '', encoding, data = ''] = /^data:(image\/[a-z+]+)(;base64)?,(.*)$/s.exec(url ?? '') ?? []
  expect(type).toBe(encoding ? 'image/png' : 'image/svg+xml')
  return encoding ? Buffer.from(data, 'base64') : Buffer.from(decodeURIComponent(data))
}

/** The mean colours of the four quarters of a picture, and with an alpha channel how opaque they are. */
async function quarters(image: Sharp): Promise<number[][]> {
  const { data, info } = await image.resize(2, 2, { fit: 'fill', kernel: 'linear' }).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
  return [0, 1, 2, 3].map((at) => [...data.subarray(at * info.channels, (at + 1) * info.channels)])
}

function expectNear(found: readonly number[][], wanted: readonly (readonly number[])[], tolerance: number): void {
  const off = found.flatMap((colour, at) => colour.map((value, channel) => Math.abs(value - (wanted[at]?.[channel] ?? Number.NaN))))
  expect(Math.max(...off), `${JSON.stringify(found)} should be ${JSON.stringify(wanted)}`).toBeLessThanOrEqual(tolerance)
}

it('is null without a file, and for a file without pixels', async () => {
  const { post, file } = await processed('picture', Buffer.from('no picture'))
  expect([post.film.placeholder(), file.placeholder()]).toEqual([null, null])
})

it('is a plain rectangle of the right size from attach() on', async () => {
  const here = await world([Post])
  const post = new Post()
  await here.attachments.attach(post, 'picture', await picture(300, 200).png().toBuffer())
  const svg = bytesOf(post.picture.placeholder())
  expect(await sharp(svg).metadata()).toMatchObject({ format: 'svg', width: 300, height: 200 })
  expectNear(await quarters(sharp(svg).removeAlpha()), Array(4).fill([221, 221, 221]), 1)
  expect(post.picture.placeholder()?.length).toBeLessThan(200)
})

it.each([
  ['a photo', () => photo(1200, 900).jpeg().toBuffer(), 4 / 3],
  ['a photo in portrait', () => photo(600, 900).webp().toBuffer(), 2 / 3],
  ['a small one', () => photo(16, 12).png().toBuffer(), 4 / 3],
  ['one in grey', () => photo(320, 180).greyscale().jpeg().toBuffer(), 16 / 9],
])('looks like the picture and has its shape: %s', async (_, make, shape) => {
  const original = await make()
  const { file } = await processed('picture', original)
  const bytes = bytesOf(file.placeholder())
  const { width, height, hasAlpha } = await sharp(bytes).metadata()
  expect(width / height).toBeCloseTo(shape, 5)
  expect(hasAlpha).toBe(false)
  expectNear(await quarters(sharp(bytes)), await quarters(sharp(original)), 20)
  expect(file.placeholder()?.length).toBeLessThan(1500)
})

it.each([
  [1, 1],
  [3, 2],
  [1, 5_000],
  [5_000, 1],
  [2_000, 50],
])('has the colour of a picture of %i × %i pixels', async (width, height) => {
  const original = await sharp({ create: { width, height, channels: 3, background: { r: 200, g: 30, b: 10 } } })
    .png()
    .toBuffer()
  const { file } = await processed('picture', original)
  expectNear(await quarters(sharp(bytesOf(file.placeholder()))), Array(4).fill([200, 30, 10]), 10)
})

it('stands upright, where the picture lies on its side', async () => {
  const { file } = await processed('picture', await corners(300, 400, 6).jpeg().toBuffer())
  const bytes = bytesOf(file.placeholder())
  expect(await sharp(bytes).metadata()).toMatchObject({ width: 18, height: 24 })
  const off = (one: readonly number[], other: readonly number[]) => one.reduce((sum, value, at) => sum + (value - (other[at] ?? 0)) ** 2, 0)
  // a thumbhash is no good at four loud colours, and yet they are told apart
  const nearest = (await quarters(sharp(bytes))).map((found) => [...cornerColours].sort((one, other) => off(found, one) - off(found, other))[0])
  expect(nearest).toEqual(cornerColours)
})

it('is as transparent as the picture, and untinged by what nobody sees', async () => {
  const size = { width: 200, height: 100 }
  const red = sharp({ create: { ...size, width: 100, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 1 } } })
  const hidden = sharp({ create: { ...size, channels: 4, background: { r: 0, g: 0, b: 255, alpha: 0 } } })
  const original = await hidden
    .composite([{ input: await red.png().toBuffer(), left: 0, top: 0 }])
    .png()
    .toBuffer()
  const { file } = await processed('picture', original)
  const [left, right] = (await quarters(sharp(bytesOf(file.placeholder())))) as [number[], number[]]
  expectNear([left], [[255, 0, 0, 255]], 60)
  expect(right[3]).toBeLessThan(60)
})

it.each(['picture', 'film'] as const)('shows how an animation begins: %s', async (property) => {
  const frame = (red: number) => sharp({ create: { width: 120, height: 80, channels: 3, background: { r: red, g: 40, b: 90 } } })
  const gif = await (await animation([frame(220), frame(0), frame(0)])).gif().toBuffer()
  const { file } = await processed(property, gif)
  expectNear(await quarters(sharp(bytesOf(file.placeholder())).removeAlpha()), Array(4).fill([220, 40, 90]), 12)
})

it('shows a drawing', async () => {
  const svg = "<svg xmlns='http://www.w3.org/2000/svg' width='200' height='100'><rect width='200' height='100' fill='#0a4'/></svg>"
  const { file } = await processed('picture', Buffer.from(svg))
  expectNear(await quarters(sharp(bytesOf(file.placeholder())).removeAlpha()), Array(4).fill([0, 170, 68]), 12)
})

it('is what the first processor of a chain has seen, and not what a later one makes of one style', async () => {
  const original = await photo(400, 300).png().toBuffer()
  const { file } = await processed('negative', original)
  expectNear(await quarters(sharp(bytesOf(file.placeholder()))), await quarters(sharp(original)), 20)
})

it('shows the picture already when styles were made while attaching', async () => {
  const here = await world([Post])
  const post = new Post()
  const original = await photo(400, 300).jpeg().toBuffer()
  await here.attachments.attach(post, 'early', original)
  expectNear(await quarters(sharp(bytesOf(post.early.placeholder()))), await quarters(sharp(original)), 20)
})

it('shows the picture while the storage is slow', async () => {
  const storage = watched()
  let arrive = () => {}
  const arriving = new Promise<void>((resolve) => {
    arrive = resolve
  })
  storage.beforeWrite = () => arriving
  const here = await world([Post], { storage })
  const { id } = await save(here, 'picture', await photo(400, 300).jpeg().toBuffer())
  const load = async () => (await here.dataSource.manager.findOneByOrFail(Post, { id })).picture
  await vi.waitFor(async () => expect((await load()).placeholder()).toMatch(/^data:image\/png/), { timeout: 10_000 })
  expect(await load()).toMatchObject({ processing: true })
  arrive()
  await here.attachments.idle()
  expect(await load()).toMatchObject({ processing: false, error: null })
})

it('stays when an attempt fails, and while styles are made anew; and is then made anew, too', async () => {
  const storage = watched()
  const { attachments, dataSource, post, file } = await processed('picture', await photo(400, 300).jpeg().toBuffer(), { storage })
  const load = async () => (await dataSource.manager.findOneByOrFail(Post, { id: post.id })).picture
  const made = file.placeholder()
  const red = { r: 255, g: 0, b: 0, alpha: 1 }
  const original = file.path() as string
  await storage.write(
    original,
    await sharp({ create: { width: 400, height: 300, channels: 3, background: red } })
      .jpeg()
      .toBuffer(),
    {
      contentType: 'image/jpeg',
    },
  )
  storage.beforeWrite = () => {
    throw new Error('the storage is away')
  }
  await attachments.reprocess(post, 'picture')
  expect(post.picture.placeholder()).toBe(made)
  await attachments.idle()
  const failed = await load()
  expect(failed.error).not.toBeNull()
  expectNear(await quarters(sharp(bytesOf(failed.placeholder()))), Array(4).fill([254, 0, 0]), 12)

  storage.beforeWrite = () => undefined
  await attachments.retry(post, 'picture')
  await attachments.idle()
  expect((await load()).placeholder()).toBe(failed.placeholder())
})
