import fc from 'fast-check'
import { schedules } from './schedules'
import { simulate } from './simulate'
import { type Lifecycle, queues, type Setting } from './world'

export interface Result {
  /** Schedules that were tried. */
  readonly schedules: number
  /** The smallest schedule that breaks an invariant, as it can be pasted into a test, and what happens in it. */
  readonly broken?: { readonly violation: string; readonly schedule: string; readonly trace: readonly string[] }
}

interface Options {
  readonly schedules: number
  readonly seed: number
  /** Default: both. */
  readonly queue?: Setting['queue']
  /** Makes a schedule that breaks an invariant as small as it gets. */
  readonly shrink: boolean
  tell?(tried: number): unknown
}

/** Tries schedules until one breaks an invariant. */
export async function run(lifecycle: Lifecycle, { schedules: numRuns, seed, queue, shrink, tell }: Options): Promise<Result> {
  let tried = 0
  const property = fc.asyncProperty(schedules(...(queue ? [queue] : queues)), async (schedule) => {
    tell?.(++tried)
    const { violation } = await simulate(lifecycle, schedule)
    if (violation) throw violation
  })
  const { failed, counterexample, numRuns: ran } = await fc.check(property, { numRuns, seed, endOnFailure: !shrink })
  if (!failed || !counterexample) return { schedules: ran }
  const [schedule] = counterexample
  const { violation, trace } = await simulate(lifecycle, schedule)
  return { schedules: ran, broken: { violation: violation?.message ?? 'it did not break again', schedule: JSON.stringify(schedule), trace } }
}
