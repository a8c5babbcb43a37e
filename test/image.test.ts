import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import sharp, { type Sharp } from 'sharp'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ProcessingError, RefusedFileError } from '../src/errors'
import { chain } from '../src/processor/chain'
import { imageProcessor } from '../src/processor/image'
import type { Made, Processor, ProcessorInput } from '../src/processor/processor'
import { applyGeometry, parseGeometry } from '../src/style/geometry'
import { formats, resolveStyle, type Style, type StyleOptions } from '../src/style/style'
import { animation, type Colour, cornerColours, corners, jpeg, photo, picture, png } from './support/pictures'
import { folder } from './support/world'

const images = imageProcessor()

const input = (bytes: Buffer, contentType = 'image/jpeg'): ProcessorInput => ({ contentType, open: async () => Readable.from([bytes]) })
const stylesOf = (styles: Record<string, StyleOptions>): Style[] => Object.entries(styles).map(([name, options]) => resolveStyle(name, options))

async function collect<S extends string>(making: AsyncIterable<Made>): Promise<Record<S, Made>> {
  const all: Record<string, Made> = {}
  for await (const made of making) all[made.style.name] = made
  return all as Record<S, Made>
}

function make<S extends string>(bytes: Buffer, contentType: string, styles: Record<S, StyleOptions>, processor = images): Promise<Record<S, Made>> {
  return collect<S>(processor.process(input(bytes, contentType), stylesOf(styles)))
}

interface Pixels {
  readonly data: Buffer
  readonly width: number
  readonly height: number
  readonly channels: number
}

async function pixelsOf(image: Sharp | Uint8Array): Promise<Pixels> {
  const { data, info } = await (image instanceof Uint8Array ? sharp(image) : image).raw().toBuffer({ resolveWithObject: true })
  return { data, ...info }
}

/** The colour at a place given in parts of the sides, 0 to 1. */
function colourAt({ data, width, height, channels }: Pixels, x: number, y: number): number[] {
  const at = (Math.floor(y * height) * width + Math.floor(x * width)) * channels
  return [...data.subarray(at, at + channels)]
}

function expectColour(found: readonly number[], wanted: readonly number[], tolerance: number): void {
  const off =
    found.length === wanted.length ? Math.max(...found.map((value, at) => Math.abs(value - (wanted[at] as number)))) : Number.POSITIVE_INFINITY
  expect(off, `${found} should be ${wanted}`).toBeLessThanOrEqual(tolerance)
}

function expectCorners(pixels: Pixels, wanted: readonly (readonly number[])[] = cornerColours, tolerance = 12): void {
  const places = [0.2, 0.8].flatMap((y) => [0.2, 0.8].map((x) => [x, y] as const))
  for (const [at, [x, y]] of places.entries()) expectColour(colourAt(pixels, x, y).slice(0, 3), wanted[at] as readonly number[], tolerance)
}

/** Peak signal-to-noise ratio in dB: 40 and more is what nobody sees. */
function psnr(one: Pixels, other: Pixels): number {
  expect([one.width, one.height, one.channels]).toEqual([other.width, other.height, other.channels])
  let sum = 0
  for (let at = 0; at < one.data.length; at++) sum += ((one.data[at] as number) - (other.data[at] as number)) ** 2
  return sum === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(255 ** 2 / (sum / one.data.length))
}

const solid = (width: number, height: number, [r, g, b]: Colour, alpha?: number) =>
  sharp({ create: { width, height, channels: alpha === undefined ? 3 : 4, background: { r, g, b, ...(alpha !== undefined && { alpha }) } } })

describe('sizes', () => {
  const tutorial = { large: '800x800>', medium: '300x300>', thumb: '100x100#', small: '50x50#', tiny: '25x25#' }

  it.each([
    [1600, 1200, { large: [800, 600], medium: [300, 225], thumb: [100, 100], small: [50, 50], tiny: [25, 25] }],
    [900, 1200, { large: [600, 800], medium: [225, 300], thumb: [100, 100], small: [50, 50], tiny: [25, 25] }],
    [200, 40, { large: [200, 40], medium: [200, 40], thumb: [100, 100], small: [50, 50], tiny: [25, 25] }],
    [1, 1, { large: [1, 1], medium: [1, 1], thumb: [100, 100], small: [50, 50], tiny: [25, 25] }],
    [2000, 3, { large: [800, 1], medium: [300, 1], thumb: [100, 100], small: [50, 50], tiny: [25, 25] }],
    [3, 2000, { large: [1, 800], medium: [1, 300], thumb: [100, 100], small: [50, 50], tiny: [25, 25] }],
  ])('of the five styles of the 2009 tutorial, from %i × %i', async (width, height, sizes) => {
    const made = await make(await jpeg(width, height), 'image/jpeg', tutorial)
    expect(Object.keys(made).sort()).toEqual(Object.keys(tutorial).sort())
    for (const [name, [width, height]] of Object.entries(sizes)) {
      const found = made[name as keyof typeof tutorial]
      expect(found).toMatchObject({ contentType: 'image/jpeg', width, height, style: { name, geometry: tutorial[name as keyof typeof tutorial] } })
      expect(await sharp(found.body).metadata()).toMatchObject({ format: 'jpeg', width, height })
    }
  })

  it.each([
    ['200x200', [200, 150]],
    ['800x800', [800, 600]],
    ['x150', [200, 150]],
    ['123x45!', [123, 45]],
    ['100x100^', [133, 100]],
    ['50%', [200, 150]],
    ['200%', [800, 600]],
    ['10000@', [115, 86]],
    ['600x600#', [600, 600]],
    ['300x10#', [300, 10]],
    [undefined, [400, 300]],
  ])('of the style %s alone', async (geometry, [width, height]) => {
    const { only } = await make(await jpeg(400, 300), 'image/jpeg', { only: { geometry } })
    expect(only).toMatchObject({ width, height })
    expect(await sharp(only.body).metadata()).toMatchObject({ width, height })
  })

  it.each(['jpeg', 'png', 'webp', 'tiff', 'avif'] as const)('tells which side of a %s is up, wherever it says so', async (format) => {
    const bytes = await photo(600, 400).withMetadata({ orientation: 6 }).toFormat(format, { quality: 100 }).toBuffer()
    const head = bytes.subarray(0, 64 * 1024)
    const open = async () => Readable.from([bytes])
    expect(await images.identify?.({ contentType: `image/${format}`, head, open })).toMatchObject({ width: 400, height: 600 })
  })

  it('reads from a path, if there is one', async () => {
    const path = join(await folder(), 'photo')
    await writeFile(path, await jpeg(400, 300))
    const open = () => Promise.reject(new Error('not from here'))
    const lying: ProcessorInput = { contentType: 'image/jpeg', path: async () => path, open }
    expect(await images.identify?.(lying)).toMatchObject({ width: 400, height: 300 })
    expect(await collect(images.process(lying, stylesOf({ thumb: '100x100#' })))).toMatchObject({ thumb: { width: 100 } })
  })
})

