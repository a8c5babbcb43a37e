import { onTestFinished } from 'vitest'
import type { WatchState } from '../../src'

/** A page as far as it watches. */
export interface Watcher {
  /** All that it was told. */
  readonly states: WatchState[]
  readonly status: number
  readonly headers: Headers
  /** Whether the stream has ended by itself. */
  readonly ended: boolean
  /** Goes, without a word. */
  leave(): Promise<void>
}

/** A request to the handler that asks for a stream. */
export function streamOf(
  tokens: readonly string[],
  { base = 'http://app.test/watch', signal }: { base?: string; signal?: AbortSignal } = {},
): Request {
  return new Request(addressOf(tokens, base), { headers: { accept: 'text/event-stream' }, signal })
}

export function addressOf(tokens: readonly string[], base = 'http://app.test/watch'): string {
  return `${base}?${new URLSearchParams(tokens.map((token): [string, string] => ['token', token]))}`
}

/** Reads a stream of events as a browser does. It is left when the test ends. */
export function watcherOf(response: Response): Watcher {
  const states: WatchState[] = []
  const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
  const leave = () => reader.cancel().catch(() => undefined)
  onTestFinished(leave)
  let ended = false
  let text = ''
  const read = async () => {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      const events = (text + value).split('\n\n')
      text = events.pop() as string
      for (const event of events) if (event.startsWith('data:')) states.push(JSON.parse(event.slice(5)))
    }
    ended = true
  }
  // cut off
  read().catch(() => undefined)
  return {
    states,
    status: response.status,
    headers: response.headers,
    get ended() {
      return ended
    },
    leave,
  }
}
