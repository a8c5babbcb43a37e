import { crc32, deflateSync } from 'node:zlib'
import { isOpaque, type Pixels, pixelsOf } from '../processor/thumbhash'
import type { Size } from '../style/geometry'

/** Pixels of the longer side: as many as show all of a thumbhash, and give the usual shapes exactly. */
const sides = { least: 16, most: 24 }

/** A data URL that is shown until a picture is there: what it looks like, or at first its shape alone. */
export function placeholderUrl(size: Size, thumbhash: Uint8Array | undefined): string {
  return thumbhash ? `data:image/png;base64,${png(resized(pixelsOf(thumbhash), shapeOf(size)), isOpaque(thumbhash)).toString('base64')}` : plain(size)
}

/** In a neutral grey. */
function plain({ width, height }: Size): string {
  const svg = `<svg xmlns='http://www.w3.org/2000/svg' width='${width}' height='${height}'><rect width='100%' height='100%' fill='#ddd'/></svg>`
  return `data:image/svg+xml,${svg.replace(/[<>#%]/g, encodeURIComponent)}`
}

/** The few pixels that are nearest to a shape. */
function shapeOf({ width, height }: Size): Size {
  const ratio = Math.max(width, height) / Math.min(width, height)
  let [longer, shorter] = [1, 1]
  let nearest = Number.POSITIVE_INFINITY
  for (let side = sides.most; side >= sides.least; side--) {
    const other = Math.max(1, Math.round(side / ratio))
    const off = Math.abs(side / other / ratio - 1)
    if (off >= nearest) continue
    nearest = off
    longer = side
    shorter = other
  }
  return width >= height ? { width: longer, height: shorter } : { width: shorter, height: longer }
}

function resized({ data, channels, ...from }: Pixels, { width, height }: Size): Pixels {
  const pixels = new Uint8Array(width * height * channels)
  for (let at = 0; at < width * height; at++) {
    const x = Math.floor((((at % width) + 0.5) * from.width) / width)
    const y = Math.floor(((Math.floor(at / width) + 0.5) * from.height) / height)
    const pixel = (y * from.width + x) * channels
    pixels.set(data.subarray(pixel, pixel + channels), at * channels)
  }
  return { data: pixels, width, height, channels }
}

/** As PNG, third edition, says; each byte as its difference from the pixel before, which makes gradients small (9.2). */
function png({ data, width, height, channels }: Pixels, opaque: boolean): Buffer {
  const kept = opaque ? 3 : 4
  const rows = Buffer.alloc(height * (1 + width * kept))
  for (let y = 0, at = 0; y < height; y++) {
    rows[at++] = 1
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < kept; channel++) {
        const here = (y * width + x) * channels + channel
        rows[at++] = (data[here] as number) - (x > 0 ? (data[here - channels] as number) : 0)
      }
    }
  }
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, height, 8, opaque ? 2 : 6, 0, 0, 0])
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(data.length, 0)
  body.copy(framed, 4)
  framed.writeUInt32BE(crc32(body), body.length + 4)
  return framed
}