describe('EXIF orientation', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('%i comes out upright, and is told upright', async (orientation) => {
    const bytes = await corners(120, 80, orientation).jpeg({ quality: 95 }).toBuffer()
    expect((await sharp(bytes).metadata()).orientation).toBe(orientation)
    expect(await images.identify?.(input(bytes))).toEqual({ contentType: 'image/jpeg', width: 120, height: 80 })

    const made = await make(bytes, 'image/jpeg', {
      whole: {},
      small: '60x60',
      wide: '100x50!',
      square: '60x60#',
      png: { geometry: 'x40>', format: 'png' },
    })
    const sizes = Object.fromEntries(Object.entries(made).map(([name, { width, height }]) => [name, [width, height]]))
    expect(sizes).toEqual({ whole: [120, 80], small: [60, 40], wide: [100, 50], square: [60, 60], png: [60, 40] })
    for (const { body } of Object.values(made)) {
      expectCorners(await pixelsOf(body))
      expect((await sharp(body).metadata()).orientation).toBeUndefined()
    }
  })

  it.each(['png', 'webp', 'tiff', 'avif'] as const)('of a %s is minded too', async (format) => {
    const bytes = await corners(120, 80, 6).toFormat(format).toBuffer()
    expect(await images.identify?.(input(bytes, `image/${format}`))).toMatchObject({ width: 120, height: 80 })
    const { small } = await make(bytes, `image/${format}`, { small: '60x60' })
    expect(small).toMatchObject({ width: 60, height: 40 })
    expectCorners(await pixelsOf(small.body), cornerColours, 25)
  })

  it('of an animation is minded as in its first frame alone', async () => {
    const stored = [corners(60, 40), corners(60, 40, 3)]
    const bytes = await (await animation(stored)).webp({ lossless: true }).withMetadata({ orientation: 6 }).toBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ pages: 2, orientation: 6 })
    const { still, moving } = await make(bytes, 'image/webp', { still: '40x40', moving: { geometry: '40x40', animated: true } })
    expect([moving.width, moving.height]).toEqual([still.width, still.height])
    expect(psnr(await pixelsOf(sharp(moving.body).removeAlpha()), await pixelsOf(sharp(still.body).removeAlpha()))).toBeGreaterThan(20)
  })
})

