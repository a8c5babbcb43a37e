import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors'
import { NotHere, type Perform, TryLater, type Worker, type WorkOptions } from './adapter'
import { jobIn, type Received } from './sqs-message'
import { lease, type SqsQueue } from './sqs-queue'

/** How often the lease of a job that runs is renewed: it may fail twice in a row. Milliseconds. */
const heartbeat = (lease * 1000) / 4
/** How long a poll may go without an answer: longer than SQS waits by itself. Milliseconds. */
const longestPoll = 25_000
/** How long to wait after a poll that failed, doubling. Milliseconds. */
const shortestPause = 500
const longestPause = 30_000

/** Takes jobs from one queue. */
export function takeJobs(queue: SqsQueue, perform: Perform, { concurrency, attempts }: Omit<WorkOptions, 'queues'>): Worker {
  const running = new Set<Promise<void>>()
  let stopped = false
  let poll = new AbortController()
  let freed: () => void = () => undefined
  let strangers = false

  async function take(): Promise<void> {
    let failed = 0
    while (!stopped) {
      if (running.size >= concurrency) {
        await new Promise<void>((resolve) => {
          freed = resolve
        })
        continue
      }
      poll = new AbortController()
      try {
        for (const message of await receive(concurrency - running.size)) begin(message)
        failed = 0
      } catch (error) {
        if (stopped) return
        if (failed === 0) warn(`no jobs come from ${queue.url}, and it will be asked again: ${messageOf(error)}`)
        await sleep(Math.min(shortestPause * 2 ** failed++, longestPause), undefined, { signal: poll.signal }).catch(() => undefined)
      }
    }
  }

  async function receive(most: number): Promise<Received[]> {
    const current = poll
    const late = setTimeout(() => current.abort(), longestPoll)
    try {
      return await queue.receive(most, current.signal)
    } finally {
      clearTimeout(late)
    }
  }

  function begin(message: Received): void {
    const ended = (stopped ? queue.keep(message, 0) : carry(message))
      .catch((error) => warn(`${queue.url} did not take what became of a job, which may run again: ${messageOf(error)}`))
      .finally(() => {
        running.delete(ended)
        freed()
      })
    running.add(ended)
  }

  async function carry(message: Received): Promise<void> {
    const job = jobIn(message.body)
    if (!job) return leaveAlone()
    if (message.due > Date.now()) return queue.replace(message, message)
    const letGo = hold(message)
    const failed = await perform(job, message.attempt).then(
      () => undefined,
      (error) => ({ error }),
    )
    // a renewal under way would undo what is said next
    await letGo()
    if (!failed) await queue.delete(message)
    else if (failed.error instanceof NotHere) await queue.replace(message, { ...message, due: Date.now() + failed.error.delay })
    else if (failed.error instanceof TryLater) await queue.keep(message, Math.ceil(failed.error.delay / 1000))
    else {
      const reason = messageOf(failed.error) || 'an error without a message'
      const place = await queue.bury(message, reason)
      warn(`a job failed outside of its row, and ${place ? `is in ${place} now` : 'was deleted'}: ${reason}`)
    }
  }

  /** Keeps others from receiving it. */
  function hold(message: Received): () => Promise<void> {
    let warned = false
    let renewed: Promise<void> = Promise.resolve()
    const timer = setInterval(() => {
      renewed = queue.keep(message, lease).catch((error) => {
        if (!warned) warn(`a job of ${queue.url} may run twice, because it could not be kept from others while it runs: ${messageOf(error)}`)
        warned = true
      })
    }, heartbeat)
    return () => {
      clearInterval(timer)
      return renewed
    }
  }

  /** What is not deleted comes to others when the lease is over: later for us, too, so that our own jobs get their turn. */
  function leaveAlone(): void {
    if (!strangers) warn(`${queue.url} holds messages that are no jobs of attachments. They are left alone; give the jobs a queue of their own`)
    strangers = true
  }

  async function compareLimits(): Promise<void> {
    const redrive = await queue.redrive()
    if (!redrive || redrive.maxReceiveCount >= attempts) return
    warn(
      `${queue.url} gives a message out ${redrive.maxReceiveCount} times, but a job has ${attempts} attempts: SQS will take jobs away that are not finished. Set maxReceiveCount of its RedrivePolicy to ${attempts} or more`,
    )
  }

  const taking = take()
  // where SQS does not answer, the polls say so
  compareLimits().catch(() => undefined)
  return {
    async stop() {
      stopped = true
      poll.abort()
      freed()
      await taking
      await Promise.all(running)
    },
  }
}

function warn(message: string): void {
  process.emitWarning(message, 'AttachmentWarning')
}
