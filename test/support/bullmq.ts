import { randomBytes } from 'node:crypto'
import { Queue, type QueueOptions } from 'bullmq'
import { Redis } from 'ioredis'
import { inject, onTestFinished } from 'vitest'
import type { Job, Perform, Sending, Worker } from '../../src'
import { type BullmqOptions, bullmqBackground } from '../../src/background/bullmq'
import { sendingOf } from '../../src/testing/background/sample'

/** The address of the tests' Redis; only where there is one. */
export const redisUrl = inject('redis') as string

export const newName = () => `test-${randomBytes(6).toString('hex')}`

/** A BullMQ queue of one's own on the tests' Redis; gone when the test ends, with all that has its prefix. */
export function newQueue({ name = newName(), prefix = name, ...options }: Partial<QueueOptions> & { name?: string } = {}): Queue {
  const queue = new Queue(name, { connection: { url: redisUrl }, prefix, ...options })
  onTestFinished(async () => {
    await queue.close()
    await forget(prefix)
  })
  return queue
}

/** What a Redis does that loses its memory, or some of it. */
export async function forget(prefix: string, what: (key: string) => boolean = () => true): Promise<void> {
  const redis = new Redis(redisUrl)
  try {
    const keys = (await redis.keys(`${prefix}:*`)).filter(what)
    if (keys.length > 0) await redis.del(keys)
  } finally {
    redis.disconnect()
  }
}

/** The adapter of a queue, closed when the test ends, and short ways to use it. */
export function adapterOf(options: BullmqOptions) {
  const adapter = bullmqBackground(options)
  onTestFinished(() => adapter.close?.())
  return {
    adapter,
    enqueue: (job: Job, said: Partial<Sending> = {}) => adapter.enqueue(job, sendingOf(job, said)),
    async work(perform: Perform, queues = ['default']): Promise<Worker> {
      const worker = await adapter.work?.(perform, { concurrency: 2, queues, attempts: 5 })
      return worker as Worker
    },
  }
}
