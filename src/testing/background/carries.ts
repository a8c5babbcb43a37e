import { same } from '../expect'
import type { BackgroundCase } from './case'
import { textOf } from './sample'

/** What goes for every adapter, with a queue or without. */
export const carries: BackgroundCase[] = [
  [
    'brings a job unchanged, as its first attempt',
    async ({ open, job: newJob, soon }) => {
      const { brought, enqueue, work } = await open()
      const job = newJob()
      const before = textOf(job)
      await work()
      await enqueue(job)
      await soon('a job that was enqueued should be brought to the worker', () => brought.length > 0)
      same(textOf(brought[0]?.job), before, 'the job that was brought')
      same(brought[0]?.attempt, 1, 'its attempt')
    },
  ],
  [
    'brings every one of many jobs',
    async ({ open, jobs, soon }) => {
      const { brought, performed, enqueue, work } = await open()
      await work()
      await enqueue(...jobs(50))
      await soon(
        () => `all of 50 jobs should be performed, but ${performed()} were`,
        () => performed() === 50,
      )
      same(new Set(brought.map(({ attempt }) => attempt)), new Set([1]), 'the attempts of jobs that never failed')
    },
  ],
  [
    'brings what two adapters at the same place were given',
    async ({ open, jobs, soon }) => {
      const [one, other] = [await open(), await open()]
      const given = jobs(20)
      const missing = () => given.filter((job) => one.times(job) + other.times(job) === 0).length
      await one.work()
      await other.work()
      await Promise.all([one.enqueue(...given.slice(10)), other.enqueue(...given.slice(0, 10))])
      await soon(
        () => `each of 20 jobs should come to one worker or the other, but ${missing()} did not`,
        () => missing() === 0,
      )
    },
  ],
  [
    'closes when it never did anything',
    async ({ open, ends }) => {
      const { close } = await open()
      await ends('close() should return', close())
    },
  ],
]
