import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import sharp, { type FormatEnum } from 'sharp'
import type { Style } from '../../src'
import { applyGeometry, type Fit, parseGeometry } from '../../src/style/geometry'
import type { Original } from './pictures'

const run = promisify(execFile)

/** What is asked for, in words that each of the peers understands. */
export interface Wanted {
  readonly original: Original
  readonly styles: readonly Style[]
  readonly format: 'jpeg' | 'webp' | 'avif' | 'gif'
  readonly animated: boolean
  /** Where a program may write. */
  readonly folder: string
}

/** Of the program's styles that are made with it; undefined where it is not installed. */
export type Peer = (wanted: Wanted) => Promise<unknown>

function fitOf({ geometry }: Style, size: { width: number; height: number }): Fit {
  return applyGeometry(parseGeometry(geometry as string), size)
}

async function sizeOf({ path }: Original): Promise<{ width: number; height: number }> {
  return (await sharp(path).metadata()).autoOrient
}

function resized({ original, animated }: Wanted, { width, height, crop }: Fit) {
  const decoded = sharp(original.path, { animated, sequentialRead: true }).autoOrient()
  return crop ? decoded.resize(crop.width, crop.height, { fit: 'cover' }) : decoded.resize(width, height, { fit: 'fill' })
}

async function oneStyle(wanted: Wanted, style: Style, size: { width: number; height: number }): Promise<Buffer> {
  const pixels = resized(wanted, fitOf(style, size))
  return (wanted.format === 'jpeg' ? pixels.flatten({ background: '#fff' }) : pixels).toFormat(wanted.format as keyof FormatEnum).toBuffer()
}

/** sharp, one style after the other. */
export async function oneByOne(wanted: Wanted): Promise<void> {
  const size = await sizeOf(wanted.original)
  for (const style of wanted.styles) await oneStyle(wanted, style, size)
}

/** sharp, all styles at the same time. */
export async function allAtOnce(wanted: Wanted): Promise<void> {
  const size = await sizeOf(wanted.original)
  await Promise.all(wanted.styles.map((style) => oneStyle(wanted, style, size)))
}

/** One `vipsthumbnail` for each style. */
export async function vipsthumbnail({ original, styles, format, animated, folder }: Wanted): Promise<void> {
  for (const { name, geometry = '' } of styles) {
    const [, box = '', crop] = /^(.*?)(#?)$/.exec(geometry) ?? []
    const input = animated ? `${original.path}[n=-1]` : original.path
    await run('vipsthumbnail', [input, '--size', box, ...(crop ? ['--smartcrop', 'centre'] : []), '-o', `${folder}/${name}.${format}[strip]`])
  }
}

/** One `convert` for each style, with the arguments that Paperclip gives it. */
export async function imageMagick({ original, styles, format, animated, folder }: Wanted): Promise<void> {
  const size = await sizeOf(original)
  for (const style of styles) {
    const { width, height, crop } = fitOf(style, size)
    const cut = crop ? ['-crop', `${crop.width}x${crop.height}+${crop.left}+${crop.top}`, '+repage'] : []
    const input = animated ? [original.path, '-coalesce'] : [`${original.path}[0]`]
    await run('convert', [...input, '-auto-orient', '-resize', `${width}x${height}!`, ...cut, '-strip', `${folder}/${style.name}.${format}`])
  }
}

/**
 * Nothing that can be left out: the original is decoded once, to the size of the largest style, and each style is encoded once, from
 * pixels of its own size that are there already.
 */
export async function floorOf(wanted: Wanted): Promise<() => Promise<void>> {
  const { original, styles, format, animated } = wanted
  const size = await sizeOf(original)
  const fits = styles.map((style) => fitOf(style, size))
  const [width, height] = [Math.max(...fits.map((fit) => fit.width)), Math.max(...fits.map((fit) => fit.height))]
  const ready = await Promise.all(
    fits.map(async (fit) => {
      const { data, info } = await resized(wanted, fit).raw().toBuffer({ resolveWithObject: true })
      const { width, height, channels, pageHeight } = info
      return { data, raw: { width, height, channels, ...(animated && { pageHeight }) } }
    }),
  )
  return async () => {
    await sharp(original.path, { animated, sequentialRead: true }).autoOrient().resize(width, height, { fit: 'fill' }).raw().toBuffer()
    await Promise.all(
      ready.map(({ data, raw }) => {
        const pixels = sharp(data, { raw })
        return (format === 'jpeg' ? pixels.flatten({ background: '#fff' }) : pixels).toFormat(format as keyof FormatEnum).toBuffer()
      }),
    )
  }
}

/** Whether a peer is installed, and can write the form. */
export async function works(peer: Peer, wanted: Wanted): Promise<boolean> {
  return peer(wanted).then(
    () => true,
    () => false,
  )
}
