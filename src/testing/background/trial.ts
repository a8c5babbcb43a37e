import type { BackgroundAdapter } from '../../background/adapter'
import type { ProcessJob } from '../../background/job'
import { inTime, until } from '../expect'
import { type Behave, type Opened, opened } from './opened'
import { sampleJob } from './sample'

/** What a case has at hand: adapters of `make`, jobs, and time. */
export interface Trial {
  /** Opens an adapter, until the case ends. Unless told otherwise each job ends well. */
  open(behave?: Behave): Promise<Opened>
  job(): ProcessJob
  jobs(count: number): ProcessJob[]
  /** Shut until it is opened, at the latest when the case ends. */
  gate(): Gate
  /** Waits for what has to happen. */
  soon(what: string | (() => string), condition: () => boolean): Promise<void>
  /** Waits for what must not hang. */
  ends<T>(what: string, work: Promise<T>): Promise<T>
}

export interface Gate {
  readonly opened: Promise<void>
  open(): void
}

export interface TrialOptions {
  /** How long something may take that has to happen. Milliseconds. */
  readonly within: number
  /** The case is about a queue: it passes where `enqueue()` performs jobs on the spot. */
  readonly ofQueue: boolean
}

class NoQueue extends Error {}

export async function onTrial(
  make: () => Promise<BackgroundAdapter>,
  { within, ofQueue }: TrialOptions,
  check: (trial: Trial) => Promise<void>,
): Promise<void> {
  const mine = new Set<string>()
  const gates: Gate[] = []
  const adapters: Opened[] = []
  const leave = () => {
    throw new NoQueue()
  }

  const trial: Trial = {
    async open(behave = async () => undefined) {
      const one = opened(await make(), { behave, mine, within, onTheSpot: ofQueue ? leave : undefined })
      adapters.push(one)
      return one
    },
    job() {
      const job = sampleJob()
      mine.add(job.version)
      return job
    },
    jobs: (count) => Array.from({ length: count }, trial.job),
    gate() {
      let open: () => void = () => undefined
      const opened = new Promise<void>((resolve) => {
        open = resolve
      })
      gates.push({ opened, open })
      return { opened, open }
    },
    soon: (what, condition) => until(what, condition, within),
    ends: (what, work) => inTime(what, work, within),
  }

  const failed = await check(trial).then(
    () => undefined,
    (error) => (error instanceof NoQueue ? undefined : { error }),
  )
  for (const gate of gates) gate.open()
  const ended = trial.ends('workers should stop and adapters should close when no job runs', Promise.all(adapters.map((one) => one.end())))
  // a failure of the case says more than what follows from it
  await (failed ? ended.catch(() => undefined) : ended)
  if (failed) throw failed.error
}
