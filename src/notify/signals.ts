import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { messageOf } from '../errors'
import { type Along, type Message, type Notifier, notTold, type Statement } from './notifier'
import type { Signal, State } from './signal'

/** What happens to files, here and, by the notifier, in other processes. Each listener gets the signal. */
export type AttachmentEvents = EventEmitter<Record<State, [signal: Signal]>>

/** Hears of one file: a signal, or undefined when something may have been missed. */
export type Wake = (signal: Signal | undefined) => void

/** Says what has been committed, one thing after the other. */
export interface Teller {
  /** `others` have heard it along with the statement, or are to be told. */
  tell(signal: Signal, others: 'were told' | 'are to be told'): void
  /** What a statement that changes a row says to others, if the notifier can: once they were told all that came before. */
  along(signal: Signal): Promise<Along | undefined>
}

/** Where signals come together: those of this process, and those that a notifier brings. */
export interface Signals {
  /** @param statement sends SQL to the rows' database */
  teller(statement: Statement): Teller
  /** What a transaction says to others when it commits, if the notifier can. */
  along(signal: Signal): Along | undefined
  /** Hears of the file with a version, until the function that comes back is called. */
  watch(version: string, wake: Wake): () => void
  /** Resolves when others have been told all that was to be told by now. */
  told(): Promise<unknown>
  close(): Promise<void>
}

/** With what signals are told. */
export interface Telling {
  /** Outlives the connection. */
  readonly events: AttachmentEvents
  readonly notifier: Notifier | undefined
  /** The name of a file for those who may watch it. */
  channelOf(version: string): string | undefined
}

export function signalsOf({ events, notifier, channelOf }: Telling): Signals {
  const from = randomUUID()
  const watchers = new Map<string, Set<Wake>>()
  /** On their way to others. */
  const open = new Set<Promise<unknown>>()
  let stop: (() => Promise<void>) | undefined
  let closed = false

  // who tells and does not listen, such as a worker, needs no connection for it
  const listen = () => {
    if (!closed) stop ??= notifier?.listen(hear, () => wakeAll())
  }

  function hear({ from: sender, channel: _, ...signal }: Message): void {
    if (sender !== from) happened(signal)
  }

  function happened(signal: Signal): void {
    for (const wake of [...(watchers.get(signal.version) ?? [])]) wake(signal)
    const threw = (error: unknown) => {
      process.emitWarning(`a listener of attachments.events for '${signal.state}' threw: ${messageOf(error)}`, 'AttachmentWarning')
    }
    // one by one, for emit() ends with the first that throws, and leaves one that rejects to end the process
    for (const listener of events.rawListeners(signal.state)) {
      try {
        const heard: unknown = Reflect.apply(listener, events, [signal])
        if (heard instanceof Promise) heard.catch(threw)
      } catch (error) {
        threw(error)
      }
    }
  }

  function wakeAll(): void {
    for (const wakes of [...watchers.values()]) for (const wake of [...wakes]) wake(undefined)
  }

  const messageOfSignal = (signal: Signal): Message => ({ ...signal, from, channel: channelOf(signal.version) })

  /** What cannot be told along is told after it: it must not keep a row from being written. */
  function along(signal: Signal): Along | undefined {
    try {
      return notifier?.along?.(messageOfSignal(signal))
    } catch {
      return undefined
    }
  }

  if (events.eventNames().length > 0) listen()
  const listeners = events as EventEmitter
  listeners.on('newListener', listen)

  return {
    along,

    teller(statement) {
      let last: Promise<unknown> = Promise.resolve()
      return {
        async along(signal) {
          if (!notifier?.along) return undefined
          await last
          return along(signal)
        },

        tell(signal, others) {
          if (closed) return
          happened(signal)
          if (!notifier || others === 'were told') return
          const send = async () => notifier.notify(messageOfSignal(signal), statement)
          // statements take connections of a pool, and would overtake each other
          const telling = (notifier.along ? last.then(send) : send()).catch((error) => notTold(signal, error)).finally(() => open.delete(telling))
          last = telling
          open.add(telling)
        },
      }
    },

    watch(version, wake) {
      listen()
      const wakes = watchers.get(version) ?? new Set()
      watchers.set(version, wakes.add(wake))
      return () => {
        wakes.delete(wake)
        if (wakes.size === 0 && watchers.get(version) === wakes) watchers.delete(version)
      }
    },

    told: () => Promise.all(open),

    async close() {
      closed = true
      listeners.off('newListener', listen)
      wakeAll()
      await stop?.()
    },
  }
}
