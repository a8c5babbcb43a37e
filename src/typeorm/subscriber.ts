import type { EntityMetadata, EntitySubscriberInterface, ObjectLiteral, QueryRunner } from 'typeorm'
import { Attached } from '../attachment/attached'
import { type AttachmentRecord, emptyRecord } from '../attachment/record'
import type { Job } from '../background/job'
import { UsageError } from '../errors'
import type { Intent, Intents } from '../lifecycle/intents'
import { deleteJob, type Place, planRow, processJob } from '../lifecycle/plan'
import { type BoundAttachment, isInstance, rowRef } from './binding'
import { belongs, detaching, foreign, intended, isStale } from './intended'
import { removals, removedRow } from './removals'
import { type Run, runOn } from './run'
import { type Turn, transactions } from './transactions'

/** What follows a commit. */
export interface Committed {
  readonly job: Job | null
  readonly bound: BoundAttachment
  /** The intent that was carried out, if one was. */
  readonly intent: Intent | null
  /** The entity in memory, to be told what became of its file. */
  readonly owner: ObjectLiteral | null
}

export interface SubscriberContext {
  readonly intents: Intents
  attachmentsOf(metadata: EntityMetadata): readonly BoundAttachment[]
  /** Name under which a definition's storage stands in the row. */
  storageName(bound: BoundAttachment): string
  /** Called after the outermost commit. Must not reject. */
  committed(entries: readonly Committed[], run: Run): Promise<void>
}

/**
 * Listens to TypeORM. What is to happen is decided before the statement, because afterwards TypeORM has filled a partial
 * entity with nulls; it is carried out after it, inside the transaction, on the locked row.
 */
