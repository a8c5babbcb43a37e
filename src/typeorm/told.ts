import type { QueryRunner } from 'typeorm'
import type { Along } from '../notify/notifier'
import type { Signal } from '../notify/signal'
import type { Signals } from '../notify/signals'
import { inSavepoint } from './run'
import type { Committed } from './subscriber'

/** PostgreSQL selects 1,664 expressions at most. */
const mostAtOnce = 1_000

/** What is told of a transaction: each file once. */
export function signalsFrom(entries: readonly Committed[]): Signal[] {
  const signals = entries.flatMap(({ bound, ref, intent, replaced }): Signal[] => {
    const of = { entity: bound.entity, id: ref.id, attachment: bound.property }
    return [
      ...(replaced ? [{ ...of, version: replaced, state: 'removed' as const }] : []),
      ...(intent?.file ? [{ ...of, version: intent.version, state: 'attached' as const }] : []),
    ]
  })
  return [...new Map(signals.map((signal) => [`${signal.state} ${signal.version}`, signal])).values()]
}

/** Before a commit: whom the database tells hears of it with the transaction. Whether that is all of it; rejects where nothing is. */
export async function tellWith(runner: QueryRunner, signals: readonly Signal[], along: Signals['along']): Promise<boolean> {
  const told = signals.flatMap((signal) => along(signal) ?? [])
  if (told.length === 0 || told.length < signals.length || !runner.isTransactionActive) return false
  await inSavepoint(runner, async (run) => {
    for (let at = 0; at < told.length; at += mostAtOnce) await run(...selectOf(told.slice(at, at + mostAtOnce)))
  })
  return true
}

function selectOf(along: readonly Along[]): [sql: string, parameters: unknown[]] {
  const told = along.map(({ sql }, at) => sql(`$${at + 1}`))
  return [`SELECT ${told.join(', ')}`, along.map(({ value }) => value)]
}
