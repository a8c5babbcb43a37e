import type { DataSource, QueryResult, QueryRunner } from 'typeorm'

/** Sends one statement to the database. */
export type Run = (sql: string, parameters: unknown[]) => Promise<QueryResult>

/** Statements on the connection of a query runner, one at a time: pg takes no second one while the first is under way. */
export function runOn(runner: QueryRunner): Run {
  let last: Promise<unknown> = Promise.resolve()
  return (sql, parameters) => {
    const result = last.then(() => runner.query(sql, parameters, true))
    last = result.catch(() => undefined)
    return result
  }
}

/** Each statement takes a connection to the primary and gives it back: a job holds none while it makes pictures. */
export function runOnPrimary(dataSource: DataSource): Run {
  return async (sql, parameters) => {
    const runner = dataSource.createQueryRunner('master')
    try {
      return await runner.query(sql, parameters, true)
    } finally {
      await runner.release()
    }
  }
}
