import { type Expiring, macFor, signed } from './signed'

/** Which file somebody may watch. */
export interface Watched extends Expiring {
  readonly entity: string
  readonly attachment: string
  readonly version: string
}

/** Makes and opens the tokens by which a page watches a file. */
export interface WatchTokens {
  sign(watched: Watched): string
  open(token: string, now: number): Watched | 'forged' | 'expired'
  /** What a file is called towards those who watch it: 128 bits that nobody guesses who knows its version. */
  channelOf(version: string): string
}

/** @param secrets as for `signed()` */
export function watchTokensOf(secrets: readonly string[]): WatchTokens {
  return {
    ...signed<Watched>('watch', secrets),
    channelOf: (version) =>
      macFor('watch channel', version, secrets[0] as string)
        .subarray(0, 16)
        .toString('base64url'),
  }
}
