import type { DataSource } from 'typeorm'
import type { BackgroundAdapter, Perform, Storage } from '../../src'
import type { Calls } from './calls'

/** What happens outside, while a scenario is prepared. */
export interface Weather {
  /** No job reaches a queue. */
  losesJobs?: boolean
  /** The storage takes nothing. */
  storageDown?: boolean
}

/** A storage whose every call is counted. */
export function countedStorage(name: string, inner: Storage, calls: Calls, isDown: () => boolean = () => false): Storage {
  return {
    ...inner,
    write: (key, body, info) =>
      calls.around(`${name} write`, async (nth) => {
        if (isDown()) throw new Error('the storage is down')
        await inner.write(key, calls.body(`${name} write`, nth, body), info)
      }),
    read: (key, options) => calls.around(`${name} read`, () => inner.read(key, options)),
    stat: (key) => calls.around(`${name} stat`, () => inner.stat(key)),
    delete: (keys) => calls.around(`${name} delete`, () => inner.delete(keys)),
    ...(inner.list && { list: (prefix) => calls.through(`${name} list`, inner.list?.(prefix) ?? noneOf()) }),
  }
}

async function* noneOf(): AsyncIterable<never> {}

/** Counts what goes into a queue and what comes out of it. */
export function countedBackground(inner: BackgroundAdapter, calls: Calls, weather: Weather): BackgroundAdapter {
  const counted =
    (perform: Perform): Perform =>
    (job, attempt, told) =>
      calls.around('job', () => perform(job, attempt, told))
  return {
    ...inner,
    ...(inner.start && { start: (perform) => inner.start?.(counted(perform)) }),
    ...(inner.work && { work: (perform, options) => inner.work!(counted(perform), options) }),
    ...(inner.enqueueWithin && {
      enqueueWithin: async (jobs, query, database) => weather.losesJobs || (inner.enqueueWithin?.(jobs, query, database) ?? false),
    }),
    enqueue: async (job, sending) => {
      if (!weather.losesJobs) await calls.around('enqueue', () => inner.enqueue(job, sending))
    },
  }
}

/** Counts every statement, those of TypeORM and BEGIN and COMMIT among them. */
export function countStatements({ driver }: DataSource, calls: Calls): void {
  const create = driver.createQueryRunner.bind(driver)
  driver.createQueryRunner = (mode) => {
    const runner = create(mode)
    const query = runner.query.bind(runner) as (...given: unknown[]) => Promise<unknown>
    const counted = (...given: unknown[]) => calls.around(`sql ${String(given[0]).split(' ', 1)[0]}`, () => query(...given))
    return Object.assign(runner, { query: counted as typeof runner.query })
  }
}
