import type { EntityMetadata, EntitySubscriberInterface, ObjectLiteral, QueryRunner, UpdateEvent } from 'typeorm'
import { Attached } from '../attachment/attached'
import { type AttachmentRecord, emptyRecord } from '../attachment/record'
import type { DeleteJob, Job } from '../background/job'
import { RefusedFileError, UsageError } from '../errors'
import type { Intent, Intents } from '../lifecycle/intents'
import type { Place } from '../lifecycle/plan'
import { beforeRemoval, carryOut, type LockedRow, type Outcome } from '../lifecycle/save'
import { type BoundAttachment, isInstance, rowRef } from './binding'
import { belongs, detaching, foreign, intended, isStale } from './intended'
import { removals, removedRow } from './removals'
import { isDuplicate, outsideTransactions, patiently, type Run, runOn } from './run'
import { type Turn, transactions } from './transactions'

/** What follows a commit. */
export interface Committed extends Outcome {
  readonly bound: BoundAttachment
  /** The intent that was carried out, if one was. */
  readonly intent: Intent | null
  /** The entity in memory, to be told what became of its file. */
  readonly owner: ObjectLiteral | null
  readonly ref: Place['ref']
}

/** What was done before a commit. */
export interface Prepared {
  readonly deletes: readonly DeleteJob[]
  /** Jobs that come with the transaction. */
  readonly carried: ReadonlySet<Job>
  /** Whether others hear of it with the transaction. */
  readonly told: boolean
}

/** What TypeORM tells of an insert or an update. */
interface Written extends Pick<UpdateEvent<ObjectLiteral>, 'metadata' | 'queryRunner' | 'entity'> {
  readonly updatedColumns?: UpdateEvent<ObjectLiteral>['updatedColumns']
}

export interface SubscriberContext {
  readonly intents: Intents
  attachmentsOf(metadata: EntityMetadata): readonly BoundAttachment[]
  placeOf(bound: BoundAttachment, owner: ObjectLiteral): Place
  /** Called right before the outermost commit, or without a transaction: what will follow. Must not reject. */
  committing(entries: readonly Committed[], runner: QueryRunner): Promise<Prepared>
  /** Called when it was refused. Must not reject. */
  refused(prepared: Prepared): Promise<void>
  /** Called after it. Must not reject. */
  committed(entries: readonly Committed[], prepared: Prepared, run: Run): Promise<void>
}

/**
 * Listens to TypeORM. What is to happen is decided before the statement, because afterwards TypeORM has filled a partial
 * entity with nulls; it is carried out after it, inside the transaction, on the locked row.
 */