describe('colours', () => {
  const orange: Colour = [200, 100, 50]

  it('of CMYK become sRGB', async () => {
    const bytes = await solid(40, 30, orange).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ space: 'cmyk', channels: 4 })
    const made = await make(bytes, 'image/jpeg', { jpeg: '20x', png: { format: 'png' } })
    for (const { body } of Object.values(made)) {
      expect(await sharp(body).metadata()).toMatchObject({ space: 'srgb', channels: 3 })
      expectColour(colourAt(await pixelsOf(body), 0.5, 0.5), orange, 40)
    }
  })

  it('of CMYK with a profile become sRGB by that profile', async () => {
    const bytes = await solid(40, 30, orange).toColourspace('cmyk').withIccProfile('cmyk').jpeg({ quality: 100 }).toBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ space: 'cmyk', hasProfile: true })
    const { png } = await make(bytes, 'image/jpeg', { png: { format: 'png' } })
    expectColour(colourAt(await pixelsOf(png.body), 0.5, 0.5), orange, 40)
    expect(await sharp(png.body).metadata()).toMatchObject({ space: 'srgb', hasProfile: false })
  })

  it.each([
    ['JPEG', 'image/jpeg', (image: Sharp) => image.jpeg({ quality: 100, chromaSubsampling: '4:4:4' })],
    ['PNG', 'image/png', (image: Sharp) => image.png()],
    ['WebP', 'image/webp', (image: Sharp) => image.webp({ lossless: true })],
  ])('of a wide gamut in a %s become sRGB', async (_name, contentType, write) => {
    const bytes = await write(solid(40, 30, orange).withIccProfile('p3')).toBuffer()
    // in numbers of Display P3 the same colour is (187, 106, 63)
    expectColour(colourAt(await pixelsOf(sharp(bytes, { ignoreIcc: true })), 0.5, 0.5), [187, 106, 63], 3)
    const made = await make(bytes, contentType, {
      same: '20x',
      png: { geometry: '10x10#', format: 'png' },
      large: { geometry: '80x', format: 'png' },
    })
    for (const { body } of Object.values(made)) expectColour(colourAt(await pixelsOf(body), 0.5, 0.5), orange, 5)
  })

  it('of grey stay grey', async () => {
    const bytes = await sharp(Buffer.alloc(40 * 30, 77), { raw: { width: 40, height: 30, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ channels: 1 })
    const { png, jpeg } = await make(bytes, 'image/png', { png: '20x', jpeg: { geometry: '10x10#', format: 'jpeg' } })
    expectColour(colourAt(await pixelsOf(sharp(png.body).toColourspace('srgb')), 0.5, 0.5), [77, 77, 77], 0)
    expectColour(colourAt(await pixelsOf(sharp(jpeg.body).toColourspace('srgb')), 0.5, 0.5), [77, 77, 77], 2)
  })

  it('of sixteen bits become eight', async () => {
    const wide = Uint16Array.from({ length: 40 * 30 * 3 }, (_, at) => [0x1234, 0x8000, 0xf0ff][at % 3] as number)
    const bytes = await sharp(wide, { raw: { width: 40, height: 30, channels: 3 } })
      .toColourspace('rgb16')
      .png()
      .toBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ depth: 'ushort' })
    const { small } = await make(bytes, 'image/png', { small: '20x' })
    expect(await sharp(small.body).metadata()).toMatchObject({ depth: 'uchar' })
    expectColour(colourAt(await pixelsOf(small.body), 0.5, 0.5), [0x12, 0x80, 0xf0], 1)
  })

  it('of a palette stay as they are', async () => {
    const bytes = await corners(40, 30).png({ palette: true }).toBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ isPalette: true })
    const { small } = await make(bytes, 'image/png', { small: '20x' })
    expectCorners(await pixelsOf(sharp(small.body).removeAlpha()))
  })
})

