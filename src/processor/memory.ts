import { totalmem } from 'node:os'
import type { Metadata } from 'sharp'
import { type Room, roomFor } from '../room'
import type { Size } from '../style/geometry'
import type { Format, Style } from '../style/style'

// Bytes for each pixel at the peak, rounded up from what `npm run memory:pixels` measures.

/** Of the original, by what it is read as. Some decoders need a few lines at a time, others the whole picture. */
const toRead: Readonly<Record<string, number>> = { jpeg: 0.5, png: 2, webp: 6, gif: 6, heif: 25, tiff: 4, svg: 0 }
/** Of the original, and for each of its channels, when it was written to appear bit by bit: then all of it is held. */
const toReadProgressive = 2
/** Of the picture that the styles come from: its pixels, and a second time where they are turned upright. */
const toHold = 8
/** Of each style. */
const toWrite: Readonly<Record<Format, number>> = { jpg: 13, jpeg: 13, png: 7, webp: 6, gif: 14, avif: 35, tiff: 2 }
const toWriteLossless = 30

/** What making these styles of one picture takes at its peak. Bytes. */
export function memoryFor(
  original: Metadata,
  frames: number,
  decoded: Size,
  styles: ReadonlyArray<{ format: Format; style: Style; target: Size }>,
): number {
  const { width, height, format, isProgressive, channels } = original
  const reading = (toRead[format] ?? toHold) + (isProgressive ? toReadProgressive * channels : 0)
  const writing = styles.map(({ format, style, target }) => {
    const lossless = format === 'webp' && (style.output?.['lossless'] || style.output?.['nearLossless'])
    return pixels(target) * frames * (lossless ? toWriteLossless : toWrite[format])
  })
  return [pixels({ width, height }) * frames * reading, pixels(decoded) * frames * toHold, ...writing].reduce((sum, bytes) => sum + bytes)
}

const pixels = ({ width, height }: Size) => width * height

/**
 * What pictures may take of the memory: a quarter of it where the process has a limit (its cgroup's), since Node and what is on
 * its way to a storage need the rest; an eighth of a machine, where there are others. Bytes.
 */
export function memoryForPictures(limit: number | undefined, machine: number): number {
  return limit !== undefined && limit > 0 && limit < machine ? limit / 4 : machine / 8
}

let room: Room | undefined

/** Where every picture of this process is made, in bytes. */
export function pictureRoom(): Room {
  room ??= roomFor(memoryForPictures(process.constrainedMemory(), totalmem()))
  return room
}
