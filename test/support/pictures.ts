import sharp, { type Sharp } from 'sharp'

/** A picture with something to see in it: noise over a gradient, so that codecs have work and sizes differ. */
export function picture(width: number, height: number, channels: 3 | 4 = 3): Sharp {
  const pixels = Buffer.alloc(width * height * channels)
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      pixels[at++] = (x * 255) / width
      pixels[at++] = (y * 255) / height
      pixels[at++] = ((x ^ y) & 63) * 4
      if (channels === 4) pixels[at++] = x > width / 2 ? 255 : 40
    }
  }
  return sharp(pixels, { raw: { width, height, channels } })
}

export const jpeg = (width = 400, height = 300) => picture(width, height).jpeg().toBuffer()
export const png = (width = 400, height = 300) => picture(width, height).png().toBuffer()

/** Soft light, edges and grain, as a camera makes them: what resizing can be judged by. The same every time. */
export function photo(width: number, height: number): Sharp {
  const pixels = Buffer.alloc(width * height * 3)
  let grain = 1
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [x / width, y / height]
      const light = 120 + 60 * Math.sin(3 * u + 2 * v) + 25 * Math.sin(17 * u - 11 * v) + 10 * Math.sin(60 * u * v + 23 * v)
      const subject = (u - 0.6) ** 2 + (v - 0.45) ** 2 < 0.05 ? 40 : 0
      const horizon = v > 0.7 + 0.03 * Math.sin(40 * u) ? -50 : 0
      grain = (grain * 1_103_515_245 + 12_345) % 2 ** 31
      const value = light + subject + horizon + (grain / 2 ** 31 - 0.5) * 12
      for (const shift of [15 * v, 0, -25 * u]) pixels[at++] = Math.max(0, Math.min(255, value + shift))
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
}

export type Colour = [red: number, green: number, blue: number]

/** The colours of `corners()`: top left, top right, bottom left, bottom right. */
export const cornerColours: readonly [Colour, Colour, Colour, Colour] = [
  [220, 30, 30],
  [30, 180, 30],
  [30, 30, 220],
  [240, 220, 40],
]

/** Where the first row and the first column of the file lie in the picture as it is looked at: EXIF 2.3, tag 0x0112. */
const orientations: Readonly<Record<number, (row: number, column: number, width: number, height: number) => [x: number, y: number]>> = {
  1: (row, column) => [column, row],
  2: (row, column, width) => [width - 1 - column, row],
  3: (row, column, width, height) => [width - 1 - column, height - 1 - row],
  4: (row, column, _, height) => [column, height - 1 - row],
  5: (row, column) => [row, column],
  6: (row, column, width) => [width - 1 - row, column],
  7: (row, column, width, height) => [width - 1 - row, height - 1 - column],
  8: (row, column, _, height) => [row, height - 1 - column],
}

/** Four rectangles, stored so that a viewer who minds the EXIF orientation sees them upright, `width` × `height`. */
export function corners(width: number, height: number, orientation = 1): Sharp {
  const [columns, rows] = orientation > 4 ? [height, width] : [width, height]
  const pixels = Buffer.alloc(width * height * 3)
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [x, y] = orientations[orientation]?.(row, column, width, height) ?? [0, 0]
      const colour = cornerColours[(y < height / 2 ? 0 : 2) + (x < width / 2 ? 0 : 1)] as Colour
      for (const value of colour) pixels[at++] = value
    }
  }
  return sharp(pixels, { raw: { width: columns, height: rows, channels: 3 } }).withMetadata({ orientation })
}

/** One picture per frame, ready to be written as an animated GIF or WebP. */
export async function animation(frames: readonly Sharp[]): Promise<Sharp> {
  return sharp(await Promise.all(frames.map((frame) => frame.png().toBuffer())), { join: { animated: true } })
}

/** A JPEG with one more segment right after its start. */
export function withSegment(bytes: Buffer, marker: number, body: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, (body.length + 2) >> 8, (body.length + 2) & 0xff])
  return Buffer.concat([bytes.subarray(0, 2), head, body, bytes.subarray(2)])
}
