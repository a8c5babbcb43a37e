import { rgbaToThumbHash, thumbHashToRGBA } from 'thumbhash'
import type { Size } from '../style/geometry'

/** Decoded pixels, row by row. */
export interface Pixels extends Size {
  readonly data: Uint8Array
  /** Red, green and blue, and alpha where there are four. */
  readonly channels: number
}

/** A thumbhash has seven waves at most: more pixels say no more. */
const side = 32
/** Fewer cannot carry them: a line, or a picture of a few pixels, would get colours that it does not have. */
const least = 8
/** So many are looked at, in each direction, for one of those. */
const looks = 4

/** What a picture looks like, in about 25 bytes. Looks at a few thousand pixels, so that a large picture costs no more than a small one. */
export function thumbhashOf({ data, channels, ...from }: Pixels): Uint8Array {
  const scale = Math.min(1, side / Math.max(from.width, from.height))
  const width = Math.max(least, Math.round(from.width * scale))
  const height = Math.max(least, Math.round(from.height * scale))
  const few = new Uint8Array(width * height * 4)
  for (let at = 0; at < width * height; at++) {
    let [red, green, blue, opacity] = [0, 0, 0, 0]
    for (let look = 0; look < looks * looks; look++) {
      const x = Math.floor((((at % width) + ((look % looks) + 0.5) / looks) * from.width) / width)
      const y = Math.floor(((Math.floor(at / width) + (Math.floor(look / looks) + 0.5) / looks) * from.height) / height)
      const pixel = (y * from.width + x) * channels
      // what nobody sees has a colour, too, and must not tinge the rest
      const alpha = channels === 4 ? (data[pixel + 3] as number) : 255
      red += (data[pixel] as number) * alpha
      green += (data[pixel + 1] as number) * alpha
      blue += (data[pixel + 2] as number) * alpha
      opacity += alpha
    }
    const seen = opacity || 1
    few.set([red / seen, green / seen, blue / seen, opacity / looks ** 2].map(Math.round), at * 4)
  }
  return rgbaToThumbHash(width, height, few)
}

/** Whether nothing shows through the picture. */
export function isOpaque(thumbhash: Uint8Array): boolean {
  return ((thumbhash[2] ?? 0) & 0x80) === 0
}

/** The picture of a thumbhash, in pixels with alpha. Its shape is near that of the original, and no more. */
export function pixelsOf(thumbhash: Uint8Array): Pixels {
  const { w, h, rgba } = thumbHashToRGBA(thumbhash)
  return { width: w, height: h, data: rgba, channels: 4 }
}
