import { SQSClient } from '@aws-sdk/client-sqs'
import { sqsBackground } from '../../../src/background/sqs'

/** The SQS background of a test, in another process. */
export const makeBackground = async () => {
  const { config, queueUrl } = JSON.parse(process.env['CONTRACT_SQS'] as string)
  return sqsBackground({ client: new SQSClient(config), queueUrl })
}
