import { setTimeout as sleep } from 'node:timers/promises'
import { runMigrations } from 'graphile-worker'
import pg from 'pg'
import { messageOf, UsageError } from '../errors'
import type { BackgroundAdapter, Database, Query, Worker } from './adapter'
import { type Crew, hire, logger } from './graphile-crew'
import { graphileSql, say, specsOf } from './graphile-sql'

export interface GraphileOptions {
  /** Yours, and it stays open. Each worker keeps a connection, and one for every queue. Give it a `connectionTimeoutMillis`. */
  readonly pool?: pg.Pool
  /** Instead of a pool, as `postgres://user:password@host/database`. */
  readonly connectionString?: string
  /** Where Graphile Worker lives in the database. Default `'graphile_worker'`. */
  readonly schema?: string
}

/**
 * How long a transaction waits to learn whether its database is the queue's, how long the database may be silent before jobs are
 * refused, and how long `close()` waits for connections to end. Milliseconds.
 */
const patience = 2_000
/** How long a connection of a pool of ours may take. Milliseconds. */
const longestConnect = 10_000
/** For how long a database counts as not the queue's. Milliseconds. */
const doubtful = 60_000
/** Until a worker begins anew whose database did not answer. Milliseconds. */
const pause = 1_000

/**
 * Jobs in PostgreSQL, by Graphile Worker. Where the rows are in the same database, a job is written in the transaction of its
 * row. The schema is installed, and brought up to date, when it is first needed. Throws a `UsageError` unless either a pool or a
 * connection string is given.
 */
export function graphileBackground({ pool: given, connectionString, schema = 'graphile_worker' }: GraphileOptions): BackgroundAdapter {
  if (Boolean(given) === Boolean(connectionString))
    throw new UsageError('bad_queue', 'graphileBackground() takes either { pool }, a Pool of pg, or { connectionString }')
  const sql = graphileSql(schema)
  const workers = new Set<Worker>()
  /** Jobs that were handed over and not taken yet, the oldest first. */
  const untaken = new Set<{ readonly since: number }>()
  /** Which databases hold the queue, and until when that is believed. By `performance.now()`. */
  const verdicts = new WeakMap<Database, { readonly ours: boolean; readonly until: number }>()
  let opened: pg.Pool | undefined
  let installed: Promise<string | undefined> | undefined

  function pool(): pg.Pool {
    if (opened) return opened
    opened = given ?? new pg.Pool({ connectionString, keepAlive: true, connectionTimeoutMillis: longestConnect })
    // a connection that breaks says so once more to whoever uses it next; without a listener it would end the process
    opened.on('error', ignore).on('connect', listen)
    return opened
  }

  /** The place of the queue, once it is installed there. */
  function install(): Promise<string | undefined> {
    installed ??= (async () => {
      // the same, even if it is closed meanwhile
      const present = pool()
      await runMigrations({ pgPool: present, schema, logger })
      return placeIn((await present.query(sql.place)).rows)
    })().catch((error) => {
      installed = undefined
      throw error
    })
    return installed
  }

  async function holdsQueue(database: Database, query: Query): Promise<boolean> {
    if (database.kind !== 'postgres') return false
    const before = verdicts.get(database)
    if (before && performance.now() < before.until) return before.ours
    // it may be slow, or wait for this very transaction
    const there = await Promise.race([install().catch(ignore), sleep(patience, undefined, { ref: false })])
    const ours = there !== undefined && there === placeIn(await query(sql.place, []))
    if (ours) verdicts.set(database, { ours, until: Number.POSITIVE_INFINITY })
    else doubt(database)
    return ours
  }

  /** What failed may be refused for long: that is not to cost every save a statement and a warning. */
  function doubt(database: Database): void {
    verdicts.set(database, { ours: false, until: performance.now() + doubtful })
  }

  return {
    async enqueueWithin(jobs, query, database) {
      if (!(await holdsQueue(database, query))) return false
      try {
        await query(sql.add, [specsOf(jobs)])
        return true
      } catch (error) {
        installed = undefined
        doubt(database)
        throw error
      }
    },

    async enqueue(job, sending) {
      const [oldest] = untaken
      if (oldest && performance.now() - oldest.since > patience) throw new Error('Graphile Worker waits for its database, which does not answer')
      const one = { since: performance.now() }
      untaken.add(one)
      try {
        await install()
        await pool()
          .query(sql.add, [specsOf([[job, sending]])])
          .catch((error) => {
            installed = undefined
            throw error
          })
      } finally {
        untaken.delete(one)
      }
    },

    async work(perform, { concurrency, queues }) {
      const most = pool().options.max
      const fewest = queues.length + 2
      if (most < fewest)
        throw new UsageError('small_pool', `a worker of ${queues.length} queues needs a pool of ${fewest} connections or more, and this has ${most}`)
      const stopping = new AbortController()
      let crew: Crew | undefined
      let told: string | undefined
      async function keepWorking(): Promise<void> {
        while (!stopping.signal.aborted) {
          try {
            await install()
            if (stopping.signal.aborted) return
            crew = hire(perform, { pool: pool(), schema, sql, concurrency, queues })
            await crew.ended
          } catch (error) {
            if (stopping.signal.aborted) return
            const message = `a worker could not begin, and tries again: ${messageOf(error)}`
            if (message !== told) say(message)
            told = message
          }
          crew = undefined
          await sleep(pause, undefined, { signal: stopping.signal }).catch(ignore)
        }
      }
      const working = keepWorking()
      const worker: Worker = {
        async stop() {
          stopping.abort()
          await crew?.stop()
          // without a crew it has nothing to finish, and a silent server may never let it connect
          if (crew) await working
          workers.delete(worker)
        },
      }
      workers.add(worker)
      return worker
    },

    async close() {
      await Promise.all([...workers].map((worker) => worker.stop()))
      const closed = opened
      opened = undefined
      installed = undefined
      // until the end of a pool of ours its connections may break
      if (given) closed?.off('error', ignore).off('connect', listen)
      else if (closed) await Promise.race([closed.end(), sleep(patience, undefined, { ref: false })])
    },
  }
}

/** Where the queue is, if it is there. */
function placeIn([row]: ReadonlyArray<Readonly<Record<string, unknown>>>): string | undefined {
  return row?.['installed'] === true ? String(row['place']) : undefined
}

function ignore(): void {}

function listen(client: pg.PoolClient): void {
  client.on('error', ignore)
}
