import { lookup } from 'mime-types'
import type { Metadata, Sharp, SharpOptions } from 'sharp'
import { messageOf, ProcessingError, RefusedFileError } from '../errors'
import { applyGeometry, type Fit, parseGeometry, type Size } from '../style/geometry'
import type { Format, Style } from '../style/style'
import type { Identified, Made, Processor, ProcessorInput } from './processor'

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

type Input = string | Buffer

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
      const source = await inputOf(input)
      const metadata = await describe(source, options)
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
      const source = await inputOf(input)
      const metadata = await describe(source, options)
      const size = metadata.autoOrient
      // frames are not turned upright, so an animation that would have to be becomes a still picture
      const animation = (metadata.pages ?? 1) > 1 && (metadata.orientation ?? 1) === 1
      const moving = animation ? styles.filter((style) => style.animated && moves(style.format ?? readable[input.contentType])) : []
      const still = styles.filter((style) => !moving.includes(style))
      for (const style of moving) yield await animate(source, style, size, options, input)
      if (still.length > 0) yield* derive(source, still, size, options, input)
    },
  }
}

/** Decodes once to the smallest size that every style can come from, and makes each from those pixels. */
async function* derive(source: Input, styles: readonly Style[], size: Size, options: SharpOptions, input: ProcessorInput): AsyncIterable<Made> {
  const sharp = await loadSharp()
  const plans = styles.map((style) => ({ style, target: targetOf(style, size) }))
  // a drawing is sharp at any size, so it is drawn as large as it is wanted
  const most = input.contentType === 'image/svg+xml' ? { width: Infinity, height: Infinity } : size
  const width = Math.min(most.width, Math.max(...plans.map(({ target }) => target.width)))
  const height = Math.min(most.height, Math.max(...plans.map(({ target }) => target.height)))
  const decoded = await reading(() =>
    sharp(source, options).autoOrient().resize(width, height, { fit: 'fill' }).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true }),
  )
  const raw = { width, height, channels: decoded.info.channels }
  const pending = new Map(
    plans.map(({ style, target }) => [style, write(sharp(decoded.data, { raw, limitInputPixels: false }), style, target, raw, input)]),
  )
  // whoever stops early leaves writes behind that nobody awaits
  for (const made of pending.values()) made.catch(() => undefined)
  while (pending.size > 0) {
    const made = await Promise.race(pending.values())
    pending.delete(made.style)
    yield made
  }
}

async function write(pixels: Sharp, style: Style, target: Fit, from: Size, input: ProcessorInput): Promise<Made> {
  const resized = target.width === from.width && target.height === from.height ? pixels : pixels.resize(target.width, target.height, { fit: 'fill' })
  return encode(target.crop ? resized.extract(target.crop) : resized, style, input)
}

/** Frames cannot be cut out of a decoded strip, so an animation is read and resized by itself. */
async function animate(source: Input, style: Style, size: Size, options: SharpOptions, input: ProcessorInput): Promise<Made> {
  const sharp = await loadSharp()
  const { crop, ...target } = targetOf(style, size)
  const resized = sharp(source, { ...options, animated: true }).resize(target.width, target.height, { fit: 'fill' })
  if (!crop) return encode(resized, style, input)
  const whole = await reading(() => resized.webp({ lossless: true, effort: 0 }).toBuffer())
  return encode(sharp(whole, { ...options, animated: true }).extract(crop), style, input)
}

async function encode(pixels: Sharp, style: Style, input: ProcessorInput): Promise<Made> {
  const declared = style.format ?? readable[input.contentType] ?? 'png'
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

/** An SVG given by path could read the files beside it; given as bytes it cannot. */
async function inputOf({ contentType, path, open }: ProcessorInput): Promise<Input> {
  return path !== undefined && contentType !== 'image/svg+xml' ? path : Buffer.concat(await (await open()).toArray())
}

async function describe(source: Input, options: SharpOptions): Promise<Metadata> {
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
