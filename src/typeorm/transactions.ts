import type { QueryRunner } from 'typeorm'

interface Frame<Entry> {
  /** Rejected for good once anything in this transaction failed. */
  turn: Promise<unknown>
  readonly entries: Entry[]
}

/**
 * What is to happen after a commit, per query runner: a savepoint that is rolled back takes its own entries with it, the
 * outermost commit hands all of them out.
 */
export interface Transactions<Entry> {
  begin(runner: QueryRunner): void
  /** The entries to act on now: all of them after the outermost commit, none after a savepoint's. */
  commit(runner: QueryRunner): readonly Entry[]
  rollback(runner: QueryRunner): void
  /** Remembers an entry until the commit; false without a transaction, when its time is now. */
  add(runner: QueryRunner, entry: Entry): boolean
  /**
   * One task of a query runner after the other: TypeORM calls subscribers of a bulk save all at once. After a failure
   * none runs any more, for it would run after the rollback.
   */
  inTurn<T>(runner: QueryRunner, task: () => Promise<T>): Promise<T>
}

export function transactions<Entry>(): Transactions<Entry> {
  const open = new WeakMap<QueryRunner, Array<Frame<Entry>>>()
  const framesOf = (runner: QueryRunner) => open.get(runner) ?? []

  return {
    begin(runner) {
      open.set(runner, [...framesOf(runner), { turn: Promise.resolve(), entries: [] }])
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
    rollback(runner) {
      framesOf(runner).pop()
      if (!runner.isTransactionActive) open.delete(runner)
    },
    add(runner, entry) {
      const frame = framesOf(runner).at(-1)
      frame?.entries.push(entry)
      return frame !== undefined
    },
    inTurn(runner, task) {
      const frame = framesOf(runner).at(-1)
      if (!frame) return task()
      const result = frame.turn.then(task)
      frame.turn = result
      // whoever called sees the failure; the turn only has to know of it
      result.catch(() => undefined)
      return result
    },
  }
}
