import { createHmac } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { describe, expect, inject, it } from 'vitest'
import { objectsCreated } from '../src/http/object-created'
import { bucketEvents, webhook } from './support/bucket-events'
import { newBucket } from './support/world'

/** With all that is encoded in a way of its own. */
const oddKeys = ['a b/c+d.png', 'Käse & Brot?=.jpg', '😀/💾', '100%/%41%2F.png', '#1;"x"\'<y>\\`~', ' ', '+', '%', 'é/é']

/** As S3 encodes a key: the slash stays, and a space becomes a plus. */
const encoded = (key: string) => encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/')

const photo = { bucket: 'photos', key: 'in/my photo+1.png' }

const s3Record = (eventName: string, key = encoded(photo.key), eventSource = 'aws:s3') => ({
  eventVersion: '2.5',
  eventSource,
  awsRegion: 'eu-central-1',
  eventTime: '2026-11-28T20:15:30.123Z',
  eventName,
  userIdentity: { principalId: 'AWS:AIDAEXAMPLE' },
  requestParameters: { sourceIPAddress: '192.0.2.1' },
  responseElements: { 'x-amz-request-id': 'REQUEST', 'x-amz-id-2': 'HOST' },
  s3: {
    s3SchemaVersion: '1.0',
    configurationId: 'uploads',
    bucket: { name: 'photos', ownerIdentity: { principalId: 'OWNER' }, arn: 'arn:aws:s3:::photos' },
    object: { key, size: 1024, eTag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: '0A1B2C3D4E5F678901' },
  },
})

const s3Event = (...records: object[]) => ({ Records: records.length > 0 ? records : [s3Record('ObjectCreated:Put')] })

const inEventBridge = (key = photo.key, type = 'Object Created') => ({
  version: '0',
  id: '5a1e52b2-0000-4000-8000-2f5b7e1c0d3a',
  'detail-type': type,
  source: 'aws.s3',
  account: '123456789012',
  time: '2026-11-28T20:15:30Z',
  region: 'eu-central-1',
  resources: ['arn:aws:s3:::photos'],
  detail: {
    version: '0',
    bucket: { name: 'photos' },
    object: { key, size: 1024, etag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: '0A1B2C3D4E5F678901' },
    'request-id': 'REQUEST',
    requester: '123456789012',
    'source-ip-address': '192.0.2.1',
    reason: 'PutObject',
  },
})

const inSns = (event: object, Type = 'Notification') => ({
  Type,
  MessageId: '9e4c6f1a-0000-4000-8000-000000000001',
  TopicArn: 'arn:aws:sns:eu-central-1:123456789012:uploads',
  Subject: 'Amazon S3 Notification',
  Message: JSON.stringify(event),
  Timestamp: '2026-11-28T20:15:31.000Z',
  SignatureVersion: '1',
  Signature: 'c2lnbmF0dXJl',
  SigningCertURL: 'https://sns.eu-central-1.amazonaws.com/certificate.pem',
  UnsubscribeURL: 'https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe',
})

const snsToLambda = (event: object) => ({
  Records: [{ EventVersion: '1.0', EventSource: 'aws:sns', EventSubscriptionArn: 'arn:aws:sns:…', Sns: { ...inSns(event), MessageAttributes: {} } }],
})

const received = (event: object) => ({ MessageId: 'M', ReceiptHandle: 'R', MD5OfBody: 'D', Body: JSON.stringify(event), Attributes: {} })

const sqsToLambda = (...events: object[]) => ({
  Records: events.map((event, index) => ({
    messageId: `message-${index}`,
    receiptHandle: 'AQEB',
    body: JSON.stringify(event),
    attributes: { ApproximateReceiveCount: '1', SentTimestamp: '1795896930000' },
    messageAttributes: {},
    md5OfBody: 'e4e68fb7bd0e697a0ae8f1bb342846b3',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-central-1:123456789012:uploads',
    awsRegion: 'eu-central-1',
  })),
})

