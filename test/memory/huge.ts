import { join } from 'node:path'
import sharp, { type Sharp } from 'sharp'
import { photo } from '../support/pictures'

/** Pictures of so many pixels as files, in every form that matters to whoever decodes them. Gives their paths. */
export async function hugePictures(folder: string, width: number, height: number, only?: readonly string[]): Promise<Record<string, string>> {
  const small = await photo(width / 10, height / 10)
    .png()
    .toBuffer()
  const huge = () => sharp(small).resize(width, height)
  const forms: Record<string, (picture: Sharp) => Sharp> = {
    'photo.jpg': (picture) => picture.jpeg({ quality: 90 }),
    'turned.jpg': (picture) => picture.withMetadata({ orientation: 6 }).jpeg({ quality: 90 }),
    'progressive.jpg': (picture) => picture.jpeg({ quality: 90, progressive: true }),
    'progressive-444.jpg': (picture) => picture.jpeg({ progressive: true, chromaSubsampling: '4:4:4' }),
    'progressive-cmyk.jpg': (picture) => picture.toColourspace('cmyk').jpeg({ progressive: true, chromaSubsampling: '4:4:4' }),
    'photo.png': (picture) => picture.png({ compressionLevel: 1 }),
    'turned.png': (picture) => picture.withMetadata({ orientation: 6 }).png({ compressionLevel: 1 }),
    'deep.png': (picture) => picture.toColourspace('rgb16').png({ compressionLevel: 1 }),
    'interlaced.png': (picture) => picture.png({ compressionLevel: 1, progressive: true }),
    'photo.webp': (picture) => picture.webp({ effort: 0 }),
    'transparent.webp': (picture) => picture.ensureAlpha(0.5).webp({ effort: 0 }),
    'lossless.webp': (picture) => picture.webp({ lossless: true, effort: 0 }),
    'photo.gif': (picture) => picture.gif({ effort: 1, dither: 0 }),
    'photo.tiff': (picture) => picture.tiff({ compression: 'lzw' }),
    'photo.avif': (picture) => picture.avif({ effort: 0 }),
    'deep.avif': (picture) => picture.avif({ effort: 0, bitdepth: 10 }),
  }
  const made: Record<string, string> = {}
  for (const [name, write] of Object.entries(forms)) {
    if (only && !only.includes(name)) continue
    made[name] = join(folder, name)
    await write(huge()).toFile(made[name] as string)
  }
  return made
}
