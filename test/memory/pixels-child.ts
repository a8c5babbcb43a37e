import sharp from 'sharp'
import type { Format } from '../../src'
import { memoryHeld } from './peak'

// started by pixels.ts: by how many bytes for each pixel the process grew when it decoded a picture, or encoded one

export interface Measure {
  readonly path: string
  /** To be decoded to this size. */
  readonly width: number
  readonly height: number
  /** To be encoded from those pixels: then that is measured. */
  readonly format?: Format
  readonly output?: object
}

async function main({ path, width, height, format, output }: Measure): Promise<void> {
  const decode = () => sharp(path, { limitInputPixels: false, sequentialRead: true }).autoOrient().resize(width, height, { fit: 'fill' })
  if (format === undefined) {
    const { width: sourceWidth, height: sourceHeight } = await sharp(path).metadata()
    const { now } = memoryHeld()
    await decode().toColourspace('srgb').raw().toBuffer()
    console.log(((memoryHeld().peak - now) / (sourceWidth * sourceHeight)).toFixed(1))
    return
  }
  const pixels = await decode().raw().toBuffer()
  const { now } = memoryHeld()
  await sharp(pixels, { raw: { width, height, channels: 3 } })
    .toFormat(format === 'jpg' ? 'jpeg' : format, output)
    .toBuffer()
  console.log(((memoryHeld().peak - now) / (width * height)).toFixed(1))
}

main(JSON.parse(process.argv[2] as string))
