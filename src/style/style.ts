import { type Geometry, parseGeometry } from './geometry'

/** What sharp can write; `jpg` is `jpeg` under the other name, and with that extension. */
export const formats = ['jpg', 'jpeg', 'png', 'webp', 'gif', 'avif', 'tiff'] as const
export type Format = (typeof formats)[number]

/** What sharp's output options are made of. */
type OutputValue = string | number | boolean | number[]

/** A style as it is declared: a geometry alone, or with the form the result should have. */
export type StyleOptions =
  | string
  | {
      /** How it is sized, such as `'300x300>'`. Left out, the size stays. */
      geometry?: string
      /** The form it is written in. Default: that of the original (PNG for an SVG). */
      format?: Format
      /** 1 to 100. Default: sharp's own for the format. */
      quality?: number
      /** Keep every frame of an animated GIF or WebP. Default: the first frame only. */
      animated?: boolean
      /** What shows through where the format knows no transparency. Any CSS colour; default white. */
      background?: string
      /** More of sharp's output options for the format, such as `{ mozjpeg: true }`. JSON only: they are recorded. */
      output?: Readonly<Record<string, OutputValue>>
    }

/** A style as it is used and recorded with each file: plain JSON, resolved once. */
export interface Style {
  readonly name: string
  readonly geometry?: string
  readonly format?: Format
  readonly quality?: number
  readonly animated?: true
  readonly background?: string
  readonly output?: Readonly<Record<string, OutputValue>>
}

const known = ['geometry', 'format', 'quality', 'animated', 'background', 'output']

/** Checks and resolves one style. Throws a plain `Error` that says what is wrong with it. */
export function resolveStyle(name: string, options: StyleOptions): Style {
  if (!/^[a-z][\w-]*$/i.test(name)) throw new Error('is no name for a style: use letters, digits, _ and -, a letter first')
  const given = typeof options === 'string' ? { geometry: options } : options
  if (given === null || typeof given !== 'object') throw new Error("must be a geometry such as '300x300>', or an object with one")
  const stranger = Object.keys(given).find((key) => !known.includes(key))
  if (stranger) throw new Error(`has an unknown option '${stranger}': there are ${known.join(', ')}`)
  if (given.geometry !== undefined) parse(String(given.geometry))
  const format = given.format
  if (format !== undefined && !formats.includes(format)) throw new Error(`cannot be written as '${format}': choose one of ${formats.join(', ')}`)
  const quality = given.quality
  if (quality !== undefined && !(Number.isInteger(quality) && quality >= 1 && quality <= 100)) {
    throw new Error(`has quality ${quality}: give a whole number from 1 to 100`)
  }
  return Object.freeze({
    name,
    ...(given.geometry !== undefined && { geometry: given.geometry }),
    ...(format && { format }),
    ...(quality !== undefined && { quality }),
    ...(given.animated && { animated: true as const }),
    ...(given.background !== undefined && { background: given.background }),
    ...(given.output && { output: given.output }),
  })
}

function parse(geometry: string): Geometry {
  try {
    return parseGeometry(geometry)
  } catch (error) {
    throw new Error(`'${geometry}' ${(error as Error).message}`)
  }
}
