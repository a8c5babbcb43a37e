import { moment, same } from '../expect'
import type { BackgroundCase } from './case'
import type { Trial } from './trial'

/** What adapters do that have queues by name. */
export const queues: BackgroundCase[] = [
  [
    'leaves the jobs of another queue alone',
    async ({ open, job, soon }) => {
      const { performed, times, send, work } = await open()
      const [here, there] = [job(), job()]
      await send(there, { queue: 'other' })
      await send(here, {})
      await work(2, ['default'])
      await soon("a job of the queue 'default' should be performed by its worker", () => times(here) > 0)
      await moment()
      same(times(there), 0, "how often a job of the queue 'other' came to a worker of 'default'")
      await work(2, ['other'])
      await soon("a job of the queue 'other' should be performed by its worker", () => performed() === 2)
    },
  ],
]

/** What adapters do that know jobs by their keys. */
export function keys(concurrency: number): BackgroundCase[] {
  return [
    [
      'brings one of several jobs with one key that wait, and another one when that is done',
      async (trial) => {
        const { performed, times, send, enqueue, let: release } = await full(trial, concurrency)
        const [job, next] = [trial.job(), trial.job()]
        for (const key of ['one key', 'one key', 'one key']) await send(job, { key })
        await enqueue(next)
        release()
        await trial.soon('a job should be performed that was sent several times', () => times(job) > 0)
        await trial.soon('a job should be performed that was sent after it', () => times(next) > 0 && performed() === concurrency + 2)
        await moment()
        same(times(job), 1, 'how often a job came that was sent three times under one key, while it waited')
        await send(job, { key: 'one key' })
        await trial.soon('a job that is done should come again when it is sent again under its key', () => times(job) === 2)
      },
    ],
    [
      'brings a job that is sent while another of its key runs',
      async (trial) => {
        const { opened, open: release } = trial.gate()
        const { times, send, work } = await trial.open(() => opened)
        const job = trial.job()
        await work(concurrency)
        await send(job, {})
        await trial.soon('a job should begin', () => times(job) === 1)
        await send(job, {})
        release()
        await trial.soon('a job that is sent again while it runs should come again', () => times(job) === 2)
      },
    ],
  ]
}

/** What adapters do that know priorities. */
export const priorities: BackgroundCase[] = [
  [
    'brings jobs with lower priority numbers first',
    async (trial) => {
      const { brought, performed, send, let: release } = await full(trial, 1)
      const given = [20, 0, 3, 10].map((priority) => ({ priority, job: trial.job() }))
      for (const { priority, job } of given) await send(job, { priority })
      release()
      await trial.soon(
        () => `4 jobs should be performed, but ${performed() - 1} were`,
        () => performed() === 5,
      )
      const order = brought.slice(1).map(({ job }) => given.find((one) => one.job.version === job.version)?.priority)
      same(order, [0, 3, 10, 20], 'the priorities of jobs, in the order in which they came')
    },
  ],
]

/** An adapter whose worker has all that it does at a time, until it is let. */
async function full({ open, gate, jobs, soon }: Trial, concurrency: number) {
  const { opened, open: release } = gate()
  const one = await open(() => opened)
  await one.work(concurrency)
  await one.enqueue(...jobs(concurrency))
  await soon(`${concurrency} jobs should begin`, () => one.brought.length === concurrency)
  return { ...one, let: release }
}