export function subscriber({ intents, attachmentsOf, storageName, committed }: SubscriberContext): EntitySubscriberInterface {
  const transaction = transactions<Committed>()
  const decisions = new WeakMap<object, Map<BoundAttachment, Intent>>()
  const removed = removals<Committed>()

  function decide(owner: ObjectLiteral, bound: BoundAttachment, intent: Intent): void {
    const map = decisions.get(owner) ?? new Map<BoundAttachment, Intent>()
    decisions.set(owner, map.set(bound, intent))
  }

  /** Listeners of the entity may have attached something after we decided: an intent on the value is enough. */
  function decided(metadata: EntityMetadata, owner: ObjectLiteral): ReadonlyMap<BoundAttachment, Intent> {
    for (const bound of attachmentsOf(metadata)) {
      const value = owner[bound.property]
      const intent = value instanceof Attached ? intents.get(value.version ?? '') : undefined
      if (intent && !decisions.get(owner)?.has(bound) && belongs(intent, bound)) decide(owner, bound, intent)
    }
    const decision = decisions.get(owner)
    decisions.delete(owner)
    return decision ?? new Map()
  }

  function carryOut({ metadata, entity, queryRunner }: { metadata: EntityMetadata; entity?: ObjectLiteral; queryRunner: QueryRunner }) {
    const work = [...(entity ? decided(metadata, entity) : [])].map(([bound, intent]) =>
      transaction.inTurn(queryRunner, (turn) => writeRow(entity as ObjectLiteral, bound, intent, queryRunner, turn)),
    )
    return together(work)
  }

  async function writeRow(owner: ObjectLiteral, bound: BoundAttachment, intent: Intent, runner: QueryRunner, turn: Turn<Committed>): Promise<void> {
    const place = placeOf(bound, owner)
    if (Object.values(place.ref.id).includes(undefined)) {
      throw new UsageError(
        'id_unknown',
        `the id of the saved ${bound.entity} is not known, so its file cannot be written: leave out { reload: false }`,
      )
    }
    const run = runOn(runner)
    const before = await bound.table.read(run, place.ref.id, 'lock')
    if (before === undefined) {
      throw new UsageError(
        'row_missing',
        `the row of ${bound.entity}.${bound.property} is not there to take its file: save the entity itself, by save()`,
      )
    }
    if (before && before.version === intent.version) return
    const after = intent.file ? planRow(place, intent.file, before) : emptyRecord
    if ((await bound.table.write(run, place.ref.id, after)) !== 1) {
      throw new UsageError('row_missing', `the row of ${bound.entity}.${bound.property} vanished while its file was written`)
    }
    const job = intent.file ? processJob(place, after as AttachmentRecord) : before ? deleteJob(place, before) : null
    // a detached value names its intent until the commit: after a rollback it can so be saved again
    if (intent.file) tell(owner, bound, after)
    else owner[bound.property] = bound.detached(intent.version)
    await afterCommit(runner, turn, { job, bound, intent, owner })
  }

  async function afterCommit(runner: QueryRunner, turn: Turn<Committed>, entry: Committed): Promise<void> {
    if (!turn.add(entry)) await finish([entry], runner)
  }

  async function finish(entries: readonly Committed[], runner: QueryRunner): Promise<void> {
    for (const { intent, owner, bound } of entries) if (owner && intent?.file === null) tell(owner, bound, emptyRecord)
    await committed(entries, runOn(runner))
  }

  function placeOf(bound: BoundAttachment, owner: ObjectLiteral): Place {
    return { definition: bound.definition, entity: bound.entity, storage: storageName(bound), ref: rowRef(bound.metadata, owner) }
  }

  return {
    beforeInsert({ metadata, entity }) {
      for (const bound of entity ? attachmentsOf(metadata) : []) {
        const intent = intended(bound, entity, intents)
        if (intent) decide(entity, bound, intent)
      }
    },

    beforeUpdate({ metadata, entity, databaseEntity }) {
      for (const bound of entity ? attachmentsOf(metadata) : []) {
        const value = entity?.[bound.property]
        if (!databaseEntity && value !== undefined) throw foreign(bound, 'update() and query builders cannot write it')
        const known = databaseEntity?.[bound.property] as Attached | undefined
        if (value instanceof Attached && value.version === (known?.version ?? null)) continue
        if (value === null && isInstance(metadata, entity)) decide(entity as object, bound, detaching(bound, intents))
        else if (isStale(value, bound, entity as object, intents)) Object.assign(value, known)
        else {
          const intent = intended(bound, entity as object, intents)
          if (intent) decide(entity as object, bound, intent)
        }
      }
    },

    afterInsert: carryOut,
    afterUpdate: carryOut,

    beforeRemove({ metadata, databaseEntity, entityId, queryRunner }) {
      const row = removedRow(metadata, databaseEntity, entityId)
      const work = (row ? attachmentsOf(metadata) : []).map((bound) =>
        transaction.inTurn(queryRunner, async () => {
          const place = placeOf(bound, row as ObjectLiteral)
          const record = await bound.table.read(runOn(queryRunner), place.ref.id, 'lock')
          if (record) removed.add(queryRunner, place.ref, { job: deleteJob(place, record), bound, intent: null, owner: null })
        }),
      )
      return together(work)
    },

    async afterRemove({ metadata, databaseEntity, entityId, queryRunner }) {
      const row = removedRow(metadata, databaseEntity, entityId)
      const entries = row ? removed.take(queryRunner, rowRef(metadata, row)) : []
      for (const entry of entries) await transaction.inTurn(queryRunner, (turn) => afterCommit(queryRunner, turn, entry))
    },

    afterTransactionStart: ({ queryRunner }) => transaction.begin(queryRunner),
    beforeTransactionRollback: ({ queryRunner }) => transaction.endBeforeRollback(queryRunner),
    afterTransactionRollback: ({ queryRunner }) => transaction.rollback(queryRunner),
    async afterTransactionCommit({ queryRunner }) {
      const entries = transaction.commit(queryRunner)
      if (entries.length > 0) await finish(entries, queryRunner)
    },
  }
}

/** For TypeORM to await, if there is anything; of an event in which another subscriber has thrown it awaits nothing more. */
function together(work: ReadonlyArray<Promise<void>>): Promise<unknown> | undefined {
  if (work.length === 0) return undefined
  const all = Promise.all(work)
  all.catch(() => undefined)
  return all
}

/** Shows the entity in memory what its row says now. */
export function tell(owner: ObjectLiteral, bound: BoundAttachment, columns: AttachmentRecord | typeof emptyRecord): void {
  const value = owner[bound.property]
  if (value instanceof Attached) Object.assign(value, columns)
  else owner[bound.property] = bound.create(columns)
}
