import { setTimeout as sleep } from 'node:timers/promises'
import { type Job as Carried, DelayedError, Queue, UnrecoverableError, Worker, type WorkerOptions } from 'bullmq'
import { messageOf } from '../errors'
import { type BackgroundAdapter, type JobReport, NotHere, type Perform, TryLater } from './adapter'
import type { Job } from './job'

export interface BullmqOptions {
  /** Yours, on whatever it is connected to. It carries what is sent to `'default'`, and stays open. */
  queue: AnyQueue
  /** Options of the workers, as BullMQ has them. Default: `lockDuration` of 15 seconds, `stalledInterval` of 5. */
  worker?: Pick<WorkerOptions, 'name' | 'lockDuration' | 'stalledInterval' | 'limiter' | 'metrics'>
}

// biome-ignore lint/suspicious/noExplicitAny: of whatever data, and on whatever backend
type AnyQueue = Queue<any, any, any, any, any, any, any, any>

/** So long Redis may be silent before jobs are refused, and before a worker ends without it. Milliseconds. */
const patience = 2_000
/** A worker that dies is noticed after the first two, when its job was locked a moment ago; a server that is back, after the third. Milliseconds. */
const times = { lockDuration: 15_000, stalledInterval: 5_000, runRetryDelay: 1_000 }
/** How often a worker may die over one job: more often than a row allows, which says so itself. */
const deaths = 100
/** How long a job that is somebody else's is left to him. Milliseconds. */
const pause = 5_000
/** What is kept of jobs that have ended, for who looks at them. Seconds. */
const kept = { age: 7 * 24 * 3600, count: 1_000 }
/** The same error is told once in so many milliseconds. */
const tellAgain = 60_000

/** Jobs are carried by BullMQ, each of our queues by one of its own. Their rows are the outbox: what Redis loses is found again. */
export function bullmqBackground({ queue, worker: chosen }: BullmqOptions): BackgroundAdapter {
  const { opts } = queue
  const backendFactory = queue['backendFactory']
  const tell = teller()
  /** Ours, by their names. */
  const queues = new Map<string, AnyQueue>()
  const stops = new Set<() => Promise<void>>()
  /** Names of those that hold jobs of others, too. */
  const shared = new Set<string>()
  /** Jobs that were handed over and not taken yet, the oldest first: BullMQ keeps them in memory while Redis is away. */
  const untaken = new Set<{ readonly since: number }>()

  const nameOf = (name: string) => (name === 'default' ? queue.name : name)
  queue.on('error', tell)

  function queueOf(name: string): AnyQueue {
    if (name === queue.name) return queue
    const known = queues.get(name)
    if (known) return known
    const made = new Queue(name, opts, backendFactory).on('error', tell)
    queues.set(name, made)
    return made
  }

  function startWorker(name: string, perform: Perform, concurrency: number): () => Promise<void> {
    const running = new Set<Promise<unknown>>()
    const process = (job: Carried, token?: string) => {
      const ended = (isOurs(job) ? carryOut(job, token, perform) : leaveAlone(job, token)).finally(() => running.delete(ended))
      running.add(ended)
      return ended
    }
    // it is asked about nothing else that can be tried again
    const settings = { backoffStrategy: (_made: number, _type?: string, error?: Error) => (error as TryLater).delay }
    const connection = patient(opts.connection)
    const options = { ...opts, ...times, ...chosen, connection, concurrency, maxStalledCount: deaths, settings, skipWaitingForReady: false }
    const worker = new Worker(name, process, options, backendFactory).on('error', tell)
    return () => end(worker, running)
  }

  function leaveAlone(job: Carried, token?: string): Promise<never> {
    if (!shared.has(job.queueName))
      warn(`the queue ${job.queueName} holds jobs that are none of attachments. They are put back; give ours a queue of their own`)
    shared.add(job.queueName)
    return putBack(job, token, pause)
  }

  return {
    async enqueue(job, { key, queue: name, priority, delay, attempts }) {
      const [oldest] = untaken
      if (oldest && performance.now() - oldest.since > patience) throw new Error('BullMQ waits for its server, which does not answer')
      const one = { since: performance.now() }
      untaken.add(one)
      const { removeOnComplete = kept, removeOnFail = kept } = queue.defaultJobOptions
      // by its id, a failed job that is kept would swallow the next; and what is sent while a job runs has to follow it
      const deduplication = { id: key, keepLastIfActive: true }
      try {
        await queueOf(nameOf(name)).add(titleOf(job), job, {
          priority,
          delay,
          attempts,
          backoff: { type: 'custom' },
          deduplication,
          removeOnComplete,
          removeOnFail,
        })
      } finally {
        untaken.delete(one)
      }
    },
    async work(perform, { concurrency, queues: names }) {
      const ends = [...new Set(names.map(nameOf))].map((name) => startWorker(name, perform, concurrency))
      const stop = async () => {
        stops.delete(stop)
        await Promise.all(ends.map((end) => end()))
      }
      stops.add(stop)
      return { stop }
    },
    async close() {
      await Promise.all([...stops].map((stop) => stop()))
      queue.off('error', tell)
      await Promise.all([...queues.values()].map((made) => made.close()))
      queues.clear()
    },
  }
}

