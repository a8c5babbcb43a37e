import type { QueryRunner } from 'typeorm'

/** One transaction, or one savepoint in it. */
interface Frame<Entry> {
  /** Rejected for good once anything in it failed. */
  turn: Promise<unknown>
  ended: boolean
  readonly entries: Entry[]
}

/** What is done inside a transaction, and remembers what is to follow its commit. */
export interface Turn<Entry> {
  /** Remembers an entry until the commit; false without a transaction, when its time is now. */
  add(entry: Entry): boolean
}

/**
 * What is to happen after a commit, per query runner: a savepoint that is rolled back takes its own entries with it, the
 * outermost commit hands all of them out.
 */
export interface Transactions<Entry> {
  /** Before a savepoint: what is under way is no part of it, and must not be undone with it. */
  settled(runner: QueryRunner): Promise<void>
  begin(runner: QueryRunner): void
  /** Before a commit: the entries that it will hand out. */
  pending(runner: QueryRunner): readonly Entry[]
  /** The entries to act on now: all of them after the outermost commit, none after a savepoint's. */
  commit(runner: QueryRunner): readonly Entry[]
  /** Before the rollback: lets nothing more begin, and waits for what is under way, which would otherwise run after it. */
  endBeforeRollback(runner: QueryRunner): Promise<void>
  rollback(runner: QueryRunner): void
  /**
   * One task of a query runner after the other: TypeORM calls subscribers of a bulk save all at once. After a failure
   * none begins any more.
   */
  inTurn<T>(runner: QueryRunner, task: (turn: Turn<Entry>) => Promise<T>): Promise<T>
}

export function transactions<Entry>(): Transactions<Entry> {
  const open = new WeakMap<QueryRunner, Array<Frame<Entry>>>()
  const framesOf = (runner: QueryRunner) => open.get(runner) ?? []

  return {
    async settled(runner) {
      await framesOf(runner)
        .at(-1)
        ?.turn.catch(() => undefined)
    },
    begin(runner) {
      open.set(runner, [...framesOf(runner), { turn: Promise.resolve(), ended: false, entries: [] }])
    },
    pending(runner) {
      const frames = framesOf(runner)
      return frames.length === 1 ? (frames[0]?.entries ?? []) : []
    },
    commit(runner) {
      const frames = framesOf(runner)
      const ended = frames.pop()
      if (!ended) return []
      if (!runner.isTransactionActive) {
        open.delete(runner)
        return [...frames.flatMap(({ entries }) => entries), ...ended.entries]
      }
      frames.at(-1)?.entries.push(...ended.entries)
      return []
    },
    async endBeforeRollback(runner) {
      const frame = framesOf(runner).at(-1)
      if (!frame) return
      frame.ended = true
      await frame.turn.catch(() => undefined)
    },
    rollback(runner) {
      framesOf(runner).pop()
      if (!runner.isTransactionActive) open.delete(runner)
    },
    inTurn(runner, task) {
      const frame = framesOf(runner).at(-1)
      if (!frame) return task({ add: () => false })
      const add = (entry: Entry) => frame.entries.push(entry) > 0
      const result = frame.turn.then(() => {
        if (frame.ended) throw new Error('the transaction was rolled back')
        return task({ add })
      })
      frame.turn = result
      // whoever called sees the failure, if TypeORM still listens; the turn only has to know of it
      result.catch(() => undefined)
      return result
    },
  }
}
