import { S3Client } from '@aws-sdk/client-s3'
import { s3Storage } from '../../../src/storage/s3'

/** The S3 storage of a test, in another process. */
export default async () => {
  const { config, bucket } = JSON.parse(process.env['CONTRACT_S3'] as string)
  return s3Storage({ client: new S3Client(config), bucket })
}
