import fc from 'fast-check'
import { deeds, type Schedule, type Step } from './simulate'
import type { Setting } from './world'

const step: fc.Arbitrary<Step> = fc.record({
  // what loses files is above all that they are saved and replaced
  do: fc.oneof(
    { withCrossShrink: true },
    { weight: deeds.length, arbitrary: fc.constantFrom(...deeds) },
    { weight: 4, arbitrary: fc.constant('save' as const) },
    { weight: 6, arbitrary: fc.constantFrom('kill' as const, 'fault' as const, 'twin' as const, 'reprocess' as const) },
  ),
  machine: fc.constantFrom(0 as const, 1 as const),
  row: fc.constantFrom(0 as const, 1 as const),
  end: fc.oneof(
    { weight: 6, arbitrary: fc.constant('commit' as const) },
    fc.constantFrom('rollback' as const, 'silent', 'refused', 'savepoint', 'twice'),
  ),
  which: fc.nat(11),
  // small numbers choose what was asked for first: so a schedule shrinks to one in which things happen in turn
  choices: fc.array(fc.nat(40), { maxLength: 12 }),
})

/** Schedules of at least twelve steps on two rows, by two machines. */
export function schedules(...queues: ReadonlyArray<Setting['queue']>): fc.Arbitrary<Schedule> {
  return fc.record({
    setting: fc.record({
      queue: fc.constantFrom(...queues),
      keeps: fc.oneof({ weight: 3, arbitrary: fc.constant('never' as const) }, fc.constantFrom('replaced' as const, 'always')),
      late: fc.boolean(),
    }),
    steps: fc.array(step, { minLength: 12, maxLength: 20 }),
  })
}