const shapes: Record<string, unknown> = {
  'an S3 event': s3Event(),
  'an S3 event with the prefix that some servers give': s3Event(s3Record('s3:ObjectCreated:Put', undefined, 'minio:s3')),
  'an S3 event of Ceph, which does not encode': s3Event(s3Record('ObjectCreated:Put', photo.key, 'ceph:s3')),
  'an S3 event of a POST': s3Event(s3Record('ObjectCreated:Post')),
  'an S3 event of a copy': s3Event(s3Record('ObjectCreated:Copy')),
  'an S3 event of an upload in parts': s3Event(s3Record('ObjectCreated:CompleteMultipartUpload')),
  'a record by itself': s3Record('ObjectCreated:Put'),
  'SQS to Lambda': sqsToLambda(s3Event()),
  'SNS to SQS to Lambda': sqsToLambda(inSns(s3Event())),
  'SNS to SQS to Lambda, raw': sqsToLambda(s3Event()),
  'SQS, received': received(s3Event()),
  'SQS, a received list': [received(inSns(s3Event()))],
  'SNS to Lambda': snsToLambda(s3Event()),
  'an SNS webhook': inSns(s3Event()),
  'an SNS webhook as text': JSON.stringify(inSns(s3Event())),
  EventBridge: inEventBridge(),
  'EventBridge to SQS to Lambda': sqsToLambda(inEventBridge()),
  'EventBridge to SNS to SQS': received(inSns(inEventBridge())),
  'EventBridge to SNS to Lambda': snsToLambda(inEventBridge()),
  'the SQS messages of an EventBridge pipe': sqsToLambda(s3Event()).Records,
}

