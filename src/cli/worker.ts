import type { RunningWorker } from '../attachments'
import { doesNotHelp, Ended, isWrongSetUp, lineOf, mayHelp } from './ended'
import { asking, type Status, serveHealth } from './health'
import { log, logJob, nameOf } from './log'
import { memoryAdvice, onGlibc } from './memory'
import type { WorkerOptions } from './options'
import { type SetUp, setUp } from './set-up'
import { type StopSignals, stopSignals } from './signals'

/** Performs jobs until it is told to stop. Throws `Ended` for whatever keeps it from that. */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const signals = stopSignals()
  logWarnings()
  const advice = memoryAdvice(process.constrainedMemory(), onGlibc(), process.env)
  if (advice) log('warning', advice)
  let status: () => Promise<Status> = async () => 'starting'
  if (options.port !== undefined) log('info', 'listening', { port: await serveHealth(options.port, () => status()) })

  const stopped = signals.first.then(() => undefined)
  const ready = await Promise.race([setUp(options), stopped])
  const started = ready && start(ready, options)
  const worker = await Promise.race([started, stopped])
  if (worker && ready) {
    const { concurrency, queues } = worker
    log('info', 'started', { pid: process.pid, concurrency, queues })
    const answers = asking(ready.dataSource)
    status = async () => ((await answers()) ? 'working' : 'database does not answer')
  }

  const signal = await signals.first
  status = async () => 'draining'
  log('info', 'draining', { signal, running: worker?.running.size ?? 0, seconds: options.drain })
  if (ready && started) await drain(ready, started, options.drain, signals)
  log('info', 'stopped')
}

async function start({ attachments }: SetUp, { concurrency, queues }: WorkerOptions): Promise<RunningWorker> {
  try {
    return await attachments.work({ concurrency, queues, onJob: logJob })
  } catch (error) {
    throw new Ended(`the worker could not start: ${lineOf(error)}`, isWrongSetUp(error) ? doesNotHelp : mayHelp)
  }
}

/** Takes no more jobs, waits for those that run, and lets go of everything. */
async function drain({ attachments, dataSource }: SetUp, started: Promise<RunningWorker>, seconds: number, { second }: StopSignals): Promise<void> {
  let worker: RunningWorker | undefined
  const close = async () => {
    worker = await started
    await worker.stop()
    await attachments.close()
    if (dataSource.isInitialized) await dataSource.destroy()
  }
  const late = new Promise<string>((resolve) => setTimeout(resolve, seconds * 1_000, `draining took more than ${seconds} s`))
  const impatient = second.then((signal) => `a second ${signal} came`)
  const cut = await Promise.race([close().then(() => undefined), late, impatient])
  if (cut === undefined) return
  const jobs = [...(worker?.running ?? [])].map(nameOf)
  log('error', 'cut short', { running: jobs.length, jobs })
  throw new Ended(`${cut}; jobs cut short: ${jobs.length}. They come again, from the queue, or as lost jobs after five minutes`, mayHelp)
}

/** Warnings become lines of the log, instead of what Node writes. */
function logWarnings(): void {
  process.removeAllListeners('warning').on('warning', ({ name, message }) => log('warning', message, { name }))
}
