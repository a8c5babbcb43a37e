import { createHash } from 'node:crypto'
import sharp from 'sharp'
import type { Random } from './random'

/** Above what goes to S3 in one request. Bytes. */
const bigSize = 9 * 1024 * 1024

const made = new Map<string, Promise<Buffer>>()

/**
 * A file by its label, the same in every process: `red`, `blue` … are small pictures, `big…` more bytes than S3 is sent
 * at once.
 */
export function bytesOf(label: string): Promise<Buffer> {
  const known = made.get(label)
  if (known) return known
  const bytes = label.startsWith('big') ? Promise.resolve(noise(label, bigSize)) : smallPicture(label)
  made.set(label, bytes)
  return bytes
}

export async function fingerprintOf(label: string): Promise<string> {
  return sha256(await bytesOf(label))
}

/** Of a file that is called by its label. */
export function labelOf(fileName: string | null): string {
  return fileName?.replace(/\.\w+$/, '') ?? ''
}

/** A file that nobody has seen before. One text of fifty is more than S3 is sent at once. */
export async function freshBytes(random: Random, kind: 'picture' | 'text'): Promise<Buffer> {
  const label = `fresh ${random()} ${random()}`
  if (kind === 'picture') return smallPicture(label)
  return noise(label, random() < 0.02 ? bigSize : 2_000 + Math.floor(random() * 20_000))
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function smallPicture(label: string): Promise<Buffer> {
  const [width, height] = [60, 40]
  return sharp(noise(label, width * height * 3), { raw: { width, height, channels: 3 } })
    .jpeg()
    .toBuffer()
}

/** A block of its own for each label, over and over, and numbered: no two stretches are alike. */
function noise(label: string, size: number): Buffer {
  const block = Buffer.concat(Array.from({ length: 32 }, (_, at) => createHash('sha256').update(`${label} ${at}`).digest()))
  const bytes = Buffer.alloc(size, block)
  for (let at = 0; at + 4 <= size; at += block.length) bytes.writeUInt32LE(at, at)
  return bytes
}
