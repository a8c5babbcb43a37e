import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'

/** Where a client finds a bucket. The SDK alone knows all rules for that: what it would sign, without the signature, is the address. */
export async function addressOf(client: S3Client, bucket: string): Promise<string> {
  const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
  const signed = await getSignedUrl(client, new GetObjectCommand({ Bucket: bucket, Key: 'x' }))
  return signed.replace(/\/x\?.*$/, '')
}
