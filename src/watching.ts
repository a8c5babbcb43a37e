import type { Connection } from './connection'
import { UsageError } from './errors'
import type { FetchHandler } from './http/direct-uploads'
import { type Look, lookTogether } from './http/look-together'
import { type OpenStreams, openStreams } from './http/open-streams'
import { type WatchOptions, watchHandler } from './http/watch'
import type { WatchPort } from './http/watch-port'
import type { WatchTokens } from './lifecycle/watch-token'

/** Pages that watch files: all handlers of some attachments look together. */
export class Watching {
  readonly #port: WatchPort
  readonly #look: Look
  readonly #streams: OpenStreams

  /**
   * @param connectionOf throws where there is none: handlers may be made before `connect()`
   * @param pause as for `openStreams()`
   * @param topicOf as for the port, by the channel of a file
   */
  constructor(connectionOf: () => Connection, tokens: WatchTokens, pause: number, topicOf?: (channel: string) => string) {
    this.#port = {
      open: (token) => opened(tokens, token),
      look: (name, versions) => connectionOf().filesAt(name, versions),
      watch: (version, wake) => connectionOf().signals.watch(version, wake),
      topicOf: (version) => topicOf?.(tokens.channelOf(version)),
    }
    this.#look = lookTogether(this.#port.look)
    this.#streams = openStreams(pause)
  }

  handler(options: WatchOptions): FetchHandler {
    return watchHandler(this.#port, this.#look, this.#streams, options)
  }

  close(): void {
    this.#streams.close()
  }
}

function opened(tokens: WatchTokens, token: string) {
  const watched = tokens.open(token, Date.now())
  if (watched === 'forged') throw new UsageError('bad_token', 'this is no token that was signed here to watch a file: load the page anew')
  if (watched === 'expired') throw new UsageError('token_expired', 'the token to watch this file has expired: load the page anew')
  const { entity, attachment, version } = watched
  return { entity, attachment, version }
}
