import type { Message, Notifier } from './notifier'

/** Between several `Attachments` of one process: for tests. */
export function memoryNotifier(): Notifier {
  const listeners = new Set<(message: Message) => void>()
  return {
    async notify(message) {
      for (const hear of listeners) hear(message)
    },

    listen(hear, began) {
      listeners.add(hear)
      began()
      return async () => void listeners.delete(hear)
    },
  }
}
