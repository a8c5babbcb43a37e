import type { S3Client } from '@aws-sdk/client-s3'
import { UsageError } from '../errors'
import type { SignedUrlOptions } from './storage'

/** What SigV4 allows. Seconds. */
const longest = 7 * 24 * 3600
/** By how much the SDK takes a clock to be wrong: what its answers' dates differ by is else the time that they took. Milliseconds. */
const skewed = 240_000

/** When something is signed, and for how many seconds from then. */
export interface Validity {
  readonly date: Date
  readonly expiresIn: number
}

/**
 * When a URL is signed, and for how many seconds from then. A stable one is signed at the last multiple of half of `expiresIn`,
 * and valid for that half longer: so whenever it is given out, `expiresIn` is left. Throws a `UsageError` with code
 * `bad_expiry` for what SigV4 does not allow.
 *
 * @param now milliseconds
 */
export function validityOf({ expiresIn, stable = false }: SignedUrlOptions, now: number): Validity {
  const step = stable ? Math.ceil(expiresIn / 2) : 0
  if (!Number.isInteger(expiresIn) || expiresIn < 1 || expiresIn + step > longest) {
    const most = stable ? `${Math.floor((longest * 2) / 3)}, as a stable one is valid for up to half longer than asked` : `${longest} (seven days)`
    throw new UsageError('bad_expiry', `a signed URL cannot be valid for ${expiresIn} seconds: give 1 to ${most}`)
  }
  const steps = step * 1000
  return { date: new Date(stable ? Math.floor(now / steps) * steps : now), expiresIn: expiresIn + step }
}

/** The time by the server's clock, where answers to the client's requests have shown that this machine's is wrong. Milliseconds. */
export function timeOf(client: S3Client): number {
  const { systemClockOffset } = client.config
  return Date.now() + (Math.abs(systemClockOffset) < skewed ? 0 : systemClockOffset)
}
