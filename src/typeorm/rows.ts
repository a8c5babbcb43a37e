import type { Rows } from '../attachment/rows'
import type { BoundAttachment } from './binding'
import type { Run } from './run'

/** The rows of a data source, as jobs see them. */
export function rowsOf(find: (entity: string, attachment: string) => BoundAttachment, run: Run): Rows {
  return {
    read: ({ entity, id, attachment }) => find(entity, attachment).table.read(run, id),

    async update({ entity, id, attachment }, version, changes, untouchedSince) {
      const conditions = { version, processing: true, attemptedBefore: untouchedSince }
      return (await find(entity, attachment).table.write(run, id, changes, conditions)) > 0
    },

    async waiting(entity, attachment, before, limit) {
      const rows = await find(entity, attachment).table.waiting(run, before, limit)
      return rows.map(({ id, record }) => ({ ref: { entity, id, attachment }, record }))
    },
  }
}
