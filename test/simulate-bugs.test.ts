import { expect, it } from 'vitest'
import { mutate } from './simulator/mutate'
import { mutations } from './simulator/mutations'
import { run } from './simulator/run'

it.each(mutations)('the simulator finds this bug: $name', { timeout: 600_000 }, async (mutation) => {
  process.removeAllListeners('warning')
  const { broken } = await run(await mutate(mutation), { schedules: 20_000, seed: 11, shrink: false })
  expect(broken).toBeDefined()
})
