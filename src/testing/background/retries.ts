import { NotHere, TryLater } from '../../background/adapter'
import { holds, moment, same } from '../expect'
import type { BackgroundCase } from './case'
import { textOf } from './sample'

const hour = 3600_000
/** Of the attempts that are waited for. Milliseconds. */
const delay = 300
/** Timers of Node may be early by this. Milliseconds. */
const early = 2

/** What adapters that have a queue do with jobs that fail. */
export const retries: BackgroundCase[] = [
  [
    'brings a job again that is to be tried later, with the next attempt and not too soon',
    async ({ open, job: newJob, soon }) => {
      const failed: number[] = []
      const { brought, enqueue, work } = await open(async (_, attempt) => {
        failed.push(performance.now())
        if (attempt < 3) throw new TryLater(delay, new Error('not yet'))
      })
      const job = newJob()
      await work()
      await enqueue(job)
      for (const attempt of [1, 2, 3]) {
        await soon(`attempt ${attempt} of a job that is to be tried again after ${delay} ms should come`, () => brought.length >= attempt)
        const one = brought[attempt - 1]
        same(one?.attempt, attempt, `the number of attempt ${attempt}`)
        same(textOf(one?.job), textOf(job), `the job of attempt ${attempt}`)
        const waited = (one?.at ?? 0) - (failed[attempt - 2] ?? Number.NEGATIVE_INFINITY)
        holds(waited >= delay - early, `attempt ${attempt} was to come after ${delay} ms: expected no less, found ${Math.round(waited)} ms`)
      }
    },
  ],
  [
    'waits before the first attempt for as long as a job was sent with',
    async ({ open, job: newJob, soon }) => {
      const { brought, send, work } = await open()
      await work()
      const sent = performance.now()
      await send(newJob(), { delay })
      await soon(`a job that was sent with a delay of ${delay} ms should come`, () => brought.length > 0)
      const waited = (brought[0]?.at ?? 0) - sent
      holds(waited >= delay - early, `a job was sent with a delay of ${delay} ms: expected no less, found ${Math.round(waited)} ms`)
      same(brought[0]?.attempt, 1, 'its attempt')
    },
  ],
  [
    'brings a job again that could not be begun, with the same attempt',
    async ({ open, job, soon }) => {
      const answers = [new NotHere(20, new Error('not here')), new TryLater(20, new Error('not yet')), new NotHere(20, new Error('not here'))]
      const { brought, enqueue, work } = await open(async () => {
        const answer = answers.shift()
        if (answer) throw answer
      })
      await work()
      await enqueue(job())
      await soon(
        () => `a job should come 4 times that was put back, failed, and was put back again, but came ${brought.length} times`,
        () => brought.length === 4,
      )
      same(
        brought.map(({ attempt }) => attempt),
        [1, 1, 2, 2],
        'the attempts of a job that was put back, failed, and was put back again',
      )
    },
  ],
  [
    'lets others pass while jobs wait for their time',
    async ({ open, jobs, soon }) => {
      const later = jobs(3)
      const { performed, enqueue, work } = await open(async (job) => {
        if (later.some(({ version }) => version === job.version)) throw new TryLater(hour, new Error('not yet'))
      })
      await work()
      await enqueue(...later, ...jobs(3))
      await soon(
        () => `3 jobs behind 3 that wait for an hour should be performed, but ${performed()} were`,
        () => performed() === 3,
      )
    },
  ],
  [
    'does not bring back a job that failed for good, and goes on with others',
    async ({ open, jobs, job, soon }) => {
      const [bad, worse] = [job(), job()]
      const { performed, times, enqueue, work } = await open(async ({ version }) => {
        if (version === bad.version) throw new Error('failed for good')
        if (version === worse.version) throw undefined
      })
      await work()
      for (const round of [1, 2]) {
        await enqueue(...(round === 1 ? [bad, worse] : []), ...jobs(3))
        await soon(
          () => `${round * 3} jobs behind 2 that failed should be performed, but ${performed()} were`,
          () => performed() === round * 3,
        )
      }
      await moment()
      for (const one of [bad, worse]) same(times(one), 1, 'how often a job came that failed with another error than TryLater')
    },
  ],
  [
    'does not bring back a job that is done',
    async ({ open, job, jobs, soon }) => {
      const { performed, times, enqueue, work } = await open()
      const first = job()
      await work()
      await enqueue(first)
      await soon('a job should be performed', () => performed() === 1)
      await enqueue(...jobs(9))
      await soon('9 more jobs should be performed', () => performed() === 10)
      same(times(first), 1, 'how often a job came that was done at once')
    },
  ],
]