it('writes no metadata: no profile, no EXIF with its place, no XMP', async () => {
  const bytes = await picture(200, 150)
    .withIccProfile('p3')
    .withExif({ IFD0: { Copyright: 'somebody' }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 3230/100' } })
    .withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/"><secret/></x:xmpmeta>')
    .jpeg()
    .toBuffer()
  expect(await sharp(bytes).metadata()).toMatchObject({ icc: expect.any(Buffer), exif: expect.any(Buffer), xmp: expect.any(Buffer) })
  const made = await make(bytes, 'image/jpeg', {
    same: {},
    jpeg: '100x',
    png: { geometry: '100x', format: 'png' },
    webp: { geometry: '100x', format: 'webp' },
    avif: { geometry: '100x', format: 'avif' },
    tiff: { geometry: '100x', format: 'tiff' },
  })
  for (const { body } of Object.values(made)) {
    const { icc, exif, xmp, iptc, orientation } = await sharp(body).metadata()
    expect({ icc, exif, iptc, xmp, orientation: orientation ?? 1 }).toEqual({ orientation: 1 })
  }
})

describe('transparency', () => {
  const alpha = async () => picture(100, 80, 4).png().toBuffer()

  it.each(['png', 'webp', 'avif', 'tiff'] as const)('is kept by %s', async (format) => {
    const { small } = await make(await alpha(), 'image/png', { small: { geometry: '50x', format, quality: 90 } })
    const pixels = await pixelsOf(small.body)
    expect(pixels.channels).toBe(4)
    expect(Math.abs((colourAt(pixels, 0.2, 0.5)[3] as number) - 40)).toBeLessThanOrEqual(3)
    expect(colourAt(pixels, 0.8, 0.5)[3]).toBeGreaterThanOrEqual(252)
  })

  it('is kept where no format is asked for, also through a crop', async () => {
    const made = await make(await alpha(), 'image/png', { small: '50x', thumb: '20x20#', same: {} })
    for (const { body, contentType } of Object.values(made)) {
      expect(contentType).toBe('image/png')
      expect((await sharp(body).metadata()).hasAlpha).toBe(true)
    }
  })

  it.each([
    ['jpeg', undefined, [255, 255, 255]],
    ['jpg', undefined, [255, 255, 255]],
    ['jpeg', '#00ff00', [0, 255, 0]],
    ['jpeg', 'rgb(10, 20, 30)', [10, 20, 30]],
    ['jpg', 'black', [0, 0, 0]],
  ] as const)('becomes the background in a %s: %s', async (format, background, wanted) => {
    const bytes = await solid(40, 30, [200, 0, 0], 0).png().toBuffer()
    const half = await solid(40, 30, [200, 0, 0], 0.5).png().toBuffer()
    const style = { small: { geometry: '20x', format, quality: 100, ...(background && { background }) } }
    const [clear, mixed] = [await make(bytes, 'image/png', style), await make(half, 'image/png', style)]
    expect(clear.small.contentType).toBe('image/jpeg')
    expectColour(colourAt(await pixelsOf(clear.small.body), 0.5, 0.5), wanted, 3)
    const between = wanted.map((value, at) => (value + ([200, 0, 0][at] as number)) / 2)
    expectColour(colourAt(await pixelsOf(mixed.small.body), 0.5, 0.5), between, 4)
  })

  it('becomes the background in a TIFF whose compression knows none', async () => {
    const bytes = await solid(40, 30, [200, 0, 0], 0).png().toBuffer()
    const tiff = { format: 'tiff', output: { compression: 'jpeg' } } as const
    const { white, green } = await make(bytes, 'image/png', { white: tiff, green: { ...tiff, background: '#00ff00' } })
    expectColour(colourAt(await pixelsOf(white.body), 0.5, 0.5), [255, 255, 255], 3)
    expectColour(colourAt(await pixelsOf(green.body), 0.5, 0.5), [0, 255, 0], 3)
  })

  it('is not touched by a background where the format knows it', async () => {
    const bytes = await solid(40, 30, [200, 0, 0], 0).png().toBuffer()
    const { small } = await make(bytes, 'image/png', { small: { geometry: '20x', background: '#00ff00' } })
    expect(colourAt(await pixelsOf(small.body), 0.5, 0.5)[3]).toBe(0)
  })

  it('does not bleed the colour of what is invisible', async () => {
    const left = await solid(50, 80, [0, 255, 0], 0).png().toBuffer()
    const bytes = await solid(100, 80, [200, 0, 0], 1)
      .composite([{ input: left, left: 0, top: 0, blend: 'source' }])
      .png()
      .toBuffer()
    const { small } = await make(bytes, 'image/png', {
      small: { geometry: '7x', format: 'jpeg', quality: 100, output: { chromaSubsampling: '4:4:4' } },
    })
    const { data, channels } = await pixelsOf(small.body)
    // between white and red, green is never more than red
    for (let at = 0; at < data.length; at += channels) expect(data[at + 1]).toBeLessThanOrEqual((data[at] as number) + 6)
  })
})

describe('animation', () => {
  const size = { width: 60, height: 40 }
  const frameColours: Colour[] = [
    [250, 0, 0],
    [0, 250, 0],
    [0, 0, 250],
  ]
  /** Each frame has a colour of its own in its middle third, and is black beside it. */
  const frames = () =>
    frameColours.map((colour) => {
      const [r, g, b] = colour
      const middle = { create: { width: 20, height: 40, channels: 3 as const, background: { r, g, b } } }
      return solid(size.width, size.height, [0, 0, 0]).composite([{ input: middle, left: 20, top: 0 }])
    })
  const gif = async () => (await animation(frames())).gif({ delay: [100, 200, 300], loop: 2 }).toBuffer()

  async function framesOf(body: Uint8Array): Promise<Pixels[]> {
    const { pages = 1 } = await sharp(body).metadata()
    return Promise.all(Array.from({ length: pages }, (_, page) => pixelsOf(sharp(body, { page }).removeAlpha())))
  }

  it.each([
    ['30x30>', undefined, [30, 20]],
    ['30x', 'webp', [30, 20]],
    ['20x40#', undefined, [20, 40]],
    ['10x10#', 'webp', [10, 10]],
    ['10x10#', 'gif', [10, 10]],
    ['120x120', 'webp', [120, 80]],
    ['45x45!', 'gif', [45, 45]],
    [undefined, 'webp', [60, 40]],
    [undefined, undefined, [60, 40]],
  ] as const)('is kept, %s as %s', async (geometry, format, [width, height]) => {
    const { moving } = await make(await gif(), 'image/gif', { moving: { geometry, format, animated: true } })
    const type = format ?? 'gif'
    expect(moving).toMatchObject({ contentType: `image/${type}`, width, height })
    const metadata = await sharp(moving.body, { animated: true }).metadata()
    expect(metadata).toMatchObject({ format: type, width, pageHeight: height, pages: 3, delay: [100, 200, 300], loop: 2 })
    const found = await framesOf(moving.body)
    for (const [at, colour] of frameColours.entries()) {
      expectColour(colourAt(found[at] as Pixels, 0.5, 0.5), colour, 40)
      if (!geometry?.endsWith('#')) expectColour(colourAt(found[at] as Pixels, 0.1, 0.5), [0, 0, 0], 40)
    }
  })

  it('is cut by # on the same pixels as a still picture', async () => {
    const { moving, still } = await make(await gif(), 'image/gif', {
      moving: { geometry: '30x10#', format: 'webp', animated: true, output: { lossless: true } },
      still: { geometry: '30x10#', format: 'png' },
    })
    const [first] = await framesOf(moving.body)
    expect(psnr(first as Pixels, await pixelsOf(sharp(still.body).removeAlpha()))).toBeGreaterThan(40)
  })

  it('of a WebP is kept too', async () => {
    const bytes = await (await animation(frames())).webp({ delay: [100, 200, 300] }).toBuffer()
    const { moving } = await make(bytes, 'image/webp', { moving: { geometry: '30x', animated: true } })
    expect(moving).toMatchObject({ contentType: 'image/webp', width: 30, height: 20 })
    expect(await sharp(moving.body).metadata()).toMatchObject({ pages: 3 })
  })

  it('is not kept unless a style asks for it: the first frame is taken', async () => {
    const made = await make(await gif(), 'image/gif', { same: {}, small: '30x', jpeg: { geometry: '10x10#', format: 'jpeg', quality: 95 } })
    for (const { body } of Object.values(made)) {
      expect((await sharp(body).metadata()).pages ?? 1).toBe(1)
      expectColour(colourAt(await pixelsOf(sharp(body).removeAlpha()), 0.5, 0.5), frameColours[0] as Colour, 12)
    }
    expect(made).toMatchObject({ same: { width: 60, height: 40 }, small: { width: 30, height: 20 }, jpeg: { width: 10, height: 10 } })
  })

  it.each(['png', 'jpeg', 'avif'] as const)('cannot be kept by %s: the first frame is taken', async (format) => {
    const { still } = await make(await gif(), 'image/gif', { still: { geometry: '30x', format, animated: true } })
    expect(await sharp(still.body).metadata()).toMatchObject({ width: 30, height: 20 })
    expect(still).toMatchObject({ width: 30, height: 20 })
  })

  it('of a single frame is a picture', async () => {
    const bytes = await solid(60, 40, [250, 0, 0]).gif().toBuffer()
    const { moving } = await make(bytes, 'image/gif', { moving: { geometry: '30x', animated: true } })
    expect(moving).toMatchObject({ contentType: 'image/gif', width: 30, height: 20 })
  })

  it('is told by the size of one frame', async () => {
    expect(await images.identify?.(input(await gif(), 'image/gif'))).toEqual({ contentType: 'image/gif', ...size })
  })
})

describe('SVG', () => {
  const svg = (content: string) => Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30">${content}</svg>`)

  it('becomes PNG, with its transparency', async () => {
    const bytes = svg('<rect x="20" width="20" height="30" fill="#c80000"/>')
    expect(images.formatFor?.('image/svg+xml')).toBe('png')
    expect(await images.identify?.(input(bytes, 'image/svg+xml'))).toEqual({ contentType: 'image/svg+xml', width: 40, height: 30 })
    const { small, white } = await make(bytes, 'image/svg+xml', { small: '20x', white: { geometry: '20x', format: 'jpeg', quality: 100 } })
    expect(small).toMatchObject({ contentType: 'image/png', width: 20, height: 15 })
    const pixels = await pixelsOf(small.body)
    expect(colourAt(pixels, 0.2, 0.5)[3]).toBe(0)
    expectColour(colourAt(pixels, 0.8, 0.5), [200, 0, 0, 255], 2)
    expectColour(colourAt(await pixelsOf(white.body), 0.2, 0.5), [255, 255, 255], 3)
  })

  it('cannot show the files beside it', async () => {
    const root = await folder()
    const secret = join(root, 'secret.png')
    await writeFile(secret, await solid(40, 30, [200, 0, 0]).png().toBuffer())
    const hrefs = ['secret.png', './secret.png', secret, `file://${secret}`]
    const bytes = svg(hrefs.map((href) => `<image href="${href}" width="40" height="30"/>`).join(''))
    const path = join(root, 'picture.svg')
    await writeFile(path, bytes)
    // sharp alone shows it
    expect(colourAt(await pixelsOf(sharp(path)), 0.5, 0.5)[0]).toBe(200)

    const given: ProcessorInput = { contentType: 'image/svg+xml', path: async () => path, open: async () => Readable.from([bytes]) }
    const { small } = await collect<'small'>(images.process(given, stylesOf({ small: '20x' })))
    const { data } = await pixelsOf(small.body)
    expect(data.every((value) => value === 0)).toBe(true)
  })

  it('that is none is refused', async () => {
    await expect(images.identify?.(input(Buffer.from('<svg'), 'image/svg+xml'))).rejects.toMatchObject({ code: 'corrupt_image' })
  })
})

describe('what is wrong with a picture', () => {
  it('is not that its file cannot be opened', async () => {
    const gone: ProcessorInput = { ...input(await png(), 'image/png'), path: async () => join(await folder(), 'gone.png') }
    for (const work of [() => images.identify?.(gone), () => collect(images.process(gone, stylesOf({ small: '20x' })))])
      await expect(work()).rejects.toMatchObject({ code: 'ENOENT' })
  })

  const half = (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)
  const junk = Buffer.from('this is no picture at all')

  it.each([
    ['junk', 'image/jpeg', () => junk],
    ['nothing', 'image/png', () => Buffer.alloc(0)],
    ['the first bytes of a JPEG', 'image/jpeg', async () => (await jpeg()).subarray(0, 20)],
    ['the first bytes of a PNG', 'image/png', async () => (await png()).subarray(0, 20)],
  ] as const)('%s is refused by identify and by process', async (_what, contentType, bytes) => {
    const given = input(Buffer.from(await bytes()), contentType)
    for (const work of [() => images.identify?.(given), () => collect(images.process(given, stylesOf({ small: '10x' })))]) {
      await expect(work()).rejects.toThrow(RefusedFileError)
      await expect(work()).rejects.toMatchObject({ code: 'corrupt_image', retryable: false, message: expect.stringMatching(/cannot be read: ./) })
    }
  })

  it.each([
    ['a JPEG', 'image/jpeg', async () => half(await jpeg())],
    ['a PNG', 'image/png', async () => half(await png())],
    ['a WebP', 'image/webp', async () => half(await picture(400, 300).webp().toBuffer())],
    ['a progressive JPEG', 'image/jpeg', async () => half(await picture(400, 300).jpeg({ progressive: true }).toBuffer())],
    ['a JPEG with junk in its middle', 'image/jpeg', async () => ruined(await jpeg())],
  ] as const)('half of it is missing or spoilt: %s fails for good', async (_what, contentType, bytes) => {
    const making = make(await bytes(), contentType, { small: '100x', thumb: '10x10#' })
    await expect(making).rejects.toMatchObject({ code: 'corrupt_image', retryable: false })
    const error = await making.catch((error) => error)
    expect(error instanceof ProcessingError || error instanceof RefusedFileError).toBe(true)
    expect(error.cause).toBeInstanceOf(Error)
  })

  it('half of it is missing, and failOn says to take it as it is', async () => {
    const { small } = await make(half(await jpeg()), 'image/jpeg', { small: '100x' }, imageProcessor({ failOn: 'none' }))
    expect(small).toMatchObject({ width: 100, height: 75 })
  })

  it('it is another one than its content type says', async () => {
    await expect(images.identify?.(input(await png(), 'image/jpeg'))).rejects.toMatchObject({
      name: 'RefusedFileError',
      code: 'content_mismatch',
      message: expect.stringMatching(/image\/jpeg.*image\/png/),
    })
  })

  it('it has too many pixels: refused before it is decoded, by identify and by process', async () => {
    const bytes = await png(100, 80)
    const [enough, scarce] = [8000, 7999].map((maxPixels) => imageProcessor({ maxPixels }))
    expect(await enough?.identify?.(input(bytes, 'image/png'))).toMatchObject({ width: 100, height: 80 })
    expect(await make(bytes, 'image/png', { small: '200x' }, enough)).toMatchObject({ small: { width: 200 } })
    const refused = { name: 'RefusedFileError', code: 'too_many_pixels', retryable: false, message: expect.stringContaining('7999') }
    await expect(scarce?.identify?.(input(bytes, 'image/png'))).rejects.toMatchObject(refused)
    await expect(make(bytes, 'image/png', { small: '10x' }, scarce)).rejects.toMatchObject(refused)
  })

  it('its frames together have too many pixels, and a style wants them all', async () => {
    const bytes = await (await animation([solid(60, 40, [250, 0, 0]), solid(60, 40, [0, 250, 0])])).gif().toBuffer()
    const scarce = imageProcessor({ maxPixels: 60 * 40 + 1 })
    expect(await make(bytes, 'image/gif', { still: '30x' }, scarce)).toMatchObject({ still: { width: 30 } })
    await expect(make(bytes, 'image/gif', { moving: { geometry: '30x', animated: true } }, scarce)).rejects.toMatchObject({ code: 'too_many_pixels' })
  })

  it('a style that cannot be written is named', async () => {
    const making = make(await jpeg(), 'image/jpeg', { broken: { geometry: '10x', format: 'webp', output: { quality: 'best' } } })
    await expect(making).rejects.toMatchObject({ name: 'ProcessingError', message: expect.stringContaining("style 'broken'") })
  })
})

describe('output', () => {
  it('reads what sharp reads, and nothing else', () => {
    const known = ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif', 'image/tiff', 'image/svg+xml']
    expect(known.filter((type) => !images.reads(type))).toEqual([])
    expect(['image/heic', 'image/jxl', 'application/pdf', 'text/plain', 'image/*', ''].filter((type) => images.reads(type))).toEqual([])
  })

  it.each(['jpeg', 'png', 'webp', 'gif', 'avif', 'tiff'] as const)('of a %s keeps the form where none is asked for', async (format) => {
    const bytes = await picture(80, 60).toFormat(format).toBuffer()
    expect(images.formatFor?.(`image/${format}`)).toBe(format)
    expect(await images.identify?.(input(bytes, `image/${format}`))).toEqual({ contentType: `image/${format}`, width: 80, height: 60 })
    const { small } = await make(bytes, `image/${format}`, { small: '40x' })
    expect(small).toMatchObject({ contentType: `image/${format}`, width: 40, height: 30 })
    expect((await sharp(small.body).metadata()).format).toBe(format === 'avif' ? 'heif' : format)
  })

  it.each(formats)('takes the form %s', async (format) => {
    const { small } = await make(await jpeg(80, 60), 'image/jpeg', { small: { geometry: '40x', format } })
    expect(small.contentType).toBe(`image/${format.replace('jpg', 'jpeg')}`)
    expect((await sharp(small.body).metadata()).mediaType).toBe(small.contentType)
  })

  it.each(['jpeg', 'webp', 'avif'] as const)('of %s is smaller with less quality', async (format) => {
    const bytes = await photo(300, 200).jpeg({ quality: 95 }).toBuffer()
    const made = await make(bytes, 'image/jpeg', { low: { format, quality: 20 }, usual: { format }, high: { format, quality: 98 } })
    expect(made.low.body.length).toBeLessThan(made.usual.body.length)
    expect(made.usual.body.length).toBeLessThan(made.high.body.length)
  })

  it("takes sharp's own options", async () => {
    const bytes = await photo(300, 200).jpeg({ quality: 95 }).toBuffer()
    const { plain, progressive, mozjpeg, lossless, lossy } = await make(bytes, 'image/jpeg', {
      plain: {},
      progressive: { output: { progressive: true } },
      mozjpeg: { output: { mozjpeg: true } },
      lossless: { format: 'webp', output: { lossless: true } },
      lossy: { format: 'webp' },
    })
    expect(await sharp(plain.body).metadata()).toMatchObject({ isProgressive: false })
    expect(await sharp(progressive.body).metadata()).toMatchObject({ isProgressive: true })
    expect(mozjpeg.body.length).toBeLessThan(plain.body.length)
    const decoded = await pixelsOf(bytes)
    expect(psnr(await pixelsOf(lossless.body), decoded)).toBe(Number.POSITIVE_INFINITY)
    expect(psnr(await pixelsOf(lossy.body), decoded)).toBeLessThan(60)
  })
})

describe('styles that are derived from one decoding', () => {
  const geometries = ['800x800>', '300x300>', '100x100#', '50x50#', '25x25#', '640x200#', '33%', '200x300!', '20000@', 'x77', '150x150^']

  it.each([
    ['landscape', 1600, 1200, 1],
    ['portrait by its orientation', 1203, 1601, 6],
    ['panorama', 2400, 401, 1],
  ])('look like those from the full resolution: a %s', async (_what, width, height, orientation) => {
    const upright = await pixelsOf(photo(width, height))
    const stored = sharp(upright.data, { raw: { width, height, channels: 3 } }).rotate(orientation === 6 ? 270 : 0)
    const bytes = await stored.withMetadata({ orientation }).jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer()
    const styles = Object.fromEntries(geometries.map((geometry, at) => [`s${at}`, { geometry, format: 'png' as const }]))
    const made = await make(bytes, 'image/jpeg', styles)

    const full = await pixelsOf(sharp(bytes).autoOrient())
    expect([full.width, full.height]).toEqual([width, height])
    for (const { style, body } of Object.values(made)) {
      const { crop, ...size } = applyGeometry(parseGeometry(style.geometry as string), { width, height })
      const resized = sharp(full.data, { raw: { width, height, channels: 3 } }).resize(size.width, size.height, { fit: 'fill' })
      const direct = await pixelsOf(crop ? resized.extract(crop) : resized)
      expect(psnr(await pixelsOf(body), direct), `${style.geometry} in dB`).toBeGreaterThanOrEqual(40)
    }
  })

  it.each([
    [401, 300],
    [300, 401],
    [127, 125],
  ])('are cut on the pixels that a direct one is cut on, from %i × %i', async (width, height) => {
    const bytes = await photo(width, height).png().toBuffer()
    const { thumb } = await make(bytes, 'image/png', { whole: {}, thumb: '100x100#' })
    const { crop, ...size } = applyGeometry(parseGeometry('100x100#'), { width, height })
    const { left = 0, top = 0 } = crop ?? {}
    const scores = []
    for (const [dx, dy] of [
      [0, 0],
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      const at = { left: left + dx, top: top + dy, width: 100, height: 100 }
      if (at.left < 0 || at.top < 0 || at.left + 100 > size.width || at.top + 100 > size.height) continue
      const direct = sharp(bytes).resize(size.width, size.height, { fit: 'fill' }).extract(at)
      scores.push(psnr(await pixelsOf(thumb.body), await pixelsOf(direct)))
    }
    expect(scores.length).toBeGreaterThan(1)
    expect(scores[0]).toBe(Math.max(...scores))
    expect(scores[0]).toBeGreaterThanOrEqual(40)
  })

  it('are all made when whoever reads them waits for each', async () => {
    const names: string[] = []
    for await (const { style } of images.process(input(await jpeg()), stylesOf({ a: '10x', b: '20x', c: '30x' }))) {
      await setImmediate()
      names.push(style.name)
    }
    expect(names.sort()).toEqual(['a', 'b', 'c'])
  })

  it('leave nothing unhandled when one fails after whoever reads them has stopped', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => {
      process.off('unhandledRejection', unhandled)
    })
    let fail: (error: Error) => void = () => undefined
    const late = new Promise<never>((_, reject) => {
      fail = reject
    })
    const { toBuffer } = sharp.prototype
    const spy = vi.spyOn(sharp.prototype, 'toBuffer').mockImplementation(function (this: Sharp, ...given: unknown[]) {
      const { formatOut } = (this as unknown as { options: { formatOut: string } }).options
      return formatOut === 'webp' ? late : toBuffer.apply(this, given as [])
    } as typeof toBuffer)
    onTestFinished(() => spy.mockRestore())

    const names: string[] = []
    for await (const { style } of images.process(input(await jpeg()), stylesOf({ fails: { geometry: '20x', format: 'webp' }, works: '10x' }))) {
      names.push(style.name)
      break
    }
    fail(new Error('too late'))
    await setImmediate()
    await setImmediate()
    expect(names).toEqual(['works'])
    expect(unhandled).not.toHaveBeenCalled()
  })
})

describe('a chain of processors', () => {
  /** Puts its mark behind whatever it is given. */
  const marker = (mark: string, pattern: RegExp): Processor & { seen: string[] } => {
    const seen: string[] = []
    return {
      seen,
      reads: (contentType) => pattern.test(contentType),
      async *process({ contentType, open }, styles) {
        const content = await text(await open())
        for (const style of styles) {
          seen.push(`${style.name}:${contentType}`)
          yield { style, body: Buffer.from(`${content}+${mark}:${style.name}`), contentType: style.format ? `image/${style.format}` : contentType }
        }
      },
    }
  }
  const bodies = async (processor: Processor, contentType: string, styles: Record<string, StyleOptions>) =>
    Object.fromEntries(
      Object.entries(await collect(processor.process(input(Buffer.from('original'), contentType), stylesOf(styles)))).map(([name, { body }]) => [
        name,
        String(body),
      ]),
    )

  it('hands every style of the first to the second, one by one', async () => {
    const second = marker('2', /./)
    const made = await bodies(chain([marker('1', /^image/), second]), 'image/png', { a: {}, b: { format: 'webp' } })
    expect(made).toEqual({ a: 'original+1:a+2:a', b: 'original+1:b+2:b' })
    expect(second.seen).toEqual(['a:image/png', 'b:image/webp'])
  })

  it('passes over a processor that does not read the original, and one that does not read what was made', async () => {
    const [pdf, webp] = [marker('pdf', /pdf/), marker('webp', /webp/)]
    const processor = chain([pdf, marker('1', /^image/), webp, marker('gif', /gif/), marker('last', /./)])
    const made = await bodies(processor, 'image/png', { a: {}, b: { format: 'webp' } })
    expect(made).toEqual({ a: 'original+1:a+last:a', b: 'original+1:b+webp:b+last:b' })
    expect(pdf.seen).toEqual([])
    expect(webp.seen).toEqual(['b:image/webp'])
    expect(await bodies(processor, 'application/pdf', { a: {} })).toEqual({ a: 'original+pdf:a+last:a' })
  })

  it('reads what any of them reads, and makes nothing of the rest', async () => {
    const processor = chain([marker('1', /^image/), marker('2', /pdf/)])
    expect(['image/png', 'application/pdf', 'text/plain'].map((type) => processor.reads(type))).toEqual([true, true, false])
    await expect(bodies(processor, 'text/plain', { a: {} })).rejects.toMatchObject({ code: 'style_missing' })
    expect(chain([]).reads('image/png')).toBe(false)
  })

  it('identifies by the first that reads the file', async () => {
    const processor = chain([marker('pdf', /pdf/), images, marker('2', /./)])
    expect(await processor.identify?.(input(await jpeg(40, 30)))).toEqual({ contentType: 'image/jpeg', width: 40, height: 30 })
    expect(processor.formatFor?.('image/svg+xml')).toBe('png')
    expect(await processor.identify?.(input(Buffer.from('x'), 'application/pdf'))).toBeUndefined()
    expect(processor.formatFor?.('application/pdf')).toBeUndefined()
    expect(await processor.identify?.(input(Buffer.from('x'), 'text/plain'))).toBeUndefined()
  })

  it('puts a watermark on what the image processor has made', async () => {
    const watermark: Processor = {
      reads: (contentType) => contentType === 'image/png',
      async *process({ open }, styles) {
        const mark = await solid(4, 4, [0, 0, 250]).png().toBuffer()
        for (const style of styles) {
          const bytes = Buffer.concat(await (await open()).toArray())
          const { data, info } = await sharp(bytes)
            .composite([{ input: mark, left: 0, top: 0 }])
            .png()
            .toBuffer({ resolveWithObject: true })
          yield { style, body: data, contentType: 'image/png', width: info.width, height: info.height }
        }
      },
    }
    const bytes = await solid(80, 60, [250, 0, 0]).png().toBuffer()
    const made = await make(bytes, 'image/png', { marked: '40x', plain: { geometry: '40x', format: 'jpeg' } }, chain([images, watermark]))
    expect(made).toMatchObject({ marked: { width: 40, height: 30 }, plain: { contentType: 'image/jpeg' } })
    expectColour(colourAt(await pixelsOf(sharp(made.marked.body).removeAlpha()), 0.02, 0.02), [0, 0, 250], 2)
    expectColour(colourAt(await pixelsOf(made.plain.body), 0.02, 0.02), [250, 0, 0], 6)
  })

  it('fails as the one that fails, and ends them all when whoever reads it stops', async () => {
    const ended: string[] = []
    const endless = (name: string): Processor => ({
      reads: () => true,
      async *process(_, [style]) {
        try {
          for (;;) yield { style: style as Style, body: Buffer.from('x'), contentType: 'image/png' }
        } finally {
          ended.push(name)
        }
      },
    })
    for await (const _ of chain([endless('first'), endless('second')]).process(input(Buffer.from('x')), stylesOf({ a: {} }))) break
    expect(ended).toEqual(['second', 'first'])

    const error = new ProcessingError('watermark_failed', 'no')
    const failing: Processor = {
      reads: () => true,
      // biome-ignore lint/correctness/useYield: it fails before it has anything
      async *process() {
        throw error
      },
    }
    await expect(collect(chain([endless('first'), failing]).process(input(Buffer.from('x')), stylesOf({ a: {} })))).rejects.toBe(error)
  })
})

/** A JPEG whose picture data is overwritten in the middle, with an end. */
function ruined(bytes: Buffer): Buffer {
  const spoilt = Buffer.from(bytes)
  spoilt.fill(Buffer.from('ffc0ff01', 'hex'), Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 400)
  return spoilt
}
