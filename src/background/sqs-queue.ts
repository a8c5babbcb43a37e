import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs'
import { UsageError } from '../errors'
import { type Carried, contentOf, type Received, receivedOf } from './sqs-message'

/** How long a message belongs to whoever received it, unless that is said again. Seconds. */
export const lease = 30
/** How long SQS waits for a message before it answers that there is none: the most it allows. Seconds. */
const longPoll = 20
/** What SQS gives out at a time. */
const mostMessages = 10
/** How long it keeps a message back for whoever received it, counted from then, with room for the way. Seconds. */
const longestLease = 12 * 3600 - 60
/** How long any other request may take, the SDK's own retries included. Milliseconds. */
const patience = 5_000
/** For how long nothing is sent anew after a delete was refused. Milliseconds. */
const doubtful = 60_000

/** Where SQS puts what was received too often. */
export interface Redrive {
  readonly deadLetters: string
  readonly maxReceiveCount: number
}

/** The requests that concern one queue. */
export interface SqsQueue {
  readonly url: string
  send(carried: Carried, error?: string): Promise<void>
  /** Waits until there is something. */
  receive(most: number, signal: AbortSignal): Promise<Received[]>
  /** Nobody else receives it for so many seconds, from now. */
  keep(message: Received, seconds: number): Promise<void>
  delete(message: Received): Promise<void>
  /** Sends it anew, as it is or otherwise, since a message cannot be changed. Where nothing can be deleted, it comes again itself when it is due. */
  replace(message: Received, by: Carried): Promise<void>
  /** Moves it to where SQS puts such messages itself, its error with it, or else deletes it. Where it is now. */
  bury(message: Received, error: string): Promise<string | undefined>
  /** Undefined where the queue has no such policy. */
  redrive(): Promise<Redrive | undefined>
}

export function sqsQueue(client: SQSClient, url: string): SqsQueue {
  /** By `performance.now()`. */
  let undeletableUntil = 0
  const inTime = () => ({ abortSignal: AbortSignal.timeout(patience) })

  async function asked<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      const { name } = Object(error) as { name?: string }
      if (name !== 'QueueDoesNotExist') throw error
      throw new UsageError('queue_missing', `there is no queue ${url}: create it, or correct the queueUrl or the name`, { cause: error })
    }
  }

  const queue: SqsQueue = {
    url,

    async send(carried, error) {
      await asked(client.send(new SendMessageCommand({ QueueUrl: url, ...contentOf(carried, error) }), inTime()))
    },

    async receive(most, signal) {
      const wanted: ReceiveMessageCommand['input'] = {
        QueueUrl: url,
        MaxNumberOfMessages: Math.min(most, mostMessages),
        WaitTimeSeconds: longPoll,
        VisibilityTimeout: lease,
        MessageSystemAttributeNames: ['ApproximateReceiveCount'],
        MessageAttributeNames: ['attempt', 'due'],
      }
      const { Messages = [] } = await asked(client.send(new ReceiveMessageCommand(wanted), { abortSignal: signal }))
      return Messages.map(receivedOf)
    },

    async keep({ receipt, at }, seconds) {
      const left = longestLease - Math.floor((Date.now() - at) / 1000)
      if (left <= 0) throw new Error(`SQS keeps no message for longer than ${longestLease} seconds`)
      const VisibilityTimeout = Math.min(seconds, left)
      await client.send(new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle: receipt, VisibilityTimeout }), inTime())
    },

    async delete({ receipt }) {
      await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receipt }), inTime())
    },

    async replace(message, by) {
      const hide = () => queue.keep(message, Math.max(0, Math.ceil((by.due - Date.now()) / 1000)))
      // each copy would have copies of its own
      if (performance.now() < undeletableUntil) return hide()
      // in this order: twice is harmless, never is not
      await queue.send(by)
      try {
        await queue.delete(message)
      } catch (error) {
        undeletableUntil = performance.now() + doubtful
        await hide()
        throw error
      }
    },

    async bury(message, error) {
      const policy = await queue.redrive()
      // whoever brings it back from there gives it all its attempts
      if (policy) await sqsQueue(client, policy.deadLetters).send({ ...message, attempt: 1, due: 0 }, error)
      await queue.delete(message)
      return policy?.deadLetters
    },

    async redrive() {
      const { Attributes } = await client.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['RedrivePolicy'] }), inTime())
      if (!Attributes?.RedrivePolicy) return undefined
      const { deadLetterTargetArn, maxReceiveCount } = JSON.parse(Attributes.RedrivePolicy)
      return { deadLetters: besides(url, String(deadLetterTargetArn).split(':').at(-1) as string), maxReceiveCount: Number(maxReceiveCount) }
    },
  }
  return queue
}

/** A queue of the same account and region: dead letters must be there, too. */
export function besides(url: string, name: string): string {
  return url.replace(/[^/]*$/, name)
}
