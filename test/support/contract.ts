import { join } from 'node:path'
import { describe, it } from 'vitest'
import type { ContractCase, ProcessOptions } from '../../src/testing/testing'

/** Of a case that starts processes, on a machine that is busy. Milliseconds. */
export const timeout = 120_000

/** Runs the cases of a contract as tests. */
export function contract(name: string, cases: readonly ContractCase[]): void {
  describe(name, () => {
    for (const { name, run } of cases) it(name, run, timeout)
  })
}

type Elsewhere = 'disk' | 's3' | 'table' | 'graphile' | 'bullmq' | 'bullmq-postgres' | 'sqs' | 'pg-boss' | 'broken-disk' | 'broken-table'

/** What makes the same in another process. It is TypeScript, and so is the program of that process. */
export function elsewhere(name: Elsewhere): ProcessOptions {
  return { module: join(__dirname, 'elsewhere', `${name}.ts`), execArgv: ['--import', 'tsx'] }
}
