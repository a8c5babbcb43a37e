import { type AttachmentRecord, type StyleRecord, type Styles, templateContext } from '../attachment/record'
import type { Progress } from '../background/adapter'
import { ProcessingError, StorageError } from '../errors'
import type { Made, ProcessorInput } from '../processor/processor'
import type { ObjectInfo, Storage } from '../storage/storage'
import type { Style } from '../style/style'
import { builtInTokens } from '../template/tokens'
import { inputFrom } from './input'
import type { Place } from './plan'

/** What became of the styles that were not in the storage yet. */
export interface Stored {
  /** Those that are verified there now. */
  readonly written: Styles
  readonly errors: readonly unknown[]
}

/**
 * Brings to the storage what is not there yet, each style as soon as it is made, and verifies it. One that fails keeps none
 * of the others back. Never rejects, and nothing goes on after its end.
 *
 * @param told hears of each that has arrived
 * @param seen hears what the picture looks like
 */
export async function store(
  place: Omit<Place, 'storage'>,
  record: AttachmentRecord,
  staging: Storage,
  storage: Storage,
  told: (progress: Progress) => void,
  seen: (thumbhash: Uint8Array) => void,
): Promise<Stored> {
  const { entity, attachment } = place.ref
  const plan: Styles = { ...record.meta.styles, ...record.meta.next }
  const errors: unknown[] = []
  const written: Record<string, StyleRecord> = {}
  const sending: Promise<void>[] = []

  async function send(name: string, style: StyleRecord, bring: (key: string, info: ObjectInfo) => Promise<void>): Promise<void> {
    const { key, contentType, size } = style
    const fileName = name === 'original' ? record.fileName : builtInTokens['filename']?.(templateContext(entity, attachment, name, record))
    await bring(key, { contentType, size, fileName })
    const found = await storage.stat(key)
    if (found?.size !== size) {
      throw new StorageError('not_verified', `'${key}' should have ${size} bytes, and the storage holds ${found ? `${found.size}` : 'nothing'}`)
    }
    written[name] = { ...style, written: true }
    const of = Object.keys(plan).length
    told({ done: of - todo.length + Object.keys(written).length, of })
  }
  async function move({ staged = '', etag }: StyleRecord, key: string, info: ObjectInfo): Promise<void> {
    if (await storage.copy?.(staging, staged, key, { ...info, etag })) return
    const body = await staging.read(staged, { etag })
    await storage.write(key, body, info).finally(() => body.destroy())
  }
  const start = (work: Promise<void>) => sending.push(work.catch((error) => void errors.push(error)))

  const todo = Object.entries(plan).filter(([, { written, awaited }]) => !written && !awaited)
  for (const [name, style] of todo) {
    if (style.staged !== undefined) start(send(name, style, (key, info) => move(style, key, info)))
  }
  const wanted = todo.flatMap(([, { staged, style }]) => (staged === undefined && style ? [style] : []))
  const made = makeAll(wanted, place, originalOf(record, staging, storage), ({ style, body, contentType, width, height, thumbhash }) => {
    if (thumbhash) seen(thumbhash)
    const facts = { contentType, width, height, size: body.length }
    start(send(style.name, { ...(plan[style.name] as StyleRecord), ...facts }, (key, info) => storage.write(key, body, info)))
  })
  await made.catch((error) => void errors.push(error))
  await Promise.all(sending)
  return { written, errors }
}

/** Makes all styles. Where one of them cannot be made, the others are, each by itself; then it is said why. */
async function makeAll(
  wanted: readonly Style[],
  { definition }: Pick<Place, 'definition'>,
  input: ProcessorInput,
  take: (made: Made) => void,
): Promise<void> {
  const missing = new Set(wanted)
  try {
    for await (const made of definition.processor.process(input, wanted)) {
      take(made)
      missing.delete(made.style)
    }
  } catch (error) {
    if (!(error instanceof ProcessingError) || wanted.length === 1) throw error
    for (const style of missing) await makeAll([style], { definition }, input, take).catch(() => undefined)
    throw error
  }
}

/** Styles come from the staged original as long as there is one. */
function originalOf({ contentType, meta }: AttachmentRecord, staging: Storage, storage: Storage): ProcessorInput {
  const original = meta.styles['original'] as StyleRecord
  if (original.staged === undefined) return inputFrom(storage, original.key, contentType)
  return inputFrom(staging, original.staged, contentType, { etag: original.etag })
}
