import type { Message, Notifier } from './notifier'

/** Messages that wait for a server which is away, or does not answer. What is not told is found by the next look at the row. */
const mostWaiting = 1_000

/** Sends messages, as long as not too many wait. */
export function withLimit(server: string, send: (message: Message) => Promise<unknown>): Notifier['notify'] {
  let waiting = 0
  return async (message) => {
    if (waiting >= mostWaiting) throw new Error(`${waiting} messages wait for ${server} already`)
    waiting += 1
    try {
      await send(message)
    } finally {
      waiting -= 1
    }
  }
}
