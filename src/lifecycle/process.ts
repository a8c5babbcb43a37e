import { Readable } from 'node:stream'
import { type AttachmentRecord, filesOf, type StyleRecord, templateContext } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import type { ProcessJob } from '../background/job'
import type { Definition } from '../definition/definition'
import { StorageError } from '../errors'
import type { ProcessorInput } from '../processor/processor'
import type { Storage } from '../storage/storage'
import type { Style } from '../style/style'
import { builtInTokens } from '../template/tokens'
import { deleteFiles } from './delete'
import type { Ports } from './ports'

/**
 * Does the work of one saved file: makes its styles, brings everything to the storage, verifies it there, and only then
 * clears `processing` and removes the staged files. Every change of the row is fenced by the version. A job that comes
 * late, or twice, or for a row that is gone, ends quietly.
 */
export async function processFile(job: ProcessJob, ports: Ports): Promise<void> {
  const { rows, staging } = ports
  const definition = ports.definition(job.entity, job.attachment)
  const ref: AttachmentRef = { entity: job.entity, id: job.id, attachment: job.attachment }
  const change = (changes: Parameters<typeof rows.update>[2]) => rows.update(ref, job.version, changes)

  if (!(await change({ attemptedAt: new Date() }))) return settle(job, ref, ports)
  const record = await rows.read(ref)
  if (record?.version !== job.version) return settle(job, ref, ports)

  let styles: Record<string, StyleRecord>
  try {
    styles = await store(record, job.entity, definition, staging, ports.storage(record.meta.storage))
  } catch (error) {
    // a twin of this job may have finished, and removed the staged file that this one was reading
    const now = await rows.read(ref)
    if (now?.version === job.version && now.processing) throw error
    return settle(job, ref, ports)
  }

  const { previous, ...meta } = record.meta
  if (previous) {
    // first the new URLs, then the end of the old files, and only then is nothing left to do; the staged files stay on
    // record until the end, for whoever may replace this version meanwhile
    if (!(await change({ meta: { ...meta, styles, previous } }))) return settle(job, ref, ports)
    for (const files of previous) await deleteFiles(files, ports)
  }
  if (!(await change({ processing: false, error: null, meta: { ...meta, styles: unstaged(styles) } }))) return settle(job, ref, ports)
  await staging.delete(filesOf(record).staged)
}

/** The row did not take this job's change: find out why, and leave nothing of this version that no row refers to. */
async function settle(job: ProcessJob, ref: AttachmentRef, ports: Ports): Promise<void> {
  const record = await ports.rows.read(ref)
  if (record?.version !== job.version) {
    // the staged files stay: a transaction that was rolled back may be tried again with them
    await ports.storage(job.storage).delete(job.keys)
  } else if (record.processing) {
    throw new StorageError('row_unchanged', `the row of ${ref.entity}.${ref.attachment} did not take a change that it should have taken`)
  } else if (!record.error) {
    await ports.staging.delete(job.staged)
  }
}

/** Brings every style to the storage, the original too, each as soon as it is there; what the row says of them then. */
async function store(record: AttachmentRecord, entity: string, { property, processor }: Definition, staging: Storage, storage: Storage) {
  const { styles } = record.meta
  const sending: Promise<readonly [string, StyleRecord]>[] = []

  async function send(name: string, style: StyleRecord, body: Parameters<Storage['write']>[1]) {
    const { key, contentType, size } = style
    const fileName = name === 'original' ? record.fileName : builtInTokens['filename']?.(templateContext(entity, property, name, record))
    try {
      await storage.write(key, body, { contentType, size, fileName })
    } finally {
      if (body instanceof Readable) body.destroy()
    }
    const found = await storage.stat(key)
    if (found?.size !== size) {
      throw new StorageError('not_verified', `'${key}' should have ${size} bytes, and the storage holds ${found ? `${found.size}` : 'nothing'}`)
    }
    return [name, { ...style, written: true }] as const
  }
  function start(...sent: Parameters<typeof send>): void {
    const transfer = send(...sent)
    transfer.catch(() => undefined)
    sending.push(transfer)
  }

  try {
    const wanted: Style[] = []
    for (const [name, style] of Object.entries(styles)) {
      if (style.staged !== undefined) start(name, style, await staging.read(style.staged))
      else if (style.style) wanted.push(style.style)
    }
    for await (const made of processor.process(stagedOriginal(record, staging), wanted)) {
      const planned = styles[made.style.name] as StyleRecord
      const { contentType, width, height } = made
      start(made.style.name, { ...planned, contentType, width, height, size: made.body.length }, made.body)
    }
  } finally {
    // nothing of this job goes on after its end, whatever the end is
    await Promise.allSettled(sending)
  }
  return { ...styles, ...Object.fromEntries(await Promise.all(sending)) }
}

function unstaged(styles: Record<string, StyleRecord>): Record<string, StyleRecord> {
  return Object.fromEntries(Object.entries(styles).map(([name, { staged: _, ...style }]) => [name, style]))
}

function stagedOriginal({ contentType, meta }: AttachmentRecord, staging: Storage): ProcessorInput {
  const key = meta.styles['original']?.staged as string
  return { contentType, path: staging.localPath?.(key), open: () => staging.read(key) }
}
