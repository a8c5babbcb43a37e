import type { Attached } from '../attachment/attached'
import type { AttachmentName, AttachmentRef } from '../attachment/rows'
import type { Wake } from '../notify/signals'

/** A file that somebody may watch. */
export interface WatchedFile extends AttachmentName {
  readonly version: string
}

/** A file that a row has. */
export interface FoundFile {
  readonly ref: AttachmentRef
  readonly file: Attached<string>
}

/** What the handler of watching needs from outside. */
export interface WatchPort {
  /** Which file a token lets watch. Throws `bad_token` or `token_expired`. */
  open(token: string): WatchedFile
  /** Those of these versions that rows have now. */
  look(name: AttachmentName, versions: readonly string[]): Promise<ReadonlyMap<string, FoundFile>>
  /** Hears when it may be time to look, until the function that comes back is called. */
  watch(version: string, wake: Wake): () => void
  /** Where a browser can subscribe to what is told of a file, if it can. */
  topicOf(version: string): string | undefined
}
