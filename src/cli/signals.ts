import { EventEmitter, once } from 'node:events'

/** Under npx, Ctrl-C comes twice: from the terminal, and handed on by npx. Milliseconds. */
const sameSignal = 1_000

export interface StopSignals {
  /** The first signal that asks to stop. */
  readonly first: Promise<NodeJS.Signals>
  /** Somebody has no patience. */
  readonly second: Promise<NodeJS.Signals>
}

/** From now on SIGTERM and SIGINT do not end this process, and as process 1 of a container it takes notice of them. */
export function stopSignals(): StopSignals {
  const heard = new EventEmitter()
  let began: number | undefined
  const hear = (signal: NodeJS.Signals) => {
    began ??= performance.now()
    heard.emit(performance.now() - began > sameSignal ? 'second' : 'first', signal)
  }
  process.on('SIGTERM', hear).on('SIGINT', hear)
  const next = async (name: string) => (await once(heard, name))[0] as NodeJS.Signals
  return { first: next('first'), second: next('second') }
}
