import { PutBucketCorsCommand } from '@aws-sdk/client-s3'
import { inlineBackground } from 'typeorm-attachments'
import { attachmentsWith, bucket, client, dataSource } from './attachments'
import { endTelling } from './notifier'

// what runs once before the others start: the tables, and what the bucket has to know of

async function release(): Promise<void> {
  await dataSource.initialize()
  await dataSource.runMigrations()

  // pages of which sites may send to the bucket; what they may send is signed for each file
  const rule = {
    AllowedOrigins: [process.env['ORIGIN'] ?? '*'],
    AllowedMethods: ['POST', 'PUT'],
    AllowedHeaders: ['*'],
    ExposeHeaders: ['ETag', 'Location'],
    MaxAgeSeconds: 3600,
  }
  await client.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration: { CORSRules: [rule] } }))

  // marks the staging: the first function would do it otherwise, and be an event by that
  const attachments = attachmentsWith(inlineBackground())
  await attachments.connect(dataSource)
  await attachments.close()
  await endTelling()
  await dataSource.destroy()
}

release().catch((error) => {
  console.error(error)
  process.exit(1)
})
