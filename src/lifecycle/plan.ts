import { type AttachmentRecord, newVersion, type StyleRecord, type Styles, shownOf, stagedKeys, templateContext } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import type { ProcessJob, RowRef } from '../background/job'
import type { Definition } from '../definition/definition'
import type { Style } from '../style/style'
import type { Identity } from './identify'
import { leftFiles } from './left'

/** Which columns are meant, and how templates name their owner. */
export interface Place {
  readonly definition: Definition
  readonly ref: AttachmentRef
  /** The storage's name. */
  readonly storage: string
}

/**
 * A received file, as its row is to say it: with the keys, which need the row's id. What the row held before moves
 * along, so that no crash can forget to delete it, nor to show it meanwhile.
 */
export function planRow(place: Place, file: AttachmentRecord, before: AttachmentRecord | null, now: Date): AttachmentRecord {
  const { definition, storage, ref } = place
  const withId = { ...file, meta: { ...file.meta, storage, id: printedId(ref.id) } }
  const styles = withKeys(place, withId, withId.meta.styles)
  const previous = before ? leftFiles(before, definition.keepsFiles !== 'never') : []
  const shown = before && definition.showsPrevious ? shownOf(before) : undefined
  const awaited = file.meta.styles['original']?.awaited
  const due = awaited ? new Date(awaited) : new Date(now.getTime() + definition.carried.delay)
  const replaced = { ...(previous.length > 0 && { previous }), ...(shown && { shown }), ...(before && { earlier: earlierOf(before) }) }
  return { ...file, attemptedAt: due, meta: { ...withId.meta, styles, ...replaced } }
}

/**
 * A file that was awaited and is there now: what it was found to be, and keys that go with that. None of those that were planned before
 * was ever written.
 */
export function planArrived(
  place: Place,
  record: AttachmentRecord,
  file: Identity & { readonly etag?: string },
  now: Date,
): Partial<AttachmentRecord> {
  const { definition } = place
  const { meta } = record
  const { awaited, ...announced } = meta.styles['original'] as StyleRecord
  // a twin of this job was faster
  if (awaited === undefined) return {}
  const { contentType, width, height, etag } = file
  const wanted = definition.processor.reads(contentType) ? Object.values(meta.styles).flatMap(({ style }) => style ?? []) : []
  const original = { ...announced, contentType, ...(etag !== undefined && { etag }), width, height }
  const styles = { original, ...Object.fromEntries(wanted.map((style) => [style.name, plannedStyle(style, definition, contentType)])) }
  return { contentType, attemptedAt: now, meta: { ...meta, styles: withKeys(place, { ...record, contentType }, styles) } }
}

/**
 * A stored file some of whose styles are to be made anew. It gets a new version, so that no earlier job can touch it; the
 * new styles get keys of their own; everything else stays where it is.
 */
export function planAnew(place: Place, record: AttachmentRecord, wanted: readonly Style[], now: Date): AttachmentRecord {
  const { definition } = place
  const { contentType, meta, version } = record
  const { next: given = {}, begun: _, area: __, elsewhere: ___, ...rest } = meta
  // what is stored needs its staged copy no more; and a sweep asks for staged files by the version that they came with
  const styles = mapStyles(meta.styles, ({ staged: _, etag: ____, ...style }) => ({ version, ...style }))
  const anew = Object.fromEntries(wanted.map((style) => [style.name, plannedStyle(style, definition, contentType)]))
  // what an earlier call has asked for and no job has brought to its end; a service outside is told of a new place for it
  const open = mapStyles(given, ({ staged: _, awaited: __, handed: ___, etag: ____, ...style }) => ({ version, ...style }))
  const kept = Object.fromEntries(Object.entries(open).filter(([name]) => !(name in anew)))
  const dropped = Object.entries(given).flatMap(([name, { key }]) => (name in anew ? [key] : []))
  const left = { version, storage: meta.storage, keys: dropped, staged: stagedKeys(meta) }
  const previous = [...(meta.previous ?? []), ...(left.keys.length + left.staged.length > 0 ? [left] : [])]
  const fresh = { ...record, version: newVersion(), meta: { ...rest, styles, next: anew } }
  return {
    ...fresh,
    processing: true,
    error: null,
    attemptedAt: now,
    meta: {
      ...rest,
      styles,
      next: { ...kept, ...withKeys(place, fresh, anew) },
      earlier: earlierOf(record),
      ...(previous.length > 0 && { previous }),
    },
  }
}

