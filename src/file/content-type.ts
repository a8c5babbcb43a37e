import { fileTypeFromBuffer } from 'file-type'
import { lookup } from 'mime-types'

const unknown = 'application/octet-stream'

/** Types that are written down as text, of which no magic number tells: here the name has to. */
const textual = /^text\/|[/+](json|xml|yaml|javascript|x-ndjson|sql|rtf)$/

/**
 * The content type by what the bytes say. Text without any mark of its own (CSV, JSON …) takes the type that `hint`,
 * or else its file name, gives it, if that is a type of text; whatever else cannot be told is `application/octet-stream`.
 *
 * @param head the file's beginning, 4 KiB or more where there is so much
 * @param hint what the developer says it is; never what a client says
 */
export async function contentTypeOf(head: Uint8Array, fileName: string, hint?: string): Promise<string> {
  const found = (await fileTypeFromBuffer(head)) ?? laterTiff(head)
  const type = found?.mime.split(';')[0] ?? unknown
  if (type !== unknown && type !== 'application/xml') return aliases[type] ?? type
  if (looksLikeSvg(head)) return 'image/svg+xml'
  if (type === unknown && !isText(head)) return unknown
  const named = hint ?? (lookup(fileName) || (found ? type : 'text/plain'))
  // a picture is one by its bytes alone: calling text `image/svg+xml` or `.png` does not make it one
  return textual.test(named) && !named.startsWith('image/') ? named : found ? type : 'text/plain'
}

/** A TIFF whose directory lies beyond the head, as libvips writes it. By its first eight bytes, TIFF 6.0, section 2. */
function laterTiff(head: Uint8Array): { mime: string } | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length)
  const order = bytes.toString('latin1', 0, 4)
  if (bytes.length < 8 || !['II*\0', 'MM\0*'].includes(order)) return undefined
  const directory = order === 'II*\0' ? bytes.readUInt32LE(4) : bytes.readUInt32BE(4)
  return directory >= bytes.length ? { mime: 'image/tiff' } : undefined
}

/** Other names under which file-type reports what everybody calls otherwise. */
const aliases: Readonly<Record<string, string>> = { 'image/apng': 'image/png', 'image/jpg': 'image/jpeg' }

/** What may stand before the root of an XML document. Each ends where it first can, so that there is one way to read it. */
const prolog = /\s+|<\?(?:(?!\?>).)*\?>|<!--(?:(?!-->).)*-->|<!DOCTYPE[^>[]*(?:\[(?:(?!\]\s*>).)*\]\s*)?>/isy

function looksLikeSvg(head: Uint8Array): boolean {
  const text = Buffer.from(head)
    .toString('latin1')
    .replace(/^\u00ef\u00bb\u00bf/, '')
  let at = 0
  for (prolog.lastIndex = 0; prolog.test(text); at = prolog.lastIndex);
  return /^<svg[\s>]/i.test(text.slice(at, at + 5))
}

function isText(head: Uint8Array): boolean {
  if (head.includes(0)) return false
  try {
    // the head may end in the middle of a character
    new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true })
    return true
  } catch {
    return false
  }
}

/** Whether a type is in a list such as `['image/*', 'application/pdf']`; `'any'` takes everything. */
export function accepts(accept: readonly string[] | 'any', contentType: string): boolean {
  return (
    accept === 'any' || accept.some((pattern) => pattern === contentType || (pattern.endsWith('/*') && contentType.startsWith(pattern.slice(0, -1))))
  )
}
