import { applyGeometry, parseGeometry, type Size } from '../style/geometry'
import type { StyleRecord, Styles } from './record'

/** A style in which a browser may choose to show a picture. */
export interface Candidate extends Size {
  readonly name: string
  readonly contentType: string
}

/** What a browser is to choose from. */
export interface Choice {
  /** Of the largest: the shape of the picture before any of them is there. */
  readonly size: Size
  /** For every browser, smallest first; none while nothing is made. */
  readonly img: readonly Candidate[]
  /** In smaller forms, for those that know them: the first that a browser knows is taken. */
  readonly sources: readonly (readonly Candidate[])[]
}

/** Forms by who shows them: the first of these that there are is for every browser. */
const plain = ['image/jpeg', 'image/png', 'image/gif', 'image/webp', 'image/avif']
const modern = ['image/avif', 'image/webp']

/**
 * Which styles show one and the same picture, larger and smaller. Those of another shape are another picture, such as a part of it.
 *
 * @param named exactly these
 * @param complete whether no more of them will come
 * @returns null where there is nothing that a browser could show
 */
export function choiceOf(styles: Styles, named: readonly string[] | undefined, complete: boolean): Choice | null {
  const original = sizeOf(styles['original'], undefined)
  const names = named ?? Object.keys(styles).filter((name) => name !== 'original')
  const shown = names.flatMap((name): Array<Candidate & { written: boolean }> => {
    const record = styles[name]
    const size = sizeOf(record, original)
    return record && size && plain.includes(record.contentType) ? [{ name, contentType: record.contentType, written: record.written, ...size }] : []
  })
  const all = named ? shown : alike(shown, original)
  const there = all.filter(({ written }) => written)
  const largest = widest(complete && there.length > 0 ? there : all)
  if (!largest) return null
  const of = (type: string | undefined) => distinct(there.filter(({ contentType }) => contentType === type))
  const first = plain.find((type) => there.some(({ contentType }) => contentType === type))
  const img = of(first)
  // a browser takes the first form that it knows, so one without the larger sizes would be shown coarse
  const reach = widest(img)?.width ?? 0
  const sources = modern.filter((type) => type !== first && (widest(of(type))?.width ?? 0) >= reach && img.length > 0).map(of)
  return { size: { width: largest.width, height: largest.height }, img, sources }
}

/** As it was made; before that, as its geometry says. */
function sizeOf(record: StyleRecord | undefined, original: Size | undefined): Size | undefined {
  if (record?.width !== undefined && record.height !== undefined) return { width: record.width, height: record.height }
  if (!original || !record?.style) return undefined
  const { geometry } = record.style
  if (geometry === undefined) return original
  const { crop, width, height } = applyGeometry(parseGeometry(geometry), original)
  return crop ?? { width, height }
}

/** Those of the original's shape; where there are none, those of the largest one's. */
function alike<C extends Candidate>(all: readonly C[], original: Size | undefined): readonly C[] {
  const shapedLike = (shape: Size | undefined) => all.filter((one) => shape && sameShape(one, shape))
  const found = shapedLike(original)
  return found.length > 0 ? found : shapedLike(widest(all))
}

/** Sizes are whole numbers of pixels, so the shape of a small picture is off by as much as one. */
function sameShape({ width, height }: Size, shape: Size): boolean {
  const off = Math.abs(height - (width * shape.height) / shape.width)
  const offAcross = Math.abs(width - (height * shape.width) / shape.height)
  return Math.min(off, offAcross) <= 1
}

function widest<C extends Candidate>(all: readonly C[]): C | undefined {
  return all.reduce<C | undefined>((widest, one) => (widest && widest.width >= one.width ? widest : one), undefined)
}

/** Smallest first; of those of one width the one that is named first. */
function distinct(all: readonly Candidate[]): Candidate[] {
  return [...new Map([...all].reverse().map((one) => [one.width, one])).values()].sort((one, other) => one.width - other.width)
}