export function subscriber({ intents, attachmentsOf, placeOf, committing, committed, refused }: SubscriberContext): EntitySubscriberInterface {
  const transaction = transactions<Committed>()
  const decisions = new WeakMap<object, Map<BoundAttachment, Intent>>()
  const removed = removals<Committed>()
  const commits = new WeakMap<QueryRunner, { entries: readonly Committed[]; prepared: Prepared }>()

  function decide(owner: ObjectLiteral, bound: BoundAttachment, intent: Intent): void {
    const map = decisions.get(owner) ?? new Map<BoundAttachment, Intent>()
    decisions.set(owner, map.set(bound, intent))
  }

  /** Other listeners may have attached something after we decided: an intent on the value is enough; or set the property to null. */
  function decided({ metadata, updatedColumns = [] }: Written, owner: ObjectLiteral): ReadonlyMap<BoundAttachment, Intent> {
    for (const bound of attachmentsOf(metadata)) {
      if (decisions.get(owner)?.has(bound)) continue
      const value = owner[bound.property]
      const intent = value instanceof Attached ? intents.get(value.version ?? '') : undefined
      if (intent && belongs(intent, bound)) decide(owner, bound, intent)
      // TypeORM has written a null, and filled the value with nulls since
      const emptied = value === null || (value instanceof Attached && value.version === null)
      if (emptied && updatedColumns.includes(bound.updatedAt)) decide(owner, bound, detaching(bound, intents))
    }
    const decision = decisions.get(owner)
    decisions.delete(owner)
    return decision ?? new Map()
  }

  function writeRows(event: Written, lock: typeof lockedRow) {
    const { entity, queryRunner } = event
    const work = [...(entity ? decided(event, entity) : [])].map(([bound, intent]) =>
      transaction.inTurn(queryRunner, (turn) => writeRow(entity as ObjectLiteral, bound, intent, queryRunner, turn, lock)),
    )
    return together(work)
  }

  async function writeRow(
    owner: ObjectLiteral,
    bound: BoundAttachment,
    intent: Intent,
    runner: QueryRunner,
    turn: Turn<Committed>,
    lock: typeof lockedRow,
  ): Promise<void> {
    const place = placeOf(bound, owner)
    if (Object.values(place.ref.id).includes(undefined)) {
      throw new UsageError(
        'id_unknown',
        `the id of the saved ${bound.entity} is not known, so its file cannot be written: leave out { reload: false }`,
      )
    }
    const { columns, ...outcome } = await carryOut(intent, place, lock(bound, place, runner), { intents, now: () => new Date() })
    // a detached value names its intent until the commit: after a rollback it can so be saved again
    if (columns) tell(owner, bound, columns)
    else owner[bound.property] = bound.detached(intent.version)
    await afterCommit(runner, turn, { ...outcome, bound, intent, owner, ref: place.ref })
  }

  function lockedRow(bound: BoundAttachment, { ref }: Place, runner: QueryRunner): LockedRow {
    const { table } = bound
    const run = runOn(runner)
    return { read: () => table.read(run, ref.id, 'lock'), write: (columns) => unlessTaken(bound, table.write(run, ref.id, columns)) }
  }

  function insertedRow(bound: BoundAttachment, place: Place, runner: QueryRunner): LockedRow {
    const run = runOn(runner)
    return {
      ...lockedRow(bound, place, runner),
      fill: async (columns) => (await unlessTaken(bound, bound.table.write(run, place.ref.id, columns, { empty: true }))) === 1,
    }
  }

  async function afterCommit(runner: QueryRunner, turn: Turn<Committed>, entry: Committed): Promise<void> {
    if (!turn.add(entry)) await finish([entry], runner)
  }

  async function finish(entries: readonly Committed[], runner: QueryRunner): Promise<void> {
    const prepared = commits.get(runner)?.prepared ?? (await committing(entries, runner))
    commits.delete(runner)
    for (const { intent, owner, bound } of entries) if (owner && intent?.file === null) tell(owner, bound, emptyRecord)
    await committed(entries, prepared, patiently(outsideTransactions(runner)))
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

    afterInsert: (event) => writeRows(event, insertedRow),
    afterUpdate: (event) => writeRows(event, lockedRow),

    beforeRemove({ metadata, databaseEntity, entityId, queryRunner }) {
      const row = removedRow(metadata, databaseEntity, entityId)
      const work = (row ? attachmentsOf(metadata) : []).map((bound) =>
        transaction.inTurn(queryRunner, async () => {
          const place = placeOf(bound, row as ObjectLiteral)
          const outcome = await beforeRemoval(place, lockedRow(bound, place, queryRunner))
          if (outcome) removed.add(queryRunner, place.ref, { ...outcome, bound, intent: null, owner: null, ref: place.ref })
        }),
      )
      return together(work)
    },

    async afterRemove({ metadata, databaseEntity, entityId, queryRunner }) {
      const row = removedRow(metadata, databaseEntity, entityId)
      const entries = row ? removed.take(queryRunner, rowRef(metadata, row)) : []
      for (const entry of entries) await transaction.inTurn(queryRunner, (turn) => afterCommit(queryRunner, turn, entry))
    },

    beforeTransactionStart: ({ queryRunner }) => transaction.settled(queryRunner),
    afterTransactionStart: ({ queryRunner }) => transaction.begin(queryRunner),
    async beforeTransactionCommit({ queryRunner }) {
      const entries = transaction.pending(queryRunner)
      if (entries.length === 0) return
      for (const { intent } of entries) if (intent) intents.committing(intent.version)
      commits.set(queryRunner, { entries, prepared: await committing(entries, queryRunner) })
    },
    beforeTransactionRollback: ({ queryRunner }) => transaction.endBeforeRollback(queryRunner),
    async afterTransactionRollback({ queryRunner }) {
      transaction.rollback(queryRunner)
      // a COMMIT that was refused; had the connection been lost at it, nobody could tell, and this would not be called
      const { entries, prepared } = commits.get(queryRunner) ?? {}
      commits.delete(queryRunner)
      for (const { intent } of entries ?? []) if (intent) intents.reopen(intent.version)
      if (prepared) await refused(prepared)
    },
    async afterTransactionCommit({ queryRunner }) {
      const entries = transaction.commit(queryRunner)
      if (entries.length > 0) await finish(entries, queryRunner)
    },
  }
}

/** No two rows have one version: with the token of an upload, two may be given the same file at the same time. */
async function unlessTaken({ metadata, entity, property }: BoundAttachment, written: Promise<number>): Promise<number> {
  try {
    return await written
  } catch (error) {
    const unique = metadata.indices.find(({ columns }) => columns.length === 1 && columns[0]?.propertyPath === `${property}.version`)
    if (!unique || !isDuplicate(error, unique.name)) throw error
    const what = `the upload that ${entity}.${property} was given was taken by another ${entity} at the same time`
    throw new RefusedFileError('token_used', `${what}: upload the file again`, { cause: error })
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
