import { createHash, createHmac } from 'node:crypto'
import { S3Client } from '@aws-sdk/client-s3'
import { inject, onTestFinished } from 'vitest'
import { clientConfig } from '../../examples/services/s3'

const server = inject('s3')

/**
 * A client with credentials for an hour, that may do this with objects under these names (`bucket/prefix*`) and nothing else.
 * Undefined where the server gives out none.
 */
export async function sessionClient(name: string, actions: readonly string[], objects: readonly string[]): Promise<S3Client | undefined> {
  const document = (statement: object) => JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...statement }] })
  const trust = document({ Principal: { AWS: ['arn:aws:iam:::user/test'] }, Action: ['sts:AssumeRole'] })
  const may = document({ Action: actions, Resource: objects.map((object) => `arn:aws:s3:::${object}`) })
  const made = await ask('iam', { Action: 'CreateRole', RoleName: name, Path: '/', AssumeRolePolicyDocument: trust })
  if (!made.ok) return undefined
  await ask('iam', { Action: 'PutRolePolicy', RoleName: name, PolicyName: 'all', PolicyDocument: may })
  const answer = await ask('sts', { Action: 'AssumeRole', RoleArn: `arn:aws:iam:::role/${name}`, RoleSessionName: 'test' })
  const text = await answer.text()
  const [accessKeyId, secretAccessKey, sessionToken] = ['AccessKeyId', 'SecretAccessKey', 'SessionToken'].map(
    (tag) => new RegExp(`<${tag}>(.*?)</${tag}>`).exec(text)?.[1],
  )
  if (!accessKeyId || !secretAccessKey || !sessionToken) return undefined
  const client = new S3Client({ ...clientConfig(server), credentials: { accessKeyId, secretAccessKey, sessionToken } })
  onTestFinished(() => client.destroy())
  return client
}

/** Asks the server's IAM or STS, by SigV4. */
function ask(service: 'iam' | 'sts', parameters: Record<string, string>): Promise<Response> {
  const body = new URLSearchParams(parameters).toString()
  const { host } = new URL(server.endpoint)
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const hashed = (text: string) => createHash('sha256').update(text).digest('hex')
  const keyed = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const scope = [stamp.slice(0, 8), 'us-east-1', service, 'aws4_request']
  const request = `POST\n/\n\nhost:${host}\nx-amz-date:${stamp}\n\nhost;x-amz-date\n${hashed(body)}`
  const key = scope.reduce<string | Buffer>(keyed, `AWS4${server.secretAccessKey}`)
  const signature = keyed(key, `AWS4-HMAC-SHA256\n${stamp}\n${scope.join('/')}\n${hashed(request)}`).toString('hex')
  return fetch(server.endpoint, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-amz-date': stamp,
      authorization: `AWS4-HMAC-SHA256 Credential=${server.accessKeyId}/${scope.join('/')}, SignedHeaders=host;x-amz-date, Signature=${signature}`,
    },
  })
}
