import { HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { objectChanged } from './refused'
import { bare } from './s3-etag'
import { nameOf, type Place } from './s3-read'

/**
 * Sees to it that an object is the one with that ETag, and that it still is when what comes back is called. The time counts as
 * well: something else may have been there meanwhile.
 */
export async function pinned(client: S3Client, place: Place, etag: string): Promise<() => Promise<void>> {
  async function written(): Promise<number | undefined> {
    const { ETag, LastModified } = await client.send(new HeadObjectCommand(place))
    if (bare(ETag) !== etag) throw objectChanged(nameOf(place))
    return LastModified?.getTime()
  }
  const before = await written()
  return async () => {
    if ((await written()) !== before) throw objectChanged(nameOf(place))
  }
}
