import { type AttachmentRecord, filesOf, newVersion } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import { type DeleteJob, type LeftFiles, noteFolder, type VersionFiles } from '../background/job'

/** Files that a row has left behind. */
export interface Left {
  readonly ref: AttachmentRef
  readonly files: readonly VersionFiles[]
}

/**
 * What is to be deleted of a file that its row leaves behind.
 *
 * @param kept what is in the storage is to stay there, but for what was to be deleted already
 */
export function leftFiles(record: AttachmentRecord, kept: boolean): VersionFiles[] {
  const own = filesOf(record)
  const all = [...(record.meta.previous ?? []), ...(kept ? stagedOnly(own) : own)]
  return all.filter(({ keys, staged }) => keys.length + staged.length > 0)
}

export function stagedOnly(files: readonly VersionFiles[]): VersionFiles[] {
  return files.map((file) => ({ ...file, keys: [] }))
}

/** How many keys S3 deletes with one request. */
const mostKeys = 1_000

/** As few jobs as can be. A file that a job may still be writing has one of its own, which that job can end. */
export function deleteJobs(lefts: readonly Left[], now: Date): DeleteJob[] {
  const at = now.toISOString()
  const jobs: Array<DeleteJob & { rows: LeftFiles[] }> = []
  const room = new Map<string, { job: DeleteJob & { rows: LeftFiles[] }; keys: number }>()
  for (const { ref, files } of lefts) {
    const { entity, attachment, id } = ref
    for (const file of files.filter(({ unfinished }) => unfinished)) {
      jobs.push({ kind: 'delete', entity, attachment, rows: [{ id, files: [file] }], note: noteKey(file.version), at })
    }
    const finished = files.filter(({ unfinished }) => !unfinished)
    const keys = finished.reduce((sum, file) => sum + file.keys.length, 0)
    if (finished.length === 0) continue
    const name = `${entity}.${attachment}`
    let open = room.get(name)
    if (!open || open.keys + keys > mostKeys) {
      open = { job: { kind: 'delete', entity, attachment, rows: [], note: noteKey(`${finished[0]?.version}-${newVersion()}`), at }, keys: 0 }
      jobs.push(open.job)
      room.set(name, open)
    }
    open.job.rows.push({ id, files: finished })
    open.keys += keys
  }
  return jobs
}

/**
 * Where the note stands of what a job may still be writing: that job ends it, whoever wrote it. What is finished has notes of its own for
 * each transaction, so that none strikes out what another has written down.
 */
export function noteKey(version: string): string {
  return `${noteFolder}${version}.json`
}
