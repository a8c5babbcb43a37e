import fastq from 'fastq'
import { type BackgroundAdapter, NotHere, type Perform, TryLater } from './adapter'
import type { Job } from './job'

export interface InProcessOptions {
  /** Jobs at a time. Default 2. */
  concurrency?: number
}

interface Task {
  readonly job: Job
  readonly key: string
  readonly attempt: number
}

/**
 * Jobs run later in the process that saved, in one queue, first come first served. Nothing to install; what is queued ends with
 * the process, and `requeueLost()` finds it again.
 */
export function inProcessBackground({ concurrency = 2 }: InProcessOptions = {}): BackgroundAdapter {
  let perform: Perform | undefined
  let closed = false
  const delayed = new Map<NodeJS.Timeout, Task>()
  const waiting = new Set<() => void>()
  const running = new Set<Promise<void>>()
  /** Keys of the jobs in the queue: what waits long is taken for lost, and comes again. */
  const queued = new Set<string>()

  const queue = fastq.promise((task: Task) => {
    const ended = run(task).finally(() => {
      running.delete(ended)
      setImmediate(tellIdle)
    })
    running.add(ended)
    return ended
  }, concurrency)

  async function run({ job, key, attempt }: Task): Promise<void> {
    queued.delete(key)
    try {
      await perform?.(job, attempt)
    } catch (error) {
      if (!(error instanceof TryLater)) throw error
      // after the end nobody waits for another attempt: requeueLost() will find what is left to do
      if (!closed) later({ job, key, attempt: error instanceof NotHere ? attempt : attempt + 1 }, error.delay)
    }
  }

  function later(task: Task, delay: number): void {
    const timer = setTimeout(() => {
      delayed.delete(timer)
      push(task)
    }, delay)
    delayed.set(timer, task)
  }

  function push(task: Task): void {
    if (queued.has(task.key)) return
    queued.add(task.key)
    queue.push(task).catch((error) => process.emitWarning(`a job failed outside of its row: ${error}`, 'AttachmentWarning'))
  }

  function tellIdle(): void {
    if (!queue.idle() || delayed.size > 0) return
    for (const tell of waiting) tell()
    waiting.clear()
  }

  const idle = () =>
    new Promise<void>((resolve) => {
      waiting.add(resolve)
      tellIdle()
    })

  return {
    start(given) {
      perform = given
      closed = false
    },
    async enqueue(job, { key, delay }) {
      if (closed) return
      const task = { job, key, attempt: 1 }
      if (delay > 0) later(task, delay)
      else push(task)
    },
    // jobs run whether somebody works or not; what stops with a worker is its look for lost ones
    work: async () => ({ stop: async () => void (await Promise.allSettled(running)) }),
    idle,
    async close() {
      closed = true
      const left = [...delayed.values()]
      for (const timer of delayed.keys()) clearTimeout(timer)
      delayed.clear()
      left.forEach(push)
      await idle()
    },
  }
}
