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
  /** Says that a look has failed, once in the time of a beat; the next one makes up for it. */
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
  let lastSaid: string | undefined
  return {
    add(stream) {
      streams.add(stream)
      if (timers.length > 0) return
      timers = [setInterval(lookAgain, pause), setInterval(beatAgain, beat)]
    },

    delete(stream) {
      if (!streams.delete(stream) || streams.size > 0) return
      for (const timer of timers) clearInterval(timer)
      timers = []
    },

    failed(error) {
      // what fails for one file fails for many, and again with each look
      const said = messageOf(error)
      if (said === lastSaid) return
      lastSaid = said
      process.emitWarning(`files that pages watch could not be looked at, and will be again: ${said}`, 'AttachmentWarning')
    },

    close() {
      for (const stream of [...streams]) stream.end()
    },
  }

  function lookAgain(): void {
    for (const stream of [...streams]) stream.lookAgain()
  }

  function beatAgain(): void {
    lastSaid = undefined
    for (const stream of [...streams]) stream.beat()
  }
}
