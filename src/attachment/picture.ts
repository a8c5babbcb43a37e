import { UsageError } from '../errors'
import type { Candidate, Choice } from './choice'

/** What `srcset()` is told. */
export interface SrcsetOptions<S extends string> {
  /** Which styles to choose from, of whatever shape. Default: all that have the shape of the original. */
  readonly styles?: readonly (S | 'original')[]
  /** Their URLs, where they are signed: from `signedUrls()`. Default: as by `url()`. */
  readonly urls?: Readonly<Record<string, string | null>>
}

export interface PictureOptions<S extends string> extends SrcsetOptions<S> {
  /** What it shows, in words, for those who do not see it; `''` for a mere decoration. */
  readonly alt: string
  /** How wide it is shown, as the attribute `sizes` says it. Default: as wide as its largest style, or as the window, if that is narrower. */
  readonly sizes?: string
  /** More attributes of the `<img>`, or other values: `{ class: 'avatar', loading: 'eager' }`. */
  readonly attributes?: Readonly<Record<string, string | number>>
}

/** What is shown besides the styles. */
export interface Meanwhile {
  /** While nothing is made. */
  readonly instead: string | null
  /** Under the picture, until it has come. Null where it would show through for ever. */
  readonly behind: string | null
}

type UrlOf = (name: string) => string

/** The value of the attribute `srcset`. */
export function srcsetOf(candidates: readonly Candidate[], urlOf: UrlOf): string {
  // a URL ends at a blank, and a comma at either end of it is none of it (HTML, 4.8.4.2.1)
  const escaped = (url: string) => url.replace(/\s|^,|,$/g, (character) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return candidates.map(({ name, width }) => `${escaped(urlOf(name))} ${width}w`).join(', ')
}

/** The HTML of a picture. Empty where there is nothing to show. */
export function pictureOf(choice: Choice | null, meanwhile: Meanwhile, options: PictureOptions<string>, urlOf: UrlOf): string {
  const { alt, attributes = {} } = options
  if (typeof alt !== 'string')
    throw new UsageError('alt_missing', "picture() needs alt, what the picture shows in words: { alt: '' } for a decoration")
  const { width, height } = choice?.size ?? {}
  const largest = choice?.img.at(-1)
  const src = largest ? urlOf(largest.name) : meanwhile.instead
  if (src === null) return ''
  const sizes = options.sizes ?? `(max-width: ${width}px) 100vw, ${width}px`
  const { style, ...others } = attributes
  const behind = largest && meanwhile.behind !== null ? `background: url("${meanwhile.behind}") center / 100% 100% no-repeat` : undefined
  const img = tag('img', {
    alt,
    width,
    height,
    loading: 'lazy',
    decoding: 'async',
    style: [behind, style].filter((one) => one !== undefined).join('; ') || undefined,
    ...others,
    ...(choice && largest && { sizes, srcset: srcsetOf(choice.img, urlOf) }),
    src,
  })
  const sources = (largest ? (choice?.sources ?? []) : []).map((candidates) =>
    tag('source', { type: candidates[0]?.contentType, sizes, srcset: srcsetOf(candidates, urlOf) }),
  )
  return `<picture>${sources.join('')}${img}</picture>`
}

function tag(name: string, attributes: Readonly<Record<string, string | number | undefined>>): string {
  const written = Object.entries(attributes).flatMap(([attribute, value]) => {
    if (value === undefined) return []
    if (/^[a-z][a-z0-9_:.-]*$/i.test(attribute)) return [` ${attribute}="${escapeHtml(String(value))}"`]
    throw new UsageError('bad_attribute', `picture() was given the attribute ${JSON.stringify(attribute)}, which is no name of one`)
  })
  return `<${name}${written.join('')}>`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
