import type { Message, SendMessageRequest } from '@aws-sdk/client-sqs'
import type { Job } from './job'
import { packed, unpacked } from './packed'

/** What SQS carries. */
export interface Carried {
  readonly body: string
  /** Number of the attempt that comes next, from 1. */
  readonly attempt: number
  /** When it may begin. Milliseconds since 1970. */
  readonly due: number
}

export interface Received extends Carried {
  /** By what SQS knows it, until it is given to somebody again. */
  readonly receipt: string
  /** When it came. Milliseconds since 1970. */
  readonly at: number
}

/** What every queue takes by default, 256 KB, with room for attributes. Bytes. */
const largestBody = 250_000
/** What SQS allows. Seconds. */
const longestDelay = 900
/** Characters that SQS refuses, and those beyond U+FFFF, which servers of its kind may refuse. */
const refused = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g

/** The job as JSON. A delete job that is too large for SQS is packed, and only says whose it is. */
export function bodyOf(job: Job): string {
  const body = spelled(job)
  return Buffer.byteLength(body) <= largestBody ? body : spelled(packed(job))
}

function spelled(value: object): string {
  return JSON.stringify(value).replace(refused, (character) => `\\u${character.charCodeAt(0).toString(16)}`)
}

/** The job of a body; undefined where it is somebody else's. Whether it is complete, whoever performs it will see. */
export function jobIn(body: string): Job | undefined {
  try {
    const given = JSON.parse(body)
    const { kind, entity, attachment } = Object(given)
    if (![kind, entity, attachment].every((said) => typeof said === 'string')) return undefined
    return unpacked(given) as Job
  } catch {
    return undefined
  }
}

/** Attributes say what cannot be seen otherwise: an attempt that is not the first, a time beyond what SQS can wait for, an error. */
export function contentOf({ body, attempt, due }: Carried, error?: string): Omit<SendMessageRequest, 'QueueUrl'> {
  const number = (value: number) => ({ DataType: 'Number', StringValue: String(value) })
  const wait = Math.ceil((due - Date.now()) / 1000)
  return {
    MessageBody: body,
    MessageAttributes: {
      ...(attempt > 1 && { attempt: number(attempt) }),
      ...(wait > longestDelay && { due: number(due) }),
      ...(error !== undefined && { error: { DataType: 'String', StringValue: error.slice(0, 1000).replace(refused, '?') } }),
    },
    // where nothing is to be waited for, a delay of the queue's own holds
    ...(wait > 0 && { DelaySeconds: Math.min(wait, longestDelay) }),
  }
}

/**
 * Each time that SQS gives a message out counts as an attempt, as it does for the queue's dead letters: also the one of a
 * worker that was killed.
 */
export function receivedOf({ Body = '', ReceiptHandle = '', Attributes, MessageAttributes }: Message): Received {
  const said = (name: string, otherwise: number) => Number(MessageAttributes?.[name]?.StringValue ?? otherwise)
  const times = Number(Attributes?.ApproximateReceiveCount ?? 1)
  return { body: Body, receipt: ReceiptHandle, attempt: said('attempt', 1) + times - 1, due: said('due', 0), at: Date.now() }
}
