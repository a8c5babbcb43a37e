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
