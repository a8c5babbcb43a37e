import { text } from 'node:stream/consumers'
import { checkJob, type DeleteJob, noteFolder } from '../background/job'
import { messageOf } from '../errors'
import type { Storage } from '../storage/storage'
import { deleteJobs, type Left } from './left'
import type { Ports } from './ports'
import { inTime, warn } from './send'

// Of files whose row is gone nothing in the database knows any more. Their delete job is therefore written down in the staging
// before the commit, and struck out when it is done: `requeueLost()` finds what a crash has left.

/**
 * The jobs that delete what a transaction leaves behind, written down. Never rejects: a removal does not fail because of what may be
 * left over after a crash.
 *
 * @param isIntent whether a version was saved by this very transaction: should that be rolled back, it can be saved again, so
 * nothing may be written down that deletes it
 */
export async function prepareDeletes(
  lefts: readonly Left[],
  isIntent: (version: string) => boolean,
  { staging, now }: Pick<Ports, 'staging' | 'now'>,
) {
  const only = (wanted: boolean) => lefts.map(({ ref, files }) => ({ ref, files: files.filter(({ version }) => isIntent(version) === wanted) }))
  const unsaved = deleteJobs(only(true), now()).map((job) => ({ ...job, note: null }))
  return [...(await writeNotes(deleteJobs(only(false), now()), staging)), ...unsaved]
}

/** What is to be sent: without a note where nothing could be found again. */
export async function writeNotes(jobs: readonly DeleteJob[], staging: Storage): Promise<DeleteJob[]> {
  if (!staging.list) return jobs.map((job) => ({ ...job, note: null }))
  const written = Promise.all(jobs.map((job) => writeNote(job, staging)))
  await inTime(written, 'the staging').catch((error) => warn(`files to be deleted could not be written down beforehand: ${messageOf(error)}`))
  return [...jobs]
}

async function writeNote(job: DeleteJob, staging: Storage): Promise<void> {
  const body = Buffer.from(JSON.stringify(job))
  if (job.note) await staging.write(job.note, body, { contentType: 'application/json', size: body.length })
}

/** After a COMMIT that was refused. Where a note stays it does no harm, unless files are kept: then it could name some that are to stay. */
export async function withdrawDeletes(jobs: readonly DeleteJob[], staging: Storage): Promise<void> {
  const notes = jobs.flatMap(({ note }) => note ?? [])
  if (notes.length > 0) await inTime(staging.delete(notes), 'the staging').catch(() => undefined)
}

export async function forgetNote(note: string | null, staging: Storage): Promise<void> {
  if (note) await staging.delete([note])
}

/**
 * The delete jobs whose notes nobody touched since a moment. Each is touched, so that others who look at the same time
 * find it young.
 */
export async function* lostDeletes(before: Date, staging: Storage): AsyncIterable<DeleteJob> {
  for await (const { key, modified } of staging.list?.(noteFolder) ?? []) {
    if (modified > before) continue
    try {
      const job = checkJob(JSON.parse(await text(await staging.read(key))))
      if (job.kind !== 'delete' || job.note !== key) throw new Error('it is the note of another job')
      await writeNote(job, staging)
      yield job
    } catch (error) {
      // struck out meanwhile, or damaged: then it is for a person to look at
      if ((error as { code?: string }).code !== 'object_missing') warn(`the note '${key}' in the staging cannot be used: ${messageOf(error)}`)
    }
  }
}