/** What the dashboard calls it. */
function titleOf({ entity, attachment, kind }: Job): string {
  return kind === 'process' ? `${entity}.${attachment}` : `${entity}.${attachment} delete`
}

/** Performs a job, and tells BullMQ by errors of its own what is to become of it. */
async function carryOut(carried: Carried, token: string | undefined, perform: Perform): Promise<JobReport> {
  try {
    // perform() looks at what it is before anything else
    return await perform(
      carried.data as Job,
      carried.attemptsMade + 1,
      (progress) => void carried.updateProgress({ ...progress }).catch(() => undefined),
    )
  } catch (error) {
    if (error instanceof NotHere) return putBack(carried, token, error.delay)
    if (error instanceof TryLater) throw error
    warn(`a job failed outside of its row: ${error}`)
    throw Object.assign(new UnrecoverableError(messageOf(error)), { cause: error })
  }
}

/** Of a queue that is shared with others, what says nothing of ours is theirs. Whether a job is complete, whoever performs it will see. */
function isOurs({ data }: Carried): boolean {
  const { kind, entity, attachment } = Object(data)
  return (kind === 'process' || kind === 'delete') && typeof entity === 'string' && typeof attachment === 'string'
}

/** No attempt is counted. Where Redis does not hear it, the job comes back as that of a worker that died. */
async function putBack(carried: Carried, token: string | undefined, delay: number): Promise<never> {
  await carried.moveToDelayed(Date.now() + delay, token).catch(() => undefined)
  throw new DelayedError()
}

/** Lets what runs come to its end, and then does not wait for a server that is away. */
async function end(worker: Worker, running: ReadonlySet<Promise<unknown>>): Promise<void> {
  const ended = new AbortController()
  const closed = worker.close().finally(() => ended.abort())
  do {
    await Promise.allSettled(running)
    await sleep(patience, undefined, { signal: ended.signal }).catch(() => undefined)
  } while (running.size > 0)
  await (ended.signal.aborted ? closed : worker.getBackend().close(true))
}

/** What workers connect with: their commands wait for Redis as long as it is away, whatever those of a web process do. */
function patient<T>(connection: T): T {
  if (typeof connection !== 'object' || connection === null) return connection
  const { on, defineCommand, isCluster, options } = connection as Record<string, unknown>
  const waits = { maxRetriesPerRequest: null, enableOfflineQueue: true }
  if (typeof on !== 'function') return { ...connection, ...waits }
  // a client of ioredis: workers have their own, made like it
  return typeof defineCommand === 'function' && !isCluster ? ({ ...Object(options), ...waits } as T) : connection
}

/** Tells errors of connections as warnings, each text now and then. */
function teller(): (error: Error) => void {
  const told = new Map<string, number>()
  return (error) => {
    const text = messageOf(error) || String(Object(error).code)
    const now = performance.now()
    // many a text has the id of a job in it
    for (const [old, at] of told) if (now - at >= tellAgain) told.delete(old)
    if (told.has(text)) return
    told.set(text, now)
    warn(`BullMQ: ${text}`)
  }
}

function warn(message: string): void {
  process.emitWarning(message, 'AttachmentWarning')
}
