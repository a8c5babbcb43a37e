import { TryLater } from '../../background/adapter'
import { same } from '../expect'
import type { BackgroundCase } from './case'

/** What adapters do whose jobs outlive their process. */
export const survives: BackgroundCase[] = [
  [
    'keeps jobs while nobody works, for another adapter at the same place',
    async ({ open, jobs, soon }) => {
      const first = await open()
      await first.enqueue(...jobs(3))
      await first.close()
      const other = await open()
      await other.work()
      await soon(
        () => `3 jobs should be kept for another adapter, but ${other.performed()} came`,
        () => other.performed() === 3,
      )
      same(other.brought[0]?.attempt, 1, 'the attempt of a job that nobody performed before')
    },
  ],
  [
    'keeps jobs that it did not begin before it was closed',
    async ({ open, gate, jobs, soon, ends }) => {
      const held = gate()
      const first = await open(() => held.opened)
      const worker = await first.work(1)
      const given = jobs(5)
      await first.enqueue(...given)
      await soon('a job should begin', () => first.brought.length === 1)
      const closed = Promise.all([worker.stop(), first.close()])
      held.open()
      await ends('stop() and close() should return', closed)
      const other = await open()
      await other.work()
      const missing = () => given.filter((job) => first.times(job) + other.times(job) === 0).length
      await soon(
        () => `each of 5 jobs should come to one worker or the next, but ${missing()} did not`,
        () => missing() === 0,
      )
    },
  ],
  [
    'keeps a job whose time has not come, with its attempt',
    async ({ open, jobs, soon, ends }) => {
      const first = await open(async () => {
        throw new TryLater(300, new Error('not yet'))
      })
      const worker = await first.work()
      await first.enqueue(...jobs(1))
      await soon('a job should begin', () => first.brought.length === 1)
      await ends('stop() should return', worker.stop())
      await first.close()
      const other = await open()
      await other.work()
      await soon('a job that was to be tried later should come to another adapter', () => other.brought.length > 0)
      same(other.brought[0]?.attempt, 2, 'its attempt')
    },
  ],
]
