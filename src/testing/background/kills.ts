import type { ProcessOptions } from '../case'
import { until } from '../expect'
import type { WorkOrder } from '../order'
import { killWhen } from '../victim'
import type { BackgroundCase } from './case'
import type { Opened } from './opened'
import type { Trial } from './trial'

/** When processes are killed, after they told what they do: by then it is on its way to the queue. Milliseconds. */
const moments = [0, 2, 5]

/** What becomes of jobs whose process is killed. Any of them may come twice; none may be lost. */
export function kills(options: ProcessOptions, comesBackWithin: number): BackgroundCase[] {
  return [
    working('while it performs a job', 'hold'),
    working('right after it performed a job', 'end'),
    working('right after it asked for another attempt', 'try later'),
    [
      'loses no job when a process is killed that waits for jobs',
      async (trial) => {
        await killWhen(options, { do: 'work', first: 'hold' }, 'working')
        await allCome(await enqueued(trial, 3), 'that waited for jobs')
      },
    ],
    [
      'loses no job when the process that enqueued it is killed',
      async (trial) => {
        const given = await enqueued(trial, 0)
        for (const later of moments) {
          const job = trial.job()
          await killWhen(options, { do: 'enqueue', job }, 'enqueued', later)
          given.versions.push(job.version)
        }
        await allCome(given, 'after its enqueue() had returned')
      },
    ],
  ]

  function working(when: string, first: WorkOrder['first']): BackgroundCase {
    return [
      `loses no job when a process is killed ${when}`,
      async (trial) => {
        const given = await enqueued(trial, 8)
        const told: string[] = []
        for (const later of moments) told.push(...(await killWhen(options, { do: 'work', first }, 'begun', later)))
        await allCome(given, when, told)
      },
    ]
  }

  /** Each job was performed by a process before it was killed, or is by us. */
  async function allCome({ opened, versions }: Given, when: string, told: readonly string[] = []): Promise<void> {
    await opened.work()
    const performed = (version: string) =>
      told.includes(`performed ${version}`) || opened.brought.some(({ job, done }) => done && job.version === version)
    const missing = () => versions.filter((version) => !performed(version)).length
    const what = () => `a process was killed ${when}: every job should be performed by another, but ${missing()} of ${versions.length} were not`
    await until(what, () => missing() === 0, comesBackWithin)
  }
}

interface Given {
  readonly opened: Opened
  readonly versions: string[]
}

async function enqueued({ open, jobs }: Trial, count: number): Promise<Given> {
  const opened = await open()
  const given = jobs(count)
  await opened.enqueue(...given)
  return { opened, versions: given.map(({ version }) => version) }
}
