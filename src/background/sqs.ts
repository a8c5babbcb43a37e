import type { SQSClient } from '@aws-sdk/client-sqs'
import { UsageError } from '../errors'
import type { BackgroundAdapter, Worker } from './adapter'
import { bodyOf } from './sqs-message'
import { besides, sqsQueue } from './sqs-queue'
import { takeJobs } from './sqs-worker'

export interface SqsOptions {
  /** Yours, with its region, credentials and retries. It stays yours: `close()` leaves it open. */
  client: SQSClient
  /** The queue called `'default'`, a standard one. Other queues have their own name, beside it: same account, same region. */
  queueUrl: string
}

/**
 * Jobs are messages in Amazon SQS, or in any server that speaks its language. They are sent after the commit; what SQS did not take
 * is found again by `requeueLost()`. Priorities and keys are left out, since SQS has neither.
 *
 * Throws a `UsageError`: `bad_queue_url`, `fifo_queue`.
 */
export function sqsBackground({ client, queueUrl }: SqsOptions): BackgroundAdapter {
  if (!/^https?:\/\/.+\/[^/]+$/.test(queueUrl))
    throw new UsageError(
      'bad_queue_url',
      `queueUrl must be the URL of a queue, such as 'https://sqs.eu-central-1.amazonaws.com/123456789012/attachments', not ${JSON.stringify(queueUrl)}`,
    )
  if (queueUrl.endsWith('.fifo'))
    throw new UsageError(
      'fifo_queue',
      `${queueUrl} is a FIFO queue, where no message can be delayed by itself: create a standard queue. Jobs need no order`,
    )
  const workers = new Set<Worker>()
  const queueCalled = (name: string) => sqsQueue(client, name === 'default' ? queueUrl : besides(queueUrl, name))

  return {
    async enqueue(job, { queue, delay }) {
      await queueCalled(queue).send({ body: bodyOf(job), attempt: 1, due: Date.now() + delay })
    },

    async work(perform, { concurrency, queues, attempts }) {
      const each = queues.map((name) => takeJobs(queueCalled(name), perform, { concurrency, attempts }))
      const worker: Worker = {
        async stop() {
          await Promise.all(each.map((one) => one.stop()))
          workers.delete(worker)
        },
      }
      workers.add(worker)
      return worker
    },

    async close() {
      await Promise.all([...workers].map((worker) => worker.stop()))
    },
  }
}
