import { setTimeout as sleep } from 'node:timers/promises'
import type { DataSource, QueryResult, QueryRunner } from 'typeorm'

/** Sends one statement to the database. */
export type Run = (sql: string, parameters: unknown[]) => Promise<QueryResult>

/** Statements on the connection of a query runner, one at a time: pg takes no second one while the first is under way. */
export function runOn(runner: Pick<QueryRunner, 'query'>): Run {
  let last: Promise<unknown> = Promise.resolve()
  return (sql, parameters) => {
    const result = last.then(() => runner.query(sql, parameters, true))
    last = result.catch(() => undefined)
    return result
  }
}

/**
 * Does something in the transaction of a query runner. When it fails it is undone alone: PostgreSQL would take no further statement.
 * What sends no statement costs none.
 */
export async function inSavepoint<T>(runner: QueryRunner, work: (run: Run) => Promise<T>): Promise<T> {
  const run = runOn(runner)
  let begun: Promise<unknown> | undefined
  try {
    const result = await work(async (sql, parameters) => {
      begun ??= run('SAVEPOINT typeorm_attachments', [])
      await begun
      return run(sql, parameters)
    })
    if (begun) await run('RELEASE SAVEPOINT typeorm_attachments', [])
    return result
  } catch (error) {
    if (begun) await run('ROLLBACK TO SAVEPOINT typeorm_attachments', [])
    throw error
  }
}

/** Each statement takes a connection to the primary and gives it back: a job holds none while it makes pictures. */
export function runOnPrimary(dataSource: DataSource): Run {
  return eachOn(dataSource, outsideTransactions)
}

/** The same for what only reads, and what somebody may wait for in a transaction: on SQLite, where all share one connection, in the same. */
export function readOnPrimary(dataSource: DataSource): Run {
  return eachOn(dataSource, runOn)
}

function eachOn(dataSource: DataSource, on: (runner: QueryRunner) => Run): Run {
  return patiently(async (sql, parameters) => {
    const runner = dataSource.createQueryRunner('master')
    try {
      return await on(runner)(sql, parameters)
    } finally {
      await runner.release()
    }
  })
}

/** How often it is looked whether a transaction has ended. Milliseconds. */
const pause = 5

/**
 * Like `runOn`, for what must not be undone with somebody's transaction: one that a subscriber began after the commit, and on
 * SQLite, where all share one connection, anybody's.
 */
export function outsideTransactions(runner: QueryRunner): Run {
  return runOn({
    async query(sql: string, parameters: unknown[]) {
      while (runner.isTransactionActive) await sleep(pause)
      return runner.query(sql, parameters, true)
    },
  } as Pick<QueryRunner, 'query'>)
}

/**
 * What databases say when a statement lost against another and may simply be sent again: serialization failures and deadlocks
 * of PostgreSQL (SQLSTATE 40001, 40P01) and of MySQL and MariaDB (1213, 1205, and 1020 under snapshot isolation), SQLite being busy.
 */
const collisions = new Set<unknown>(['40001', '40P01', 1213, 1205, 1020, 'SQLITE_BUSY'])
const mostTries = 10

/** What PostgreSQL (SQLSTATE 23505), MySQL and MariaDB (1062) say of a value that another row has; their messages name the index. */
const duplicates = new Set<unknown>(['23505', 1062])

/** Whether another row has a value that an index wants to be the only one. */
export function isDuplicate(error: unknown, index: string): boolean {
  const { code, errno, message } = saidBy(error)
  return (duplicates.has(code) || duplicates.has(errno)) && String(message).includes(index)
}

function saidBy(error: unknown): { code?: unknown; errno?: unknown; message?: unknown } {
  return Object((error as { driverError?: unknown }).driverError)
}

/** For statements outside of transactions: they failed as a whole, and have their right to another try. */
export function patiently(run: Run): Run {
  async function again(sql: string, parameters: unknown[], tries: number): Promise<QueryResult> {
    try {
      return await run(sql, parameters)
    } catch (error) {
      const { code, errno } = saidBy(error)
      if (tries >= mostTries || !(collisions.has(code) || collisions.has(errno))) throw error
      await sleep(10 * tries * Math.random())
      return again(sql, parameters, tries + 1)
    }
  }
  return (sql, parameters) => again(sql, parameters, 1)
}
