import { AttachmentError, messageOf, StorageError } from '../errors'

interface Said {
  readonly name?: string
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number }
}

/** The HTTP status of an error that S3 answered; 0 where it did not answer. */
export function statusOf(error: unknown): number {
  return (error as Said).$metadata?.httpStatusCode ?? 0
}

/** How often the SDK had asked when it gave that answer. */
export function attemptsOf(error: unknown): number {
  return (error as Said).$metadata?.attempts ?? 1
}

/** Whether a condition of the request did not hold. */
export function isUnmet(error: unknown): boolean {
  return statusOf(error) === 412 || (error as Said).name === 'PreconditionFailed'
}

/** What S3 says, as a `StorageError` that names the thing and the cure. */
export function explained(error: unknown, what: string): unknown {
  if (error instanceof AttachmentError) return error
  const { name = '' } = error as Said
  const status = statusOf(error)
  const because = (code: string, cure: string) => new StorageError(code, `${what}: ${cure}`, { cause: error })
  if (name === 'NoSuchBucket') return because('bucket_missing', 'there is no such bucket: create it, or correct the name in s3Storage({ bucket })')
  if (name === 'NoSuchKey' || name === 'NotFound') return because('object_missing', 'there is no such object')
  if (status === 401 || status === 403)
    return because('access_denied', `access is denied (${name || status}): look at the credentials of the client and the policy of the bucket`)
  if (name === 'TimeoutError' || name === 'AbortError') return because('s3_timeout', 'S3 did not answer in time')
  const said = messageOf(error)
  return because('s3_failed', said === name || said === '' ? name : `${name}: ${said}`)
}
