import { lookup } from 'mime-types'
import type { Metadata, Sharp, SharpOptions } from 'sharp'
import { messageOf, ProcessingError, RefusedFileError } from '../errors'
import { headLength } from '../file/measure'
import { applyGeometry, type Fit, parseGeometry, type Size } from '../style/geometry'
import type { Format, Style } from '../style/style'
import { memoryFor, pictureRoom } from './memory'
import { type Original, openOriginal } from './original'
import type { Identified, Made, Processor, ProcessorInput } from './processor'
import { type Pixels, thumbhashOf } from './thumbhash'

export interface ImageProcessorOptions {
  /** Pictures of more pixels are refused before they are decoded. Default 268,402,689 (16,383 squared), which is sharp's. */
  maxPixels?: number
  /** How damaged a picture must be to fail: sharp's `failOn`. Default `'warning'`, which is sharp's too. */
  failOn?: 'none' | 'truncated' | 'error' | 'warning'
}

/** What the prebuilt sharp reads, and the form in which its styles are written when none is declared. */
const readable: Readonly<Record<string, Format>> = {
  'image/jpeg': 'jpeg',
  'image/png': 'png',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/avif': 'avif',
  'image/tiff': 'tiff',
  'image/svg+xml': 'png',
}

/** How many pixels a picture may be enlarged to. */
const mostEnlarged = 50_000_000

/** Forms that hold an animation; in any other, its frames would lie one below the other. */
const moves = (format: Format | undefined) => format === 'gif' || format === 'webp'

interface Picture {
  readonly source: Original['source']
  readonly metadata: Metadata
  readonly options: SharpOptions
  readonly contentType: string
}

/**
 * Makes picture styles with sharp: upright by their EXIF orientation, in sRGB, without metadata. The original is
 * decoded once, to the size of the largest style; the others come from those pixels.
 */
export function imageProcessor({ maxPixels = 0x3fff * 0x3fff, failOn = 'warning' }: ImageProcessorOptions = {}): Processor {
  const options: SharpOptions = { limitInputPixels: maxPixels, failOn, sequentialRead: true }

  return {
    reads: (contentType) => contentType in readable,
    formatFor: (contentType) => readable[contentType],

    async identify(input) {
      const metadata = await identified(input, options)
      const { width, height } = metadata.autoOrient
      const contentType = typeOf(metadata)
      if (contentType !== input.contentType) {
        throw new RefusedFileError('content_mismatch', `the file begins as ${input.contentType}, but its picture reads as ${contentType}`)
      }
      if (width * height > maxPixels) {
        throw new RefusedFileError('too_many_pixels', `the picture has ${width} × ${height} pixels, more than the ${maxPixels} that are accepted`)
      }
      return { contentType, width, height } satisfies Identified
    },

    async *process(input, styles) {
      const { contentType } = input
      const { source, close } = await openOriginal(input)
      try {
        const metadata = await describe(source, options)
        const picture = { source, metadata, options, contentType }
        // frames are not turned upright, so an animation that would have to be becomes a still picture
        const animation = (metadata.pages ?? 1) > 1 && (metadata.orientation ?? 1) === 1
        const moving = animation ? styles.filter((style) => style.animated && moves(style.format ?? readable[contentType])) : []
        const still = styles.filter((style) => !moving.includes(style))
        const looks = moving.length > 0 && still.length === 0 ? firstFrame(picture).then(thumbhashOf, () => undefined) : undefined
        yield* asTheyCome(new Map(moving.map((style) => [style, looking(animate(picture, style), looks)])))
        if (still.length > 0) yield* asTheyCome(await derive(picture, still))
      } finally {
        await close()
      }
    },
  }
}

/** Forms that say at their beginning how large the picture is, and which side is up (PNG: third edition, 5.6). WebP says that at its end. */
const toldByHead = ['image/jpeg', 'image/png', 'image/gif']

/** By its beginning where that may be enough, while the rest is still on its way. */
async function identified(input: ProcessorInput, options: SharpOptions): Promise<Metadata> {
  const { head, contentType } = input
  if (head && (head.length < headLength || toldByHead.includes(contentType))) {
    const metadata = await describe(Buffer.from(head), options).catch(() => undefined)
    if (metadata) return metadata
  }
  const { source, close } = await openOriginal(input)
  return describe(source, options).finally(close)
}

/** Yields each style as soon as it exists. */
async function* asTheyCome(pending: Map<Style, Promise<Made>>): AsyncIterable<Made> {
  while (pending.size > 0) {
    const made = await Promise.race(pending.values())
    pending.delete(made.style)
    yield made
  }
}

/** Decodes once to the smallest size that every style can come from, and begins to make them. */
async function derive({ source, metadata, options, contentType }: Picture, styles: readonly Style[]): Promise<Map<Style, Promise<Made>>> {
  const sharp = await loadSharp()
  const size = metadata.autoOrient
  const plans = styles.map((style) => planOf(style, size, contentType))
  // a drawing is sharp at any size, so it is drawn as large as it is wanted
  const most = contentType === 'image/svg+xml' ? { width: Infinity, height: Infinity } : size
  const width = Math.min(most.width, Math.max(...plans.map(({ target }) => target.width)))
  const height = Math.min(most.height, Math.max(...plans.map(({ target }) => target.height)))
  const pending = new Map<Style, Promise<Made>>()
  const leave = await pictureRoom().enter(memoryFor(metadata, 1, { width, height }, plans))
  try {
    const decoded = await reading(() =>
      sharp(source, options).autoOrient().resize(width, height, { fit: 'fill' }).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true }),
    )
    const raw = { width, height, channels: decoded.info.channels }
    const written = plans.map((plan) => write(sharp(decoded.data, { raw, limitInputPixels: false }), plan, raw))
    const looks = thumbhashOf({ ...raw, data: decoded.data })
    for (const [at, { style }] of plans.entries()) pending.set(style, looking(written[at] as Promise<Made>, looks))
    return pending
  } finally {
    // the memory is taken until the last style is made, whether or not anybody still waits for it
    Promise.allSettled(pending.values()).then(leave)
  }
}

