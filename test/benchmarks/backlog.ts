import type { BackgroundAdapter, ProcessJob, Worker } from '../../src'
import { report, sampleJob, sendingOf } from '../../src/testing/background/sample'
import type { Engine } from './engines'

export interface Figure {
  readonly engine: string
  readonly waiting: number
  readonly jobsPerSecond: number
}

/** Of a backlog so many jobs are timed, and no longer than so many milliseconds. */
const timed = 5_000
const longest = 30_000
const concurrency = 8

/** What the queue has behind it before it is measured: some engines clear up after so many jobs. */
const before = 1_500

/** How fast a worker is whose jobs take no time, while so many are waiting, in a queue that was used before. */
export async function backlog(engine: Engine, waiting: number): Promise<Figure> {
  const { adapter, fill, close } = await engine.open()
  try {
    await fill(samples(before))
    await rateOf(adapter, before)
    await fill(samples(waiting))
    // a worker has not filled the queue itself
    global.gc?.()
    const rate = await rateOf(adapter, Math.min(timed, waiting))
    return { engine: engine.name, waiting, jobsPerSecond: Number(rate.toPrecision(3)) }
  } finally {
    await close()
  }
}

/** Jobs per second, until so many are done or the time is over. */
async function rateOf(adapter: BackgroundAdapter, wanted: number): Promise<number> {
  let performed = 0
  let first = 0
  let timer: NodeJS.Timeout | undefined
  let work: Promise<Worker> | undefined
  await new Promise<void>((resolve) => {
    adapter.start?.(perform)
    async function perform() {
      if (++performed === 1) {
        first = performance.now()
        timer = setTimeout(resolve, longest)
      }
      if (performed === wanted) resolve()
      return report
    }
    work = adapter.work?.(perform, { concurrency, queues: ['default'], attempts: 5 })
  })
  clearTimeout(timer)
  const rate = ((performed - 1) / (performance.now() - first)) * 1_000
  await (await work)?.stop()
  return rate
}

export interface Latency {
  readonly engine: string
  /** From the call of `enqueue()` to the beginning of the job, in milliseconds. */
  readonly median: number
  readonly p95: number
}

/** How long a job takes to begin where nothing else is waiting. */
export async function latency(engine: Engine, jobs = 200): Promise<Latency> {
  const { adapter, close } = await engine.open()
  try {
    let begun: (moment: number) => void = () => undefined
    const worker = await adapter.work?.(
      async () => {
        begun(performance.now())
        return report
      },
      { concurrency, queues: ['default'], attempts: 5 },
    )
    const waits: number[] = []
    for (let at = 0; at < jobs; at++) {
      const beginning = new Promise<number>((resolve) => {
        begun = resolve
      })
      const job = sampleJob()
      const asked = performance.now()
      await adapter.enqueue(job, sendingOf(job))
      waits.push((await beginning) - asked)
    }
    await worker?.stop()
    // the first finds connections that are not made yet
    const sorted = waits.slice(1).sort((one, other) => one - other)
    const at = (part: number) => Number((sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(1))
    return { engine: engine.name, median: at(0.5), p95: at(0.95) }
  } finally {
    await close()
  }
}

function* samples(count: number): Iterable<ProcessJob> {
  for (let at = 0; at < count; at++) yield sampleJob()
}
