import { type AttachmentRecord, type Meta, type Styles, stagedKeys } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import type { JobReport, Progress } from '../background/adapter'
import type { ProcessJob, VersionFiles } from '../background/job'
import { isRetryable, ProcessingError } from '../errors'
import { deleteFiles, unreferred } from './delete'
import { checkStagedHere } from './elsewhere'
import { arrive } from './expect'
import { type FencedRow, fencedRow, Overtaken } from './fence'
import { deleteJobs, noteKey } from './left'
import { looksOf } from './looks'
import { forgetNote, writeNotes } from './notes'
import { awaitedUntil, workOutside } from './outside'
import type { Ports } from './ports'
import { store } from './store'
import { withStyles } from './with-styles'

/** How often a running job says that it is alive: a fraction of what `requeueLost()` waits. Milliseconds. */
const heartbeat = 60_000

/** After so many attempts that ended with their process a file counts as what kills workers. */
const mostBegun = 20

/**
 * Does the work of one saved file: makes its styles, brings everything to the storage, verifies it there, and only then
 * clears `processing` and removes the staged files. What an attempt has verified is recorded, and not made again by the next.
 */
export async function processFile(ref: AttachmentRef, row: FencedRow, ports: Ports, told: (progress: Progress) => void): Promise<JobReport> {
  const { staging } = ports
  const definition = ports.definition(ref.entity, ref.attachment)
  await checkStagedHere(ref, row, ports)
  await arrive(ref, row, ports)
  const begin = ({ meta: { elsewhere: _, ...meta } }: AttachmentRecord) => ({ meta: { ...meta, begun: (meta.begun ?? 0) + 1 } })
  const begunRecord = await row.change(begin, 'processing')
  const { begun = 0 } = begunRecord.meta
  if (begun > mostBegun) {
    const what = `${begun - 1} attempts began and came to no end: the file may be too much for the worker's memory or time`
    throw new ProcessingError('worker_died', `${what}. Once that is mended, attachments.retry() tries again`)
  }

  const record = await workOutside(ref, row, ports)
  const storage = ports.storage(record.meta.storage)
  const rest = ports.every(heartbeat, () => void row.change(() => ({})).catch(() => undefined))
  const looks = looksOf(row, record.meta, ports)
  const { written, errors } = await store({ definition, ref }, record, staging, storage, told, looks.see).finally(rest)
  await looks.end()
  const withResults = (meta: Meta) => looks.add(withStyles(meta, written))
  if (errors.length > 0) {
    await row.change(({ meta }) => ({ meta: withResults(meta) }))
    throw errors.find(isRetryable) ?? errors[0]
  }

  if (await stillOutside(row, withResults)) return reportOf('waiting', written)
  let { meta } = record
  if (meta.previous || meta.next) {
    // first the new URLs, then the end of the old files, and only then is nothing left to do; the staged files stay on
    // record until the end, for whoever may replace this version meanwhile
    meta = (await row.change((now) => ({ meta: withoutNext(withResults(now.meta), now.version) }))).meta
    await deletePrevious(ref, meta.previous ?? [], ports)
  }
  let ended: readonly VersionFiles[] = []
  await row.change((now) => {
    const { previous = [], shown: _, begun: __, area: ___, ...rest } = withResults(now.meta)
    const open = new Set(previous.flatMap(({ version, unfinished }) => (unfinished ? [version] : [])))
    ended = previous.filter(({ version }) => !open.has(version))
    return { processing: false, error: null, attemptedAt: null, meta: { ...rest, styles: unstaged(rest.styles) } }
  }, 'processed')
  // with the notes of what can no longer be written, and of a removal of this very file that did not hold
  const notes = [record, ...ended].map(({ version }) => noteKey(version))
  await staging.delete([...stagedKeys(record.meta), ...notes])
  return reportOf('done', written)
}

/** Whether a service is yet to bring something. Until it may be late, nobody is to call the job lost. */
async function stillOutside(row: FencedRow, withResults: (meta: Meta) => Meta): Promise<boolean> {
  if (!awaitedUntil(await row.read())) return false
  await row.change((now) => {
    const { begun: _, ...meta } = withResults(now.meta)
    return { meta, attemptedAt: awaitedUntil(now) ?? now.attemptedAt }
  })
  return true
}

function reportOf(result: 'done' | 'waiting', written: Styles): JobReport {
  const bytes = Object.values(written).reduce((sum, { size = 0 }) => sum + size, 0)
  return { result, styles: Object.keys(written), bytes }
}

/** The row takes no more changes of this job: find out why, and leave nothing that this job wrote and no row refers to. */
export async function settle(job: ProcessJob, ref: AttachmentRef, ports: Ports): Promise<void> {
  const record = await ports.rows.read(ref)
  if (record?.version === job.version) {
    // finished by a twin of this job, who may have died before it could clean up
    if (!record.processing && !record.error) await ports.staging.delete(job.staged)
    return
  }
  // this may be a late twin of the job that brought what is to be kept; what is not has a note
  if (ports.definition(job.entity, job.attachment).keepsFiles !== 'never') return
  // the staged files stay: a transaction that was rolled back may be tried again with them
  await deleteFiles(ref, unreferred([{ ...job, staged: [] }], record), ports)
  await endPrevious(ref, job.version, record, ports)
  await forgetNote(noteKey(job.version), ports.staging)
}

/** Tells whoever has replaced a version, and is to delete its files, that no job is writing them any more. */
async function endPrevious(ref: AttachmentRef, ended: string, successor: AttachmentRecord | null | undefined, ports: Ports): Promise<void> {
  if (!successor?.processing || !successor.meta.previous?.some(({ version }) => version === ended)) return
  const finished = ({ unfinished, ...files }: VersionFiles): VersionFiles =>
    files.version === ended || !unfinished ? files : { ...files, unfinished }
  try {
    await fencedRow(ref, successor.version, ports).change(({ meta }) => ({ meta: { ...meta, previous: meta.previous?.map(finished) } }))
  } catch (error) {
    if (!(error instanceof Overtaken)) throw error
    await endPrevious(ref, ended, await ports.rows.read(ref), ports)
  }
}

async function deletePrevious(ref: AttachmentRef, previous: readonly VersionFiles[], ports: Ports): Promise<void> {
  const unfinished = previous.filter((files) => files.unfinished)
  await writeNotes(deleteJobs([{ ref, files: unfinished }], ports.now()), ports.staging)
  await deleteFiles(ref, previous, ports)
}

/** Styles that were made anew take the place of those before, which are left to be deleted; and nothing earlier is shown any more. */
function withoutNext({ next = {}, previous = [], shown: _, ...meta }: Meta, version: string): Meta {
  const keys = Object.keys(next).flatMap((name) => meta.styles[name]?.key ?? [])
  const replaced = keys.length > 0 ? [{ version, storage: meta.storage, keys, staged: [] }] : []
  return { ...meta, styles: { ...meta.styles, ...next }, previous: [...previous, ...replaced] }
}

function unstaged(styles: Styles): Styles {
  return Object.fromEntries(Object.entries(styles).map(([name, { staged: _, etag: __, ...style }]) => [name, style]))
}