/** How a style is to be made: its form, its size, and what is cut out of it. */
interface Plan {
  readonly style: Style
  readonly format: Format
  readonly target: Fit
}

function planOf(style: Style, size: Size, contentType: string): Plan {
  return { style, format: style.format ?? readable[contentType] ?? 'png', target: targetOf(style, size) }
}

async function write(pixels: Sharp, plan: Plan, from: Size): Promise<Made> {
  const { width, height, crop } = plan.target
  const resized = width === from.width && height === from.height ? pixels : pixels.resize(width, height, { fit: 'fill' })
  return encode(crop ? resized.extract(crop) : resized, plan)
}

/** Decoded frames lose where one ends and the next begins, so each style of an animation is read by itself. */
async function animate({ source, metadata, options, contentType }: Picture, style: Style): Promise<Made> {
  const sharp = await loadSharp()
  const plan = planOf(style, metadata.autoOrient, contentType)
  const leave = await pictureRoom().enter(memoryFor(metadata, metadata.pages ?? 1, plan.target, [plan]))
  try {
    return await write(sharp(source, { ...options, animated: true }), plan, metadata.autoOrient)
  } finally {
    leave()
  }
}

/** For an animation all of whose styles move: a few pixels of what it begins with. */
async function firstFrame({ source, metadata, options }: Picture): Promise<Pixels> {
  const sharp = await loadSharp()
  const size = { width: 100, height: 100 }
  const leave = await pictureRoom().enter(memoryFor(metadata, 1, size, []))
  try {
    const frame = sharp(source, options)
      .resize({ ...size, fit: 'inside', withoutEnlargement: true })
      .toColourspace('srgb')
    const { data, info } = await frame.raw().toBuffer({ resolveWithObject: true })
    return { data, width: info.width, height: info.height, channels: info.channels }
  } finally {
    leave()
  }
}

async function looking(making: Promise<Made>, looks: Uint8Array | Promise<Uint8Array | undefined> | undefined): Promise<Made> {
  const made = await making
  const thumbhash = await looks
  return thumbhash ? { ...made, thumbhash } : made
}

async function encode(pixels: Sharp, { style, format: declared }: Plan): Promise<Made> {
  const format = declared === 'jpg' ? 'jpeg' : declared
  const jpegTiff = format === 'tiff' && style.output?.['compression'] === 'jpeg'
  const opaque = format === 'jpeg' || jpegTiff ? pixels.flatten({ background: style.background ?? '#fff' }) : pixels
  const output = { ...(format === 'tiff' && { compression: 'lzw' }), ...(style.quality !== undefined && { quality: style.quality }), ...style.output }
  const { data, info } = await reading(() => opaque.toFormat(format, output).toBuffer({ resolveWithObject: true }), `style '${style.name}'`)
  return { style, body: data, contentType: `image/${format}`, width: info.width, height: info.pageHeight ?? info.height }
}

function targetOf(style: Style, size: Size): Fit {
  const target = style.geometry === undefined ? size : applyGeometry(parseGeometry(style.geometry), size)
  // a thin strip made wide would keep a processor busy for minutes
  if (target.width * target.height > Math.max(mostEnlarged, size.width * size.height)) {
    const what = `style '${style.name}' of a picture of ${size.width} × ${size.height} pixels would have ${target.width} × ${target.height}`
    throw new ProcessingError('too_many_pixels', `${what}: put '>' after its geometry, which then never enlarges`)
  }
  return target
}

async function describe(source: Original['source'], options: SharpOptions): Promise<Metadata> {
  const sharp = await loadSharp()
  try {
    return await sharp(source, options).metadata()
  } catch (error) {
    if (/pixel limit/.test(messageOf(error))) {
      throw new RefusedFileError('too_many_pixels', `the picture has more pixels than the ${options.limitInputPixels} that are accepted`, {
        cause: error,
      })
    }
    throw new RefusedFileError('corrupt_image', `the picture cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

function typeOf({ format, compression }: Metadata): string {
  if (format === 'heif') return compression === 'av1' ? 'image/avif' : 'image/heic'
  return lookup(format ?? '') || `image/${format}`
}

async function reading<T>(work: () => Promise<T>, what = 'the picture'): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const message = messageOf(error)
    if (/pixel limit/.test(message))
      throw new ProcessingError('too_many_pixels', `${what} has more pixels than are accepted: ${message}`, { cause: error })
    // libvips reports these when the machine ran short, not the picture
    if (/out of memory|No space left|temp/i.test(message)) throw error
    throw new ProcessingError('corrupt_image', `${what} cannot be made: ${message}`, { cause: error })
  }
}

/** sharp is loaded when a picture comes, not when the library is: a web process that only saves PDFs never pays for it. */
async function loadSharp() {
  const { default: sharp } = await import('sharp')
  return sharp
}