/** As many as anybody may be late by. */
const mostEarlier = 5

function earlierOf({ version, meta }: AttachmentRecord): string[] {
  return [version, ...(meta.earlier ?? [])].slice(0, mostEarlier)
}

function mapStyles(styles: Styles, map: (style: StyleRecord) => StyleRecord): Styles {
  return Object.fromEntries(Object.entries(styles).map(([name, style]) => [name, map(style)]))
}

/** A style before it is made: its form is settled now, because its key ends in it. */
export function plannedStyle(style: Style, { processor }: Definition, original: string): StyleRecord {
  const usual = processor.formatFor?.(original)
  const writes = style.format ?? usual
  const contentType = writes ? `image/${writes === 'jpg' ? 'jpeg' : writes}` : original
  // an SVG's thumbnail is no SVG: where the form changes without being asked to, it is written down
  const settled = style.format === undefined && contentType !== original ? { ...style, format: usual } : style
  return { key: '', contentType, written: false, style: settled as Style }
}

/** The job that follows when a row is saved; null where there is nothing to do, or not yet. */
export function jobAfter(ref: AttachmentRef, record: AttachmentRecord): ProcessJob | null {
  return record.processing && !record.meta.styles['original']?.awaited ? processJob(ref, record) : null
}

/** The job of a file that is processing: it writes what is not there yet. */
export function processJob(ref: AttachmentRef, { version, meta }: AttachmentRecord): ProcessJob {
  const todo = [...Object.values(meta.styles), ...Object.values(meta.next ?? {})].filter(({ written }) => !written)
  return { kind: 'process', ...ref, version, storage: meta.storage, keys: todo.map(({ key }) => key), staged: stagedKeys(meta) }
}

function withKeys({ definition, ref }: Place, record: AttachmentRecord, styles: Styles): Styles {
  const keyed = Object.entries(styles).map(([name, style]) => {
    const key = keyFor(definition, record, templateContext(ref.entity, definition.property, name, { ...record, meta: { ...record.meta, styles } }))
    return [name, { ...style, key }] as const
  })
  return Object.fromEntries(keyed)
}

/**
 * A key is never used twice: a template without `:version` gets it put before the extension. No segment is empty, `.`
 * or `..`, so that a key means the same to a disk, to S3 and in a URL.
 */
function keyFor({ path }: Definition, { version }: AttachmentRecord, context: ReturnType<typeof templateContext>): string {
  const segments = path
    .render(context)
    .split('/')
    .filter((segment) => !/^\.{0,2}$/.test(segment))
  if (path.tokens.includes('version')) return segments.join('/')
  const last = segments.pop() ?? ''
  const [, name, extension] = /^(.+?)?(\.[^.]*)?$/s.exec(last) ?? []
  return [...segments, `${name ?? ''}-${version}${extension ?? ''}`].join('/')
}

/** Whether two primary keys are the same, whatever a driver makes of their parts. */
export function sameId(one: RowRef['id'], other: RowRef['id']): boolean {
  return Object.keys(one).every((part) => printedId({ part: one[part] }) === printedId({ part: other[part] }))
}

/** A primary key as templates print it: the parts of a composite one joined by `-`. */
export function printedId(id: RowRef['id']): string {
  return Object.values(id)
    .map((part) => (part instanceof Date ? part.toISOString() : String(part)))
    .join('-')
}
