import { createHmac, timingSafeEqual } from 'node:crypto'
import { UsageError } from '../errors'

/** What is so short can be guessed. Characters. */
const shortest = 32

/** What is signed is good for a time. */
export interface Expiring {
  /** In milliseconds since 1970. */
  readonly until: number
}

/** Makes tokens, which are a claim and its HMAC-SHA256, and opens them. */
export interface Signed<Claim extends Expiring> {
  sign(claim: Claim): string
  open(token: string, now: number): Claim | 'forged' | 'expired'
}

/** Throws a `UsageError` for none, with `secret_missing`, and for one below 32 characters, with `secret_short`. */
export function checkSecrets(secrets: readonly string[]): void {
  if (secrets.length === 0) {
    throw new UsageError('secret_missing', 'tokens are signed: give new Attachments({ secret }), the same in every process')
  }
  if (secrets.some((secret) => secret.length < shortest)) {
    throw new UsageError('secret_short', `a secret has fewer than ${shortest} characters, and could be guessed: take openssl rand -hex 32`)
  }
}

/**
 * @param purpose what the tokens are for: those of another purpose are forged here
 * @param secrets the first signs, any of them opens: so one can be replaced
 */
export function signed<Claim extends Expiring>(purpose: string, secrets: readonly string[]): Signed<Claim> {
  checkSecrets(secrets)
  const macOf = (text: string, secret: string) => macFor(purpose, text, secret)
  return {
    sign(claim) {
      const text = Buffer.from(JSON.stringify(claim)).toString('base64url')
      return `${text}.${macOf(text, secrets[0] as string).toString('base64url')}`
    },

    open(token, now) {
      const [text = '', mac = '', ...rest] = typeof token === 'string' ? token.split('.') : []
      const given = Buffer.from(mac, 'base64url')
      const isOurs = secrets.map((secret) => macOf(text, secret)).some((own) => own.length === given.length && timingSafeEqual(own, given))
      // base64 may spell the same bytes in more than one way
      if (!isOurs || rest.length > 0 || given.toString('base64url') !== mac) return 'forged'
      const claim = JSON.parse(Buffer.from(text, 'base64url').toString()) as Claim
      return claim.until < now ? 'expired' : claim
    },
  }
}

/** The purpose in front keeps an HMAC that the same secret made for something else from being taken for one of these. */
export function macFor(purpose: string, text: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(`${purpose}\n${text}`).digest()
}
