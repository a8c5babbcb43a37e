import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { type Asked, type Credentials, type Form, formOf } from './s3-form'

/** A form, and for what it is good. */
interface Known extends Credentials {
  readonly region: string
  /** Undefined where only the SDK can sign. Rejects where even that could not. */
  readonly form: Promise<Form | undefined>
}

/**
 * Unlike each other in all that can be asked for, with every sign that is encoded in a way of its own: a form that gives what
 * the SDK gives for both gives that for all.
 */
const samples: readonly [Asked, Asked] = [
  {
    key: "a sample/of (what's) odd!*/ü+%.png",
    disposition: `attachment; filename="it's (1)!*.png"`,
    date: new Date('2024-02-29T23:59:59Z'),
    expiresIn: 60,
  },
  { key: 'x', date: new Date('2025-01-01T00:00:00Z'), expiresIn: 604_800 },
]

/**
 * Signs URLs of a bucket's objects, each as the SDK's presigner signs it, byte for byte. The presigner itself is asked for
 * samples, with each new set of credentials. It signs the rest as well if the samples have a shape that we cannot make:
 * SigV4a, S3 Express, headers that are signed, a middleware of the client's that looks at the key. Rejects as the SDK does.
 */
export function signerOf(client: S3Client, bucket: string): (asked: Asked) => Promise<string> {
  let known: Known | undefined

  async function presign({ key, disposition, date, expiresIn }: Asked): Promise<string> {
    const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
    const command = new GetObjectCommand({ Bucket: bucket, Key: key, ResponseContentDisposition: disposition })
    return getSignedUrl(client, command, { signingDate: date, expiresIn })
  }

  async function provenForm(credentials: Credentials): Promise<Form | undefined> {
    const [first, second] = await Promise.all([presign(samples[0]), presign(samples[1])])
    const form = formOf(first, samples[0].key, credentials)
    return form?.(samples[0]) === first && form(samples[1]) === second ? form : undefined
  }

  return async (asked) => {
    // the client refreshes its credentials, and while it follows a redirect its region is another
    const credentials: Credentials = await client.config.credentials()
    const region = await client.config.region()
    if (!known || known.region !== region || !areSame(known, credentials)) {
      const { accessKeyId, secretAccessKey, sessionToken } = credentials
      known = { region, accessKeyId, secretAccessKey, sessionToken, form: provenForm(credentials) }
    }
    const current = known
    const form = await current.form.catch(() => {
      if (known === current) known = undefined
    })
    // some versions of the SDK refuse a key without a character
    return form && asked.key !== '' ? form(asked) : presign(asked)
  }
}

function areSame(one: Credentials, other: Credentials): boolean {
  return one.accessKeyId === other.accessKeyId && one.secretAccessKey === other.secretAccessKey && one.sessionToken === other.sessionToken
}
