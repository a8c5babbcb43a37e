import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool, PoolClient, QueryConfig } from 'pg'
import { messageOf } from '../errors'
import { type GraphileSql, say } from './graphile-sql'

/** How often a worker looks for dead ones. Who is missing at two looks is dead: one may be connecting anew. Milliseconds. */
const interval = 3_000
/** What a look may take of the time, and how long a table with many jobs may put off the next. */
const share = 0.01
const longestInterval = 15_000
/** How long an answer may take. Milliseconds. */
const patience = 10_000
/** Until the next try to connect. Milliseconds. */
const pause = 500

export interface Life {
  /** Resolves as soon as all can see that this worker lives, to what the engine wants to hear. */
  held(): Promise<null>
  /** Lets go whoever waits for that. */
  release(): void
  /** The worker is no more. */
  end(): Promise<void>
}

/**
 * Tells the living from the dead, which the engine does after four hours. A worker lives as long as a connection of its own holds an
 * advisory lock, which the server drops with the connection. Every worker looks whether there are jobs of workers without one, and
 * sets them free; an attempt that ended so does not count.
 */
export function alive(id: string, { pool, sql }: { pool: Pool; sql: GraphileSql }): Life {
  const ending = new AbortController()
  const waiting = new Set<() => void>()
  /** Ends the present connection; none while there is no connection. */
  let present: AbortController | undefined
  let living = false
  let released = false

  function tell(alive: boolean): void {
    living = alive
    if (!living && !released) return
    for (const go of waiting) go()
    waiting.clear()
  }

  async function live(): Promise<void> {
    const client = await pool.connect()
    if (ending.signal.aborted) return client.release()
    const cut = new AbortController()
    present = cut
    for (const event of ['error', 'end'] as const) client.on(event, () => cut.abort())
    try {
      const ask = asking(client)
      await ask(sql.live, [id])
      tell(true)
      for (let suspects: string[] = []; ; ) {
        const before = performance.now()
        suspects = await bury(suspects, ask, sql)
        const wait = Math.max(interval, Math.min((performance.now() - before) / share, longestInterval))
        await sleep(wait, undefined, { signal: cut.signal })
      }
    } finally {
      present = undefined
      tell(false)
      // not for anybody else: it holds the lock
      client.release(true)
    }
  }

  async function keepLiving(): Promise<void> {
    let told: string | undefined
    while (!ending.signal.aborted) {
      await live().catch((error) => {
        const message = `a worker waits for its database: ${messageOf(error)}`
        if (error.name !== 'AbortError' && !ending.signal.aborted && message !== told) say(message)
        told = message
      })
      await sleep(pause, undefined, { signal: ending.signal }).catch(() => undefined)
    }
  }

  const life = keepLiving()
  return {
    held: () =>
      new Promise((resolve) => {
        waiting.add(() => resolve(null))
        tell(living)
      }),
    release() {
      released = true
      tell(living)
    },
    async end() {
      ending.abort()
      present?.abort()
      // a silent server may never let it connect
      if (present) await life
    },
  }
}

type Ask = <Row>(text: string, values?: readonly unknown[]) => Promise<Row[]>

/** A connection that answers in time, or fails: a line that was cut may be silent for long. */
function asking(client: PoolClient): Ask {
  return async (text, values = []) => (await client.query({ text, values: [...values], query_timeout: patience } as QueryConfig)).rows
}

/** Sets free what dead workers hold who were missing before. Resolves to those who are missing now. */
async function bury(missedBefore: readonly string[], ask: Ask, sql: GraphileSql): Promise<string[]> {
  const missed = (await ask<{ id: string }>(sql.dead)).map(({ id }) => id)
  const dead = missed.filter((id) => missedBefore.includes(id))
  if (dead.length > 0) {
    await ask('BEGIN')
    // who else would bury them waits, and finds them buried: an attempt is taken off once
    await ask(sql.oneAtATime)
    const [held] = await ask<{ ids: string[] }>(sql.heldBy, [dead])
    await ask(sql.unlock, [dead])
    await ask(sql.uncount, [held?.ids])
    await ask('COMMIT')
  }
  return missed
}
