import { messageOf } from '../errors'

interface Stream {
  lookAgain(): void
  beat(): void
  end(): void
}

/** The streams that are open: two timers serve all of them. */
export interface OpenStreams {
  add(stream: Stream): void
  delete(stream: Stream): void
  /** Says that a look has failed; the next one makes up for it. */
  failed(error: unknown): void
  /** Ends all of them. */
  close(): void
}

/**
 * @param pause milliseconds after which each looks even if it has heard nothing
 * @param beat milliseconds between two signs of life: pages take a stream for held back after 40 seconds of silence
 */
export function openStreams(pause: number, beat = 15_000): OpenStreams {
  const streams = new Set<Stream>()
  let timers: NodeJS.Timeout[] = []
  let lastError: unknown
  return {
    add(stream) {
      streams.add(stream)
      if (timers.length > 0) return
      timers = [every(pause, (open) => open.lookAgain()), every(beat, (open) => open.beat())]
    },

    delete(stream) {
      if (!streams.delete(stream) || streams.size > 0) return
      for (const timer of timers) clearInterval(timer)
      timers = []
    },

    failed(error) {
      // one query that fails is the same error for each file that it was to look at
      if (error === lastError) return
      lastError = error
      process.emitWarning(`files that pages watch could not be looked at, and will be again: ${messageOf(error)}`, 'AttachmentWarning')
    },

    close() {
      for (const stream of [...streams]) stream.end()
    },
  }

  function every(interval: number, act: (stream: Stream) => void): NodeJS.Timeout {
    return setInterval(() => {
      for (const stream of [...streams]) act(stream)
    }, interval)
  }
}
