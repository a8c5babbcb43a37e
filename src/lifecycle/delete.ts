import { type AttachmentRecord, filesOf, referredKeys } from '../attachment/record'
import type { AttachmentName } from '../attachment/rows'
import type { DeleteJob, VersionFiles } from '../background/job'
import { stagedOnly } from './left'
import { forgetNote } from './notes'
import type { Ports } from './ports'
import { unsavedLifetime } from './sweep'

/**
 * Deletes what was detached or removed, but nothing that its row refers to: then the transaction did not hold. Its note stays as
 * long as a job may be writing what is to be deleted; another transaction may have written the same one.
 */
export async function deleteLeft(job: DeleteJob, ports: Ports): Promise<void> {
  const { entity, attachment } = job
  const { keepsFiles } = ports.definition(entity, attachment)
  const doomed: VersionFiles[] = []
  for (const { id, files } of job.rows) {
    const record = await ports.rows.read({ entity, id, attachment })
    // a row that was not removed after all may have been given another file since, and then these are kept
    doomed.push(...unreferred(keepsFiles !== 'never' && record !== undefined ? stagedOnly(files) : files, record))
  }
  await deleteFiles(job, doomed, ports)
  // where files are kept, a note must not outlive the removal that did not hold: another may follow, of a row that left them behind
  const open = keepsFiles === 'never' ? job.rows.flatMap(({ files }) => files) : doomed.filter(({ keys }) => keys.length > 0)
  const over = ports.now().getTime() - Date.parse(job.at) > unsavedLifetime
  if (over || !open.some(({ unfinished }) => unfinished)) await forgetNote(job.note, ports.staging)
}

/**
 * Deletes files, wherever they are: as few requests as can be. But not those of another row: once a row is gone, its upload can be
 * attached anew by its token, under the same version.
 */
export async function deleteFiles({ entity, attachment }: AttachmentName, given: readonly VersionFiles[], ports: Ports): Promise<void> {
  const { rows, storage, staging } = ports
  const taken = await rows.atVersions(entity, attachment, [...new Set(given.map(({ version }) => version))])
  const files = without(
    given,
    taken.flatMap(({ record }) => filesOf(record).flatMap(({ keys, staged }) => [...keys, ...staged])),
  )
  for (const name of new Set(files.map((file) => file.storage))) {
    const keys = files.flatMap((file) => (file.storage === name ? file.keys : []))
    if (keys.length > 0) await storage(name).delete(keys)
  }
  const staged = files.flatMap((file) => file.staged)
  if (staged.length > 0) await staging.delete(staged)
}

/** The same files without those that a row refers to. */
export function unreferred(files: readonly VersionFiles[], record: AttachmentRecord | null | undefined): VersionFiles[] {
  return without(files, referredKeys(record))
}

function without(files: readonly VersionFiles[], kept: Iterable<string>): VersionFiles[] {
  const held = new Set(kept)
  const free = (key: string) => !held.has(key)
  return files.map((file) => ({ ...file, keys: file.keys.filter(free), staged: file.staged.filter(free) }))
}
