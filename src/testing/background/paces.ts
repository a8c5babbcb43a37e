import { setTimeout } from 'node:timers/promises'
import { holds } from '../expect'
import type { BackgroundCase } from './case'

/** How adapters that have a queue share out their time. */
export function paces(concurrency: number): BackgroundCase[] {
  return [
    [
      'does not keep whoever enqueues waiting for the job',
      async ({ open, gate, jobs, soon }) => {
        const held = gate()
        const { brought, performed, enqueue, work } = await open(() => held.opened)
        await work(concurrency)
        await enqueue(...jobs(concurrency + 1))
        await soon('a job should begin', () => brought.length > 0)
        holds(performed() === 0, 'enqueue() should return while its job still runs')
      },
    ],
    [
      `performs ${concurrency} jobs at a time and no more`,
      async ({ open, gate, jobs, soon }) => {
        const enough = gate()
        let running = 0
        let most = 0
        const { performed, enqueue, work } = await open(async () => {
          running++
          most = Math.max(most, running)
          if (running >= concurrency) enough.open()
          await enough.opened
          await setTimeout(20)
          running--
        })
        await work(concurrency)
        const count = concurrency * 4
        await enqueue(...jobs(count))
        await soon(
          () => `${count} jobs should be performed, ${concurrency} at a time, but ${performed()} were, ${most} at a time`,
          () => performed() === count,
        )
        holds(most === concurrency, `how many jobs ran at a time: expected ${concurrency}, found ${most}`)
      },
    ],
  ]
}
