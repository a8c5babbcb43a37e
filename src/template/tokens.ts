import { createHmac } from 'node:crypto'
import { extension as extensionOf } from 'mime-types'
import { tableize } from './inflection'
import type { Template, Token } from './template'

/** What a template can be asked about: one style of one attached file. */
export interface TemplateContext {
  /** The entity's class name. */
  readonly entity: string
  /** The property's name. */
  readonly attachment: string
  /** Primary key, the parts of a composite one joined by `-`. */
  readonly id?: string
  readonly version?: string
  readonly style: string
  readonly fileName?: string
  /** The style's own content type. */
  readonly contentType?: string
  /** The style's declared format, which is its extension too. */
  readonly format?: string
  readonly fingerprint?: string | null
  readonly updatedAt?: Date
  readonly key?: string
}

export type Tokens = Readonly<Record<string, Token<TemplateContext>>>

/** The tokens everybody has. Names and results: Paperclip's, but for `:version` and `:path`. */
export const builtInTokens: Tokens = {
  attachment: (file) => safe(tableize(file.attachment)),
  class: (file) => safe(tableize(file.entity)),
  id: (file) => safe(file.id ?? ''),
  id_partition: (file) => idPartition(safe(file.id ?? '')),
  version: (file) => file.version,
  style: (file) => file.style,
  filename: (file) => safe([basename(file), extension(file)].filter(Boolean).join('.')),
  basename: (file) => safe(basename(file)),
  extension: (file) => safe(extension(file)),
  dotextension: (file) => safe(extension(file)).replace(/^(?=.)/, '.'),
  content_type_extension: (file) => contentTypeExtension(file.contentType) ?? '',
  fingerprint: (file) => file.fingerprint ?? undefined,
  updated_at: (file) => file.updatedAt && String(Math.floor(file.updatedAt.getTime() / 1000)),
  timestamp: (file) => file.updatedAt?.toISOString(),
  env: () => safe(process.env['NODE_ENV'] ?? 'development'),
}

/** `:hash`, an HMAC-SHA256 in hex that nobody can guess without the secret. */
export function hashToken(secret: string, data: Template<TemplateContext>): Token<TemplateContext> {
  return (file) => createHmac('sha256', secret).update(data.render(file)).digest('hex')
}

/** A value that may stand between two slashes of a key: no slash, no `..`, no control character. */
export function safe(value: string): string {
  return value
    .replace(/[\p{Cc}\u2028\u2029]/gu, '')
    .replace(/[\\/]/g, '-')
    .replace(/\.{2,}/g, '.')
}

/**
 * `23` → `000/000/023`, so that no folder holds more than a thousand. An id that is no whole number: its first nine
 * characters in threes, then all of it, so that no two ids share a folder.
 */
function idPartition(id: string): string {
  if (id === '') return ''
  const whole = /^\d+$/.test(id)
  const digits = whole ? id.padStart(Math.max(9, Math.ceil(id.length / 3) * 3), '0') : [...id].slice(0, 9).join('')
  const parts = digits.match(/.{1,3}/gsu) ?? []
  return (whole ? parts : [...parts, id]).join('/')
}

/** Room is left for an extension and a version: no file system takes a segment of more than 255 bytes. */
const longestBasename = 200

function basename({ fileName = '' }: TemplateContext): string {
  const characters = [...fileName.replace(/(?<=.)\.[^.]*$/s, '')]
  while (Buffer.byteLength(characters.join('')) > longestBasename) characters.pop()
  return characters.join('')
}

function extension(file: TemplateContext): string {
  const own = /(?<=.)\.([^.]*)$/s.exec(file.fileName ?? '')?.[1] ?? ''
  return file.format ?? contentTypeExtension(file.contentType) ?? own
}

/** Where the registry's first choice is a name that nobody gives such a file. */
const usual: Readonly<Record<string, string>> = { 'audio/mpeg': 'mp3', 'video/quicktime': 'mov' }

/** The extension that goes with a content type, `jpg` for `image/jpeg`; a type that says nothing has none. */
export function contentTypeExtension(contentType: string | undefined): string | undefined {
  if (!contentType || contentType === 'application/octet-stream') return undefined
  return usual[contentType] ?? (extensionOf(contentType) || undefined)
}
