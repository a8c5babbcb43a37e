import { createHmac, hash } from 'node:crypto'

/** What a signed URL is asked for. */
export interface Asked {
  readonly key: string
  /** The `Content-Disposition` that is to be answered; undefined for the object's own. */
  readonly disposition?: string
  /** When it is signed. A part of a second is left out. */
  readonly date: Date
  /** Seconds from `date` on. */
  readonly expiresIn: number
}

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** Signs what is asked for. */
export type Form = (asked: Asked) => string

/** A signed URL, taken apart. Its parameters are in order, and so each stands where it stands in all of them. */
const signed = new RegExp(
  [
    /^(?<origin>https?:\/\/(?<host>[^/?]+))(?<path>\/[^?]*)\?/,
    /(?<start>.*&X-Amz-Credential=[^&]+%2F)\d{8}(?<scope>%2F(?<region>[^%&]+)%2F(?<service>[^%&]+)%2Faws4_request)/,
    /&X-Amz-Date=\d{8}T\d{6}Z&X-Amz-Expires=\d+(?<token>.*)&X-Amz-Signature=\w+(?<middle>.*)/,
    /&response-content-disposition=[^&]*(?<end>.*)$/,
  ]
    .map(({ source }) => source)
    .join(''),
)

/** How many days' signing keys are kept: seven and today's may be in use, in whatever order. */
const mostDays = 8

/**
 * Makes a form of a URL that the SDK has signed: what is the same for every object of the bucket stands in it, and the rest is
 * filled in, by SigV4 with query parameters (AWS, "Authenticating Requests: Using Query Parameters"). Undefined where the URL
 * does not look like one. Whether the form is right is not known before it has given what the SDK gives.
 *
 * @param url of the object `key`, with a disposition
 */
export function formOf(url: string, key: string, { secretAccessKey }: Credentials): Form | undefined {
  const parts = signed.exec(url)?.groups
  if (!parts?.['path']?.endsWith(`/${encodePath(key)}`)) return undefined
  const { origin, host, path, start, scope, region, service, token, middle, end } = parts
  const folder = path.slice(0, -encodePath(key).length)
  const keyOf = keysOf(secretAccessKey, region as string, service as string)
  const stampOf = stamps()

  return ({ key, disposition, date, expiresIn }) => {
    const stamp = stampOf(date)
    const day = stamp.slice(0, 8)
    const path = folder + encodePath(key)
    const asked = disposition === undefined ? '' : `&response-content-disposition=${encode(disposition)}`
    const before = `${start}${day}${scope}&X-Amz-Date=${stamp}&X-Amz-Expires=${expiresIn}${token}`
    const after = `${middle}${asked}${end}`
    const request = hash('sha256', `GET\n${path}\n${before}${after}\nhost:${host}\n\nhost\nUNSIGNED-PAYLOAD`)
    const toSign = `AWS4-HMAC-SHA256\n${stamp}\n${day}/${region}/${service}/aws4_request\n${request}`
    const signature = createHmac('sha256', keyOf(day)).update(toSign).digest('hex')
    return `${origin}${path}?${before}&X-Amz-Signature=${signature}${after}`
  }
}

/** The signing key of a day, worked out once. */
function keysOf(secret: string, ...scope: [region: string, service: string]): (day: string) => Buffer {
  const known = new Map<string, Buffer>()
  return (day) => {
    const kept = known.get(day)
    if (kept) return kept
    const chain = [day, ...scope, 'aws4_request']
    const key = chain.reduce((key, part) => createHmac('sha256', key).update(part).digest(), Buffer.from(`AWS4${secret}`))
    if (known.size === mostDays) known.clear()
    known.set(day, key)
    return key
  }
}

/** A date as `20250131T235959Z`. Writing one takes longer than a hash, so it is kept for the rest of its second. */
function stamps(): (date: Date) => string {
  let second = Number.NaN
  let stamp = ''
  return (date) => {
    const asked = Math.floor(date.getTime() / 1000)
    if (asked !== second) {
      stamp = date.toISOString().replace(/[-:]|\.\d+/g, '')
      second = asked
    }
    return stamp
  }
}

/** As the SDK does: what encodeURIComponent() leaves alone and RFC 3986 reserves is encoded, too. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
}

function encodePath(key: string): string {
  return encode(key).replaceAll('%2F', '/')
}
