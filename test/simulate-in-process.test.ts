import { expect, it } from 'vitest'
import * as lifecycle from './simulator/lifecycle'
import { run } from './simulator/run'

it('nothing is lost and nothing left over, whatever happens when: 5,000 schedules with jobs that end with their machine', {
  timeout: 300_000,
}, async () => {
  process.removeAllListeners('warning')
  const { broken, schedules } = await run(lifecycle, { schedules: 5_000, seed: 1, queue: 'in process', shrink: true })
  expect(broken).toBeUndefined()
  expect(schedules).toBe(5_000)
})
