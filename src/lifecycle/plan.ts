import { type AttachmentRecord, filesOf, templateContext } from '../attachment/record'
import type { DeleteJob, ProcessJob, RowRef, VersionFiles } from '../background/job'
import type { Definition } from '../definition/definition'

/** Which columns are meant, and how templates name their owner. */
export interface Place {
  readonly definition: Definition
  /** The entity's class name. */
  readonly entity: string
  /** Its storage's name. */
  readonly storage: string
  readonly ref: RowRef
}

/**
 * A received file, as its row is to say it: with the keys, which need the row's id. What the row held before moves
 * along, so that no crash can forget to delete it.
 */
export function planRow({ definition, entity, storage, ref }: Place, file: AttachmentRecord, before: AttachmentRecord | null): AttachmentRecord {
  const meta = { ...file.meta, storage, id: printedId(ref.id) }
  const withId = { ...file, meta }
  const keys = Object.entries(meta.styles).map(([name, style]) => {
    const key = keyFor(definition, withId, templateContext(entity, definition.property, name, withId))
    return [name, { ...style, key }] as const
  })
  const previous = before ? [...(before.meta.previous ?? []), filesOf(before)] : []
  return { ...file, attemptedAt: new Date(), meta: { ...meta, styles: Object.fromEntries(keys), ...(previous.length > 0 && { previous }) } }
}

export function processJob({ definition, ref }: Place, record: AttachmentRecord): ProcessJob {
  return { kind: 'process', ...ref, attachment: definition.property, ...filesOf(record) }
}

/** The end of a file that was detached, or whose row is removed. */
export function deleteJob({ definition, ref }: Place, record: AttachmentRecord): DeleteJob {
  const files: VersionFiles[] = [...(record.meta.previous ?? []), filesOf(record)]
  return { kind: 'delete', ...ref, attachment: definition.property, files }
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

/** A primary key as templates print it: the parts of a composite one joined by `-`. */
export function printedId(id: RowRef['id']): string {
  return Object.values(id)
    .map((part) => (part instanceof Date ? part.toISOString() : String(part)))
    .join('-')
}
