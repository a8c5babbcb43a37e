import type { Attached } from '../attachment/attached'
import type { AttachmentRef } from '../attachment/rows'
import type { Look } from './look-together'
import type { FoundFile, WatchedFile, WatchPort } from './watch-port'

/** What a page is told of a file. */
export interface WatchState<File = unknown> {
  /** The token by which it is watched. */
  readonly token: string
  /** `removed`: its row has another file by now, or none, or is gone. */
  readonly state: 'awaiting' | 'processing' | 'processed' | 'failed' | 'removed'
  /** Another one whenever there is more to tell than progress. */
  readonly mark: string
  /** Of its styles so many, the original among them, are in the storage. Only while a job tells it. */
  readonly progress?: { readonly done: number; readonly of: number }
  /** The topic of an MQTT broker where signals of this file are. */
  readonly topic?: string
  /** What `show` makes of it; null when it is removed. Not told with mere progress. */
  readonly file?: File | null
}

/** What pages are to see of a file. */
export type Show = (file: Attached<string>, ref: AttachmentRef) => unknown

/** A file, and the token by which it is watched. */
export interface TokenFor extends WatchedFile {
  readonly token: string
}

/** How a file is found to be. */
export interface Sight {
  readonly mark: string
  readonly state: WatchState['state']
  tell(): Promise<WatchState>
}

/** Looks at a file. */
export async function see(watched: TokenFor, look: Look, show: Show, topicOf: WatchPort['topicOf']): Promise<Sight> {
  const found = await look(watched)
  const state = stateOf(found)
  const written = Object.values(found?.file.meta?.styles ?? {}).filter((style) => style.written)
  const mark = `${state} ${written.length}`
  return {
    state,
    mark,
    async tell() {
      const file = found && (await show(found.file, found.ref))
      return { token: watched.token, state, mark, topic: topicOf(watched.version), file }
    },
  }
}

function stateOf(found: FoundFile | null): WatchState['state'] {
  if (!found) return 'removed'
  const { awaiting, error, processing } = found.file
  if (error) return 'failed'
  if (awaiting) return 'awaiting'
  return processing ? 'processing' : 'processed'
}
