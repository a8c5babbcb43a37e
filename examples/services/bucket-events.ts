import { randomBytes } from 'node:crypto'
import { GetBucketNotificationConfigurationCommand, PutBucketNotificationConfigurationCommand, S3Client } from '@aws-sdk/client-s3'
import { CreateTopicCommand, DeleteTopicCommand, SNSClient } from '@aws-sdk/client-sns'
import { clientConfig, type S3Server } from './s3'

export interface BucketEvents {
  readonly server: Pick<S3Server, 'endpoint' | 'accessKeyId' | 'secretAccessKey'>
  readonly bucket: string
  /** Only of objects whose keys begin and end like this. */
  readonly filter?: { readonly prefix?: string; readonly suffix?: string }
  /** Where they are posted. */
  readonly url: string
  /**
   * Whether the gateway keeps an event until the answer is 2xx, and sends it again until then; it looks for new topics every 30
   * seconds. Otherwise it sends an event once, and whoever writes the object waits for the answer.
   */
  readonly persistent: boolean
}

/** Has a RADOS gateway post to a webhook what is created in a bucket. What it resolves to ends that. */
export async function sendBucketEvents({ server, bucket, filter = {}, url, persistent }: BucketEvents): Promise<() => Promise<void>> {
  const s3 = new S3Client(clientConfig(server))
  // the gateway knows topics by the API of SNS
  const { endpoint, accessKeyId, secretAccessKey } = server
  const topics = new SNSClient({ endpoint, region: 'us-east-1', credentials: { accessKeyId, secretAccessKey } })
  const name = `events-${randomBytes(6).toString('hex')}`
  const attributes = { 'push-endpoint': url, persistent: String(persistent) }
  const { TopicArn } = await topics.send(new CreateTopicCommand({ Name: name, Attributes: attributes }))
  const rules = Object.entries(filter).map(([Name, Value]) => ({ Name: Name as 'prefix' | 'suffix', Value }))
  const configuration = { Id: name, TopicArn, Events: ['s3:ObjectCreated:*' as const], Filter: { Key: { FilterRules: rules } } }
  await s3.send(
    new PutBucketNotificationConfigurationCommand({ Bucket: bucket, NotificationConfiguration: { TopicConfigurations: [configuration] } }),
  )
  return async () => {
    await s3.send(removal(bucket))
    await topics.send(new DeleteTopicCommand({ TopicArn }))
    for (const client of [s3, topics]) client.destroy()
  }
}

/** Ceph's own way to end them, which no SDK knows: it refuses an empty configuration. */
function removal(bucket: string): GetBucketNotificationConfigurationCommand {
  const command = new GetBucketNotificationConfigurationCommand({ Bucket: bucket })
  command.middlewareStack.add(
    (next) => (args) => {
      Object(args.request).method = 'DELETE'
      return next(args)
    },
    { step: 'build' },
  )
  return command
}
