import { buffer } from 'node:stream/consumers'
import type { AttachmentRecord, StyleRecord, Styles } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import type { Definition } from '../definition/definition'
import { ProcessingError, UsageError } from '../errors'
import { contentTypeOf } from '../file/content-type'
import { headLength } from '../file/measure'
import type { Outside } from '../processor/processor'
import type { Storage } from '../storage/storage'
import type { Style } from '../style/style'
import { contentTypeExtension } from '../template/tokens'
import type { FencedRow } from './fence'
import { inputFrom } from './input'
import type { Ports } from './ports'
import { stagedFolder } from './staged'
import { plannedStyles, withStyles } from './with-styles'

// A style that a service outside makes has a place in the staging, where the service puts it, and a deadline. That it is there is told by
// the bucket's event, or found when the deadline is over; then it goes the way of everything that is staged.

/**
 * Hands the styles of a file on to the service that makes them, if one does, and takes what it has brought. What the row says then.
 * Rejects with a `ProcessingError` where the service is too late, or has brought something else.
 */
export async function workOutside(ref: AttachmentRef, row: FencedRow, ports: Ports): Promise<AttachmentRecord> {
  const definition = ports.definition(ref.entity, ref.attachment)
  const record = await takeResults(row, definition, ports)
  const outside = definition.processor.outside?.(record.contentType)
  return outside ? handOn(ref, row, outside, ports) : takeBack(row, record)
}

/** When the first of the services is late; undefined where nothing is awaited. */
export function awaitedUntil({ meta }: AttachmentRecord): Date | undefined {
  const moments = Object.values(plannedStyles(meta)).flatMap(({ awaited }) => awaited ?? [])
  return moments.length > 0 ? new Date(moments.sort()[0] as string) : undefined
}

async function takeResults(row: FencedRow, definition: Definition, { staging, now }: Ports): Promise<AttachmentRecord> {
  const record = await row.read()
  const found: Record<string, StyleRecord> = {}
  for (const [name, style] of Object.entries(plannedStyles(record.meta))) {
    const { staged, awaited, handed, ...rest } = style
    if (staged === undefined || awaited === undefined) continue
    const there = await staging.stat(staged)
    if (there)
      found[name] = { ...rest, ...(await resultOf(name, style, there.etag, definition, staging)), staged, etag: there.etag, size: there.size }
    else if (handed && now() > new Date(awaited)) {
      throw new ProcessingError('not_delivered', `style '${name}' was to be made outside by ${awaited}, and has not come`)
    }
  }
  return Object.keys(found).length > 0 ? row.change(({ meta }) => ({ meta: withStyles(meta, found), attemptedAt: now() })) : record
}

/** What a service has brought, by its bytes. */
async function resultOf(name: string, { staged = '', contentType }: StyleRecord, etag: string | undefined, definition: Definition, staging: Storage) {
  const head = await buffer(await staging.read(staged, { etag, length: headLength }))
  const found = await contentTypeOf(head, staged)
  if (head.length === 0 || found !== contentType) {
    // or it would be found again before another one comes
    await staging.delete([staged]).catch(() => undefined)
    const brought = head.length === 0 ? 'nothing' : found
    throw new ProcessingError('result_mismatch', `style '${name}' was to be made outside as ${contentType}, and ${brought} has come`)
  }
  const { processor } = definition
  const size = processor.reads(found) ? await processor.identify?.({ ...inputFrom(staging, staged, found, { etag }), head }) : undefined
  return size && { width: size.width, height: size.height }
}

async function handOn(ref: AttachmentRef, row: FencedRow, outside: Outside, { staging, storage, now }: Ports): Promise<AttachmentRecord> {
  const before = await row.read()
  const { version, contentType, meta } = before
  const open = Object.values(plannedStyles(meta)).filter(
    ({ style, written, staged, awaited, handed }) => style && !written && !handed && (!staged || awaited),
  )
  if (open.length === 0) return before
  const { uploads } = staging
  const original = meta.styles['original'] as StyleRecord
  const [place, key] = original.staged === undefined ? [storage(meta.storage), original.key] : [staging, original.staged]
  if (!uploads || !place.signedUrl) {
    const what = `${ref.entity}.${ref.attachment} is processed outside, by a service that sees nothing of its storages`
    throw new UsageError('not_signed', `${what}: stage and store in s3Storage, whose URLs can be signed`)
  }
  const until = new Date(now().getTime() + outside.within)
  const expiresIn = Math.ceil(outside.within / 1000)
  const folder = stagedFolder(ref.entity, ref.attachment, version)
  const awaited = open.map((style) => {
    const name = style.style?.name as string
    return { ...style, staged: `${folder}/${name}.${contentTypeExtension(style.contentType)}`, awaited: until.toISOString() }
  })
  // written down first: a result may come before we hear that the service was told
  await row.change(({ meta }) => ({ meta: withStyles(meta, byName(awaited)) }))
  const source = await place.signedUrl(key, { expiresIn })
  for (const { style, staged, contentType: wanted } of awaited) {
    await outside.hand({ style: style as Style, contentType, source, result: await uploads.place(staged, wanted, expiresIn), until })
  }
  return row.change(({ meta }) => {
    const now = plannedStyles(meta)
    const still = awaited.filter(({ style }) => now[style?.name as string]?.awaited !== undefined)
    return { meta: withStyles(meta, byName(still.map((style) => ({ ...style, handed: true })))) }
  })
}

/** What no service was told of, and none makes any more, is made here. */
async function takeBack(row: FencedRow, record: AttachmentRecord): Promise<AttachmentRecord> {
  const ours = Object.values(plannedStyles(record.meta)).filter(({ awaited, handed }) => awaited !== undefined && !handed)
  if (ours.length === 0) return record
  return row.change(({ meta }) => ({ meta: withStyles(meta, byName(ours.map(({ staged: _, awaited: __, ...style }) => style))) }))
}

function byName(styles: readonly StyleRecord[]): Styles {
  return Object.fromEntries(styles.map((style) => [style.style?.name, style]))
}
