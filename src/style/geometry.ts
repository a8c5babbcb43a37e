/**
 * Geometry strings as Paperclip and ImageMagick understand them: `800x800>`, `100x100#`, `50%`, `10000@`.
 * Pure arithmetic: nothing here opens a picture.
 */

/** What happens to the sides: the last character of a geometry (`@>` being the one of two). */
export type Modifier = '' | '>' | '<' | '!' | '^' | '%' | '@' | '@>' | '#'

export interface Geometry {
  /** Pixels; percent with `%`, the area in square pixels with `@`. Missing: follows from the height. */
  readonly width?: number
  readonly height?: number
  readonly modifier: Modifier
}

export interface Size {
  readonly width: number
  readonly height: number
}

/** Resize to `width` × `height` pixels, then, with `#`, cut `crop` out of that. */
export interface Fit extends Size {
  readonly crop?: Size & { readonly left: number; readonly top: number }
}

const pattern = /^(\d+(?:\.\d+)?)?(x(\d+(?:\.\d+)?)?)?(@>|>@|[><!^%@#])?$/i

/**
 * Reads a geometry. Case does not matter, and `&gt;` or `&>` for `>`, as old tutorials print it, is understood.
 * Throws a plain `Error` that says what is wrong; whoever declares knows for which attachment.
 */
export function parseGeometry(text: string): Geometry {
  const match = pattern.exec(text.trim().replace(/&(?:gt;|>)/i, '>'))
  if (!match || (match[1] === undefined && match[3] === undefined)) {
    throw new Error("is no geometry: write '800x600', '800x', 'x600' or '800', and at most one of > < ! ^ % @ @> # after it")
  }
  const modifier = (match[4] === '>@' ? '@>' : (match[4] ?? '')) as Modifier
  const width = match[1] === undefined ? undefined : Number(match[1])
  const height = match[3] === undefined ? undefined : Number(match[3])
  if (width === 0 || height === 0) throw new Error('asks for no pixels: leave a side out to let it follow from the other')
  if (modifier !== '%' && /\./.test(text)) throw new Error('has a fraction of a pixel: only percentages may have one')
  if (modifier.startsWith('@') && (width === undefined || match[2])) {
    throw new Error("needs one number before @, the area in pixels: '10000@' is 100 times 100")
  }
  if (modifier === '#' && match[2] && (width === undefined || height === undefined)) {
    throw new Error("needs both sides before #: '100x100#'")
  }
  const square = (!match[2] && modifier === '#') || (width !== undefined && height === undefined && modifier === '%')
  return { width, height: square ? width : height, modifier }
}

/** Half up, and never less than one pixel: ImageMagick's rounding. */
const round = (pixels: number) => Math.max(1, Math.floor(pixels + 0.5))
const floor = (pixels: number) => Math.max(1, Math.floor(pixels))

/** The size a source of `width` × `height` pixels (as it is looked at, orientation applied) gets by a geometry. */
export function applyGeometry(geometry: Geometry, { width: w, height: h }: Size): Fit {
  const { width: W, height: H, modifier } = geometry
  const scaled = (factor: number): Fit => ({ width: round(w * factor), height: round(h * factor) })
  const inside = Math.min((W ?? Infinity) / w, (H ?? Infinity) / h)

  switch (modifier) {
    case '':
      return scaled(inside)
    case '>':
      return w > (W ?? Infinity) || h > (H ?? Infinity) ? scaled(inside) : { width: w, height: h }
    case '<':
      return w < (W ?? Infinity) && h < (H ?? Infinity) ? scaled(inside) : { width: w, height: h }
    case '!':
      return { width: W ?? w, height: H ?? h }
    case '^':
      return scaled(Math.max((W ?? H ?? 0) / w, (H ?? W ?? 0) / h))
    case '%':
      return { width: round((w * (W ?? 100)) / 100), height: round((h * (H ?? 100)) / 100) }
    case '@':
    case '@>': {
      const area = W ?? 0
      if (modifier === '@>' && area >= w * h) return { width: w, height: h }
      // one division and one root each: both are exact where the result is a whole number
      return { width: floor(Math.sqrt((area * w) / h)), height: floor(Math.sqrt((area * h) / w)) }
    }
    case '#':
      return cover({ width: W ?? 0, height: H ?? 0 }, w, h)
  }
}

/** Fills the box and cuts what stands over, in equal parts; the offset is cut from the unrounded size, as Paperclip does. */
function cover(box: Size, w: number, h: number): Fit {
  const factor = Math.max(box.width / w, box.height / h)
  const width = Math.max(box.width, round(w * factor))
  const height = Math.max(box.height, round(h * factor))
  const left = Math.trunc((w * factor - box.width) / 2)
  const top = Math.trunc((h * factor - box.height) / 2)
  return { width, height, crop: { ...box, left: Math.max(0, left), top: Math.max(0, top) } }
}
