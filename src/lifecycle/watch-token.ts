import { type Expiring, type Form, macFor, signed } from './signed'

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
    ...signed<Watched>('watch', secrets, short),
    channelOf: (version) =>
      macFor('watch channel', version, secrets[0] as string)
        .subarray(0, 16)
        .toString('base64url'),
  }
}

/** The version, six bytes of time, and the names. Those of a whole page stand in one URL, which proxies take up to 8 KB of. */
const short: Form<Watched> = {
  write({ entity, attachment, version, until }) {
    const time = Buffer.alloc(6)
    time.writeUIntBE(until, 0, 6)
    return Buffer.concat([Buffer.from(version, 'hex'), time, Buffer.from(`${entity}\0${attachment}`)])
  },

  read(bytes) {
    const [entity = '', attachment = ''] = bytes.toString('utf8', 22).split('\0')
    return { entity, attachment, version: bytes.toString('hex', 0, 16), until: bytes.readUIntBE(16, 6) }
  },

  macLength: 16,
}
