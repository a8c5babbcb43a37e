import type { AttachmentRecord, emptyRecord } from '../../src/attachment/record'
import type { AttachmentRef, Fence, FoundRow, Rows } from '../../src/attachment/rows'
import type { LockedRow } from '../../src/lifecycle/save'
import type { Machine, Scheduler } from './scheduler'

type Row = AttachmentRecord | null

/** A transaction of one machine: what it wrote is seen by others when it commits. */
export interface Transaction {
  readonly machine: Machine
  readonly written: Map<number, Row | undefined>
  /** COMMIT was sent: it may happen even if nobody hears of it. */
  committing: boolean
}

/**
 * Rows with one attachment each, under read committed: a row that a transaction has locked can be read, and waits with
 * being changed. Keeps the contract of the port `Rows`, which the tests hold against real databases.
 */
export class Database {
  readonly rows = new Map<number, Row>()
  readonly locks = new Map<number, Transaction>()

  constructor(
    readonly scheduler: Scheduler,
    readonly entity: string,
    readonly attachment: string,
  ) {}

  ref(id: number): AttachmentRef {
    return { entity: this.entity, id: { id }, attachment: this.attachment }
  }

  /** As jobs see the rows. */
  portFor(machine: Machine): Rows {
    const ask = <T>(what: string, effect: () => T, ready?: () => boolean) => this.scheduler.ask(machine, what, () => copy(effect()), { ready })
    const idOf = ({ id }: AttachmentRef) => id['id'] as number
    const matching = (meets: (record: AttachmentRecord) => boolean, limit: number): FoundRow[] =>
      [...this.rows]
        .flatMap(([id, record]) => (record && meets(record) ? [{ ref: this.ref(id), record }] : []))
        .sort((a, b) => Number(a.record.attemptedAt) - Number(b.record.attemptedAt))
        .slice(0, limit)
    return {
      read: (ref) => ask(`read row ${idOf(ref)}`, () => this.rows.get(idOf(ref))),
      update: (ref, fence, changes) => {
        const id = idOf(ref)
        return ask(
          `update row ${id} at ${fence.version.slice(0, 4)}: ${Object.keys(changes)}`,
          () => {
            const record = this.rows.get(id)
            if (!record || !within(fence, record)) return false
            this.rows.set(id, copy({ ...record, ...changes }))
            return true
          },
          () => !this.locks.has(id),
        )
      },
      processing: (_entity, _attachment, { before, after }, limit) =>
        ask('find what is processing', () =>
          matching(
            ({ processing, attemptedAt }) =>
              processing && attemptedAt !== null && (!before || attemptedAt < before) && (!after || attemptedAt > after),
            limit,
          ),
        ),
      failed: (_entity, _attachment, { before }, limit) =>
        ask('find what failed', () =>
          matching(({ processing, error, attemptedAt }) => !processing && error !== null && (!before || Number(attemptedAt) < Number(before)), limit),
        ),
      atVersions: (_entity, _attachment, versions) =>
        ask('find versions', () => matching(({ version }) => versions.includes(version), versions.length)),
    }
  }

  begin(machine: Machine): Transaction {
    return { machine, written: new Map(), committing: false }
  }

  /** The row in a transaction, made where it is missing. */
  lockedRow(transaction: Transaction, id: number): Required<LockedRow> {
    const { machine, written } = transaction
    const free = () => [undefined, transaction].includes(this.locks.get(id))
    return {
      read: () =>
        this.scheduler.ask(
          machine,
          `lock row ${id}`,
          () => {
            if (machine.alive) this.locks.set(id, transaction)
            return copy(written.has(id) ? written.get(id) : this.rows.get(id))
          },
          { ready: free },
        ),
      write: (columns) =>
        this.scheduler.ask(machine, `write row ${id}`, () => {
          written.set(id, copy((columns as AttachmentRecord | typeof emptyRecord).version === null ? null : (columns as AttachmentRecord)))
          return 1
        }),
      fill: (columns) =>
        this.scheduler.ask(
          machine,
          `fill row ${id}`,
          () => {
            if ((written.has(id) ? written.get(id) : this.rows.get(id)) !== null) return false
            if (machine.alive) this.locks.set(id, transaction)
            written.set(id, copy(columns))
            return true
          },
          { ready: free },
        ),
    }
  }

  commit(transaction: Transaction): void {
    for (const [id, row] of transaction.written) {
      if (row === undefined) this.rows.delete(id)
      else this.rows.set(id, row)
    }
    this.end(transaction)
  }

  /** A rollback, and what becomes of a transaction whose machine is gone. */
  end(transaction: Transaction): void {
    for (const [id, holder] of this.locks) if (holder === transaction) this.locks.delete(id)
  }
}

function within({ version, processing, attemptedAt }: Fence, record: AttachmentRecord): boolean {
  const untouched = attemptedAt === undefined || attemptedAt?.getTime() === record.attemptedAt?.getTime()
  return record.version === version && record.processing === processing && untouched
}

const copy: <T>(value: T) => T = structuredClone
