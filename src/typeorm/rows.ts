import type { AttachmentRef, FoundRow, Rows } from '../attachment/rows'
import { UsageError } from '../errors'
import type { Teller } from '../notify/signals'
import type { BoundAttachment } from './binding'
import type { Run } from './run'
import type { AttachmentTable, Conditions } from './table'

/** The rows of a data source, as jobs see them. */
export function rowsOf(find: (entity: string, attachment: string) => BoundAttachment, run: Run, { along, tell }: Teller): Rows {
  /** A row that is asked for by something else is not one that is gone: its files must not be deleted. */
  function tableOf({ entity, id, attachment }: AttachmentRef): AttachmentTable {
    const { table, metadata } = find(entity, attachment)
    const names = metadata.primaryColumns.map(({ propertyPath }) => propertyPath)
    if (Object.keys(id).length === names.length && names.every((name) => name in id)) return table
    throw new UsageError('bad_id', `a row of ${entity} has the id { ${names.join(', ')} }, and was asked for by ${JSON.stringify(id)}`)
  }

  async function found(entity: string, attachment: string, conditions: Conditions, limit: number): Promise<FoundRow[]> {
    const rows = await find(entity, attachment).table.find(run, conditions, limit)
    return rows.map(({ id, record }) => ({ ref: { entity, id, attachment }, record }))
  }

  return {
    read: async (ref) => tableOf(ref).read(run, ref.id),
    async update(ref, fence, changes, state) {
      const signal = state && { ...ref, version: changes.version ?? fence.version, state }
      const told = signal && (await along(signal))
      const done = (await tableOf(ref).write(run, ref.id, changes, fence, told)) > 0
      if (done && signal) tell(signal, told ? 'were told' : 'are to be told')
      return done
    },
    processing: (entity, attachment, { before, after }, limit) =>
      found(entity, attachment, { processing: true, attemptedBefore: before, attemptedAfter: after }, limit),
    failed: (entity, attachment, { before, after }, limit) =>
      found(entity, attachment, { processing: false, failed: true, attemptedBefore: before, attemptedAfter: after }, limit),
    atVersions: async (entity, attachment, versions) => (versions.length > 0 ? found(entity, attachment, { versions }, versions.length) : []),
  }
}