describe('objectsCreated', () => {
  it.each(Object.entries(shapes))('finds the object in %s', (_, event) => {
    const json = JSON.stringify(event)
    for (const given of [event, json, Buffer.from(json), new TextEncoder().encode(` ${json}\n`), [event]]) {
      expect(objectsCreated(given)).toEqual([photo])
    }
  })

  it('finds all objects of all records, and passes over what is none', () => {
    const record = (key: string) => s3Event(s3Record('ObjectCreated:Put', key))
    const event = sqsToLambda(record('1'), { Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'photos' }, inSns(record('2')), inEventBridge('3'))
    const keys = objectsCreated([
      event,
      s3Event(s3Record('ObjectCreated:Put', '4'), s3Record('ObjectRemoved:Delete', '5'), s3Record('ObjectCreated:Post', '6')),
    ])
    expect(keys.map(({ key }) => key).sort()).toEqual(['1', '2', '3', '4', '6'])
  })

  it.each(oddKeys)('gives the key %j as it is', (key) => {
    expect(objectsCreated(s3Event(s3Record('ObjectCreated:Put', encoded(key))))).toEqual([{ bucket: 'photos', key }])
    expect(objectsCreated(s3Event(s3Record('s3:ObjectCreated:Put', encodeURIComponent(key), 'minio:s3')))).toEqual([{ bucket: 'photos', key }])
    expect(objectsCreated(s3Event(s3Record('ObjectCreated:Put', key, 'ceph:s3')))).toEqual([{ bucket: 'photos', key }])
    expect(objectsCreated(inEventBridge(key))).toEqual([{ bucket: 'photos', key }])
  })

  it.each([
    ['a removal', s3Event(s3Record('ObjectRemoved:Delete'))],
    ['a removal of a version', s3Event(s3Record('s3:ObjectRemoved:DeleteMarkerCreated'))],
    ['a restoration', s3Event(s3Record('ObjectRestore:Completed'))],
    ['a removal by EventBridge', inEventBridge(undefined, 'Object Deleted')],
    [
      'the test event',
      { Service: 'Amazon S3', Event: 's3:TestEvent', Time: '2026-11-28T20:15:30.123Z', Bucket: 'photos', RequestId: 'R', HostId: 'H' },
    ],
    ['the test event by SQS', sqsToLambda({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'photos' })],
    ['a subscription to confirm', inSns(s3Event(), 'SubscriptionConfirmation')],
    ['the end of a subscription', inSns(s3Event(), 'UnsubscribeConfirmation')],
    ['a record without a key', s3Event({ ...s3Record('ObjectCreated:Put'), s3: { bucket: { name: 'photos' } } })],
    ['a key that is no text', s3Event(s3Record('ObjectCreated:Put', 1 as unknown as string))],
    ['a job of ours', { kind: 'process', entity: 'User', attachment: 'avatar' }],
    ['nothing', undefined],
    ['half a text', JSON.stringify(s3Event()).slice(0, -2)],
  ])('finds nothing in %s', (_, event) => {
    expect(objectsCreated(event)).toEqual([])
    expect(objectsCreated(JSON.stringify(event))).toEqual([])
  })

  it('takes a key that cannot be decoded as it is', () => {
    expect(objectsCreated(s3Event(s3Record('ObjectCreated:Put', '100%+%FF')))).toEqual([{ bucket: 'photos', key: '100%+%FF' }])
  })

  it('neither throws nor makes up names, whatever it is given', () => {
    const known = ['Records', 'body', 'Body', 'Sns', 'Message', 'Type', 'eventName', 's3', 'bucket', 'object', 'key', 'name', 'detail', 'detail-type']
    const telling = ['Notification', 'ObjectCreated:Put', 'Object Created', 'x', '%', '{"Records":[{}]}']
    const { nearly } = fc.letrec((again) => ({
      nearly: fc.oneof(
        { maxDepth: 8 },
        fc.constantFrom(...telling),
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSparseArray: true, withTypedArray: true }),
        fc.array(again('nearly')),
        fc.dictionary(fc.constantFrom(...known), again('nearly')),
        fc.json(),
      ),
    }))
    const isObject = ({ bucket, key }: { bucket: unknown; key: unknown }) => typeof bucket === 'string' && typeof key === 'string'
    fc.assert(
      fc.property(nearly, (event) => {
        expect(objectsCreated(event).every(isObject)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is not led astray by depth, circles, width and traps', () => {
    const many = 100_000
    const deep = '['.repeat(many) + JSON.stringify(s3Event()) + ']'.repeat(many)
    expect(objectsCreated(deep)).toEqual([photo])
    expect(objectsCreated(new Array(2 ** 32 - 1))).toEqual([])
    expect(objectsCreated(Array.from({ length: 20_000 }, (_, index) => `{${index}`))).toEqual([])

    const circle: unknown[] = [s3Event()]
    circle.push(circle, { Records: circle })
    expect(objectsCreated(circle)).toEqual([photo])

    // each names the next ten times: a walk would take 10 to the power of 30 steps
    let bomb: unknown = s3Event()
    for (let level = 0; level < 30; level += 1) bomb = new Array(10).fill(bomb)
    expect(objectsCreated(bomb)).toEqual([photo])

    const trap = new Proxy([], { get: () => undefined, ownKeys: () => raise() })
    const getter = Object.defineProperty({}, 'Records', { get: raise })
    expect(objectsCreated([trap, getter, { eventName: { toString: raise } }, s3Event()])).toEqual([photo])
  })
})

function raise(): never {
  throw new Error('a trap')
}

describe.skipIf(!inject('s3').sendsEvents)('events of the gateway', () => {
  /** A bucket that posts what is created below `in/`, and what it has posted so far. */
  async function setUp() {
    const { client, bucket } = await newBucket()
    const { url, bodies } = await webhook()
    await bucketEvents({ bucket, url, filter: { prefix: 'in/', suffix: '/original' } })
    return { client, bucket, bodies }
  }

  it('name what was put, posted, copied and uploaded in parts, under odd keys too', async () => {
    const { client, bucket, bodies } = await setUp()
    const keys = oddKeys.map((key) => `in/${key}/original`)
    for (const Key of keys) await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'put' }))
    // whoever writes waits for the answer to the event
    expect(bodies.flatMap(objectsCreated)).toEqual(keys.map((key) => ({ bucket, key })))

    const upload = { Bucket: bucket, Key: 'in/ü + %2B/original' }
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(upload))
    const { ETag } = await client.send(new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: 'part' }))
    expect(bodies).toHaveLength(keys.length)
    await client.send(new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }))
    await client.send(
      new CopyObjectCommand({ Bucket: bucket, Key: 'in/copy/original', CopySource: `${bucket}/in/${encodeURIComponent('+')}/original` }),
    )
    await post(bucket, 'in/posted +/original')
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'in/elsewhere', Body: 'no event' }))
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'out/original', Body: 'no event' }))
    const later = bodies.slice(keys.length)
    expect(later.flatMap(objectsCreated)).toEqual([upload.Key, 'in/copy/original', 'in/posted +/original'].map((key) => ({ bucket, key })))
    expect(later.map((body) => JSON.parse(body).Records[0].eventName)).toEqual([
      'ObjectCreated:CompleteMultipartUpload',
      'ObjectCreated:Copy',
      'ObjectCreated:Post',
    ])
  })
})

/** As a form of a page posts a file. */
async function post(bucket: string, key: string): Promise<void> {
  const { endpoint, accessKeyId, secretAccessKey } = inject('s3')
  const conditions = { expiration: new Date(Date.now() + 60_000).toISOString(), conditions: [{ bucket }, { key }] }
  const policy = Buffer.from(JSON.stringify(conditions)).toString('base64')
  const signature = createHmac('sha1', secretAccessKey).update(policy).digest('base64')
  const form = new FormData()
  for (const [name, value] of Object.entries({ key, policy, signature, AWSAccessKeyId: accessKeyId })) form.set(name, value)
  form.set('file', new Blob(['posted']), 'posted.txt')
  const answer = await fetch(`${endpoint}/${bucket}`, { method: 'POST', body: form })
  expect([answer.status, await answer.text()]).toEqual([204, ''])
}
