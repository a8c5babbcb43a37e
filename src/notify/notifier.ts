import { messageOf } from '../errors'
import type { Signal } from './signal'

/** A signal on its way to other processes. */
export interface Message extends Signal {
  /** The process that sends it: it knows already. */
  readonly from: string
  /**
   * Names the file for those who may watch it. Unlike the version it stands in no URL, so that nobody guesses it. Not without a
   * `secret`.
   */
  readonly channel?: string
}

/** An expression that the statement which changes a row evaluates, so that who is told, is told by the commit. */
export interface Along {
  /** @param parameter the placeholder for `value` */
  sql(parameter: string): string
  readonly value: string
}

/** Sends a statement of SQL to the database of the rows. */
export type Statement = (sql: string, parameters: readonly unknown[]) => Promise<unknown>

/**
 * Tells other processes what happens to files. Messages may be lost, repeated and reordered. `memoryNotifier()` is the smallest
 * example.
 */
export interface Notifier {
  /** Tells all who listen what has been committed. It is not waited for. */
  notify(message: Message, statement: Statement): Promise<void>
  /** For databases that tell by themselves: then `notify()` is not called. */
  along?(message: Message): Along
  /**
   * Hears what others tell, until the function that comes back is called. A connection that is lost is made anew by the notifier.
   *
   * @param began called whenever it hears from now on, at the beginning and after each gap, in which something may have been missed
   */
  listen(hear: (message: Message) => void, began: () => void): () => Promise<void>
  /** Where a browser subscribes to what is told of one file, if it can: `channel` is that of the messages. */
  topicOf?(channel: string): string
  /** Throws where it cannot work with this database: `'postgres'`, `'mariadb'`, … */
  check?(kind: string): void
}

/** A message as text. An id may be a `bigint`, which JSON does not know: it is its digits. */
export function textOf(message: Message): string {
  return JSON.stringify(message, (_, value) => (typeof value === 'bigint' ? `${value}` : value))
}

/** The message of a text, or undefined where it is none. */
export function messageFrom(text: string): Message | undefined {
  try {
    const message = JSON.parse(text) as Message
    return typeof message?.version === 'string' && typeof message.state === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

/** Says that others were not told. Their next look at the row makes up for it. */
export function notTold({ entity, attachment, state }: Signal, error: unknown): void {
  process.emitWarning(`others were not told that a file of ${entity}.${attachment} is ${state}: ${messageOf(error)}`, 'AttachmentWarning')
}

/** Says that nothing is heard from others. Looks at the rows make up for it, and are fewer where there is a notifier. */
export function notHeard(error: unknown): void {
  process.emitWarning(`what other processes tell of files is not heard, and is tried again: ${messageOf(error)}`, 'AttachmentWarning')
}
