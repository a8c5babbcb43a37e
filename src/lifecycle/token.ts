import { RefusedFileError } from '../errors'
import { type Expiring, signed } from './signed'

/** What a token says of a file in the staging. */
export interface Claim extends Expiring {
  readonly entity: string
  readonly attachment: string
  /** Names the file in the staging: see `stagedFolder()`. */
  readonly version: string
  readonly fileName: string
  /** As the client called it. */
  readonly contentType: string
  /** Bytes. */
  readonly size: number
  /** SHA-256, in hex, where we have read the bytes. */
  readonly fingerprint?: string
  /** For whom it was made; null for whoever brings it. */
  readonly subject: string | null
}

/** Makes and opens the tokens of direct uploads. */
export interface Tokens {
  sign(claim: Claim): string
  /** Rejects what we have not signed with `bad_token`, and what is too old with `token_expired`: both `RefusedFileError`s. */
  open(token: string, now: number): Claim
}

/** @param secrets as for `signed()` */
export function tokensOf(secrets: readonly string[]): Tokens {
  const { sign, open } = signed<Claim>('direct upload', secrets)
  return {
    sign,
    open(token, now) {
      const claim = open(token, now)
      if (claim === 'forged')
        throw new RefusedFileError('bad_token', 'this is no token of a direct upload that was signed here: ask for an upload anew')
      if (claim === 'expired') throw new RefusedFileError('token_expired', 'the token of this upload has expired: upload the file again')
      return claim
    },
  }
}
