import type { WatchState } from './watch-state'

/** Until a browser connects again by itself, when the stream has ended. Milliseconds. */
const pause = 2_000

/** Events as they are sent. */
export interface Frames {
  readonly first: string
  /** Heard by pages, which see by it that nothing between keeps the events. */
  readonly alive: string
  of(state: WatchState): string
}

let loaded: Promise<Frames> | undefined

/** Loaded when the first page wants a stream. */
export function loadFrames(): Promise<Frames> {
  loaded ??= import('better-sse').then(({ createEventBuffer }) => ({
    first: createEventBuffer().retry(pause).dispatch().read(),
    alive: createEventBuffer().event('alive').data('').dispatch().read(),
    of: (state) => createEventBuffer().data(state).dispatch().read(),
  }))
  return loaded
}
