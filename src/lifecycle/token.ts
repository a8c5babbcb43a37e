import { createHmac, timingSafeEqual } from 'node:crypto'
import { RefusedFileError, UsageError } from '../errors'

/** What a token says of a file in the staging. */
export interface Claim {
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
  /** Until when it is good, in milliseconds since 1970. */
  readonly until: number
}

/** What is so short can be guessed. Characters. */
const shortest = 32

/** Makes and opens tokens: a claim, and its HMAC-SHA256. */
export interface Tokens {
  sign(claim: Claim): string
  /** Rejects what we have not signed with `bad_token`, and what is too old with `token_expired`: both `RefusedFileError`s. */
  open(token: string, now: number): Claim
}

/**
 * @param secrets the first signs, any of them opens: so one can be replaced. Throws a `UsageError` for none, with `secret_missing`,
 * and for one below 32 characters, with `secret_short`
 */
export function tokensOf(secrets: readonly string[]): Tokens {
  const [current] = secrets
  if (current === undefined) {
    throw new UsageError('secret_missing', 'tokens of direct uploads are signed: give new Attachments({ secret }), the same in every process')
  }
  if (secrets.some((secret) => secret.length < shortest)) {
    throw new UsageError('secret_short', `a secret has fewer than ${shortest} characters, and could be guessed: take openssl rand -hex 32`)
  }
  return {
    sign(claim) {
      const text = Buffer.from(JSON.stringify(claim)).toString('base64url')
      return `${text}.${macOf(text, current).toString('base64url')}`
    },

    open(token, now) {
      const [text = '', mac = '', ...rest] = typeof token === 'string' ? token.split('.') : []
      const given = Buffer.from(mac, 'base64url')
      const isOurs = secrets.map((secret) => macOf(text, secret)).some((own) => own.length === given.length && timingSafeEqual(own, given))
      // base64 may spell the same bytes in more than one way
      if (!isOurs || rest.length > 0 || given.toString('base64url') !== mac) {
        throw new RefusedFileError('bad_token', 'this is no token of a direct upload that was signed here: ask for an upload anew')
      }
      const claim = JSON.parse(Buffer.from(text, 'base64url').toString()) as Claim
      if (claim.until < now) throw new RefusedFileError('token_expired', 'the token of this upload has expired: upload the file again')
      return claim
    },
  }
}

/** The name in front keeps an HMAC that the same secret made for something else from being taken for one of these. */
function macOf(text: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(`direct upload\n${text}`).digest()
}
