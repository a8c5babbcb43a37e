import type { EntityMetadata, ObjectLiteral, QueryRunner } from 'typeorm'
import type { RowRef } from '../background/job'
import { printedId } from '../lifecycle/plan'

/** What is known of a row that is removed: a child that lost its parent goes by its id alone, `delete(id)` names nothing. */
export function removedRow(metadata: EntityMetadata, databaseEntity: ObjectLiteral | undefined, entityId: unknown): ObjectLiteral | undefined {
  return databaseEntity ?? (entityId === undefined ? undefined : metadata.ensureEntityIdMap(entityId))
}

/** What was read of rows before their removal, until it is done. */
export interface Removals<Entry> {
  add(runner: QueryRunner, ref: RowRef, entry: Entry): void
  take(runner: QueryRunner, ref: RowRef): readonly Entry[]
}

export function removals<Entry>(): Removals<Entry> {
  const held = new WeakMap<QueryRunner, Map<string, Entry[]>>()
  const keyOf = ({ entity, id }: RowRef) => `${entity} ${printedId(id)}`
  return {
    add(runner, ref, entry) {
      const rows = held.get(runner) ?? new Map<string, Entry[]>()
      held.set(runner, rows.set(keyOf(ref), [...(rows.get(keyOf(ref)) ?? []), entry]))
    },
    take(runner, ref) {
      const entries = held.get(runner)?.get(keyOf(ref)) ?? []
      held.get(runner)?.delete(keyOf(ref))
      return entries
    },
  }
}
