/** An object that was written, as an event tells it. */
export interface CreatedObject {
  readonly bucket: string
  /** The key in the bucket, decoded. */
  readonly key: string
}

/**
 * The objects that an event says were created, from whatever brings it. It may be the event itself, or its JSON as a string or
 * Buffer, or an array of events. Known are:
 *
 * - an S3 event, as Lambda is given it and as queues and topics carry it (Amazon S3 User Guide, "Event message structure"), also
 *   of Ceph (Ceph documentation, "Bucket Notifications") and MinIO;
 * - one in an SQS message, as Lambda is given it (AWS Lambda Developer Guide, "Using Lambda with Amazon SQS"), or as it was
 *   received (Amazon SQS API Reference, "Message");
 * - one in an SNS message, as Lambda is given it (AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS
 *   notifications"), as a webhook is sent it (Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format"), or in SQS;
 * - what EventBridge sends (Amazon S3 User Guide, "EventBridge event message structure"), also through SQS or SNS.
 *
 * Anything else gives nothing: other events, the `s3:TestEvent`, what SNS asks a subscriber to confirm, nonsense. Never throws.
 */
export function objectsCreated(event: unknown): CreatedObject[] {
  const created: CreatedObject[] = []
  // a list that grows, with every value in it once: neither depth nor circles can harm
  const values = new Set([event])
  for (const value of values) {
    try {
      const object = createdBy(value)
      if (object) created.push(object)
      else for (const inner of within(value)) values.add(inner)
    } catch {
      // what cannot be read says nothing
    }
  }
  return created
}

/** What a value wraps. */
function within(value: unknown): unknown[] {
  if (typeof value === 'string') return /^\s*["{[]/.test(value) ? [JSON.parse(value)] : []
  if (ArrayBuffer.isView(value)) return [new TextDecoder().decode(value as Uint8Array<ArrayBuffer>)]
  // only what is there: an array may be long and hold nothing
  if (Array.isArray(value)) return Object.values(value)
  const { Records, body, Body, Sns, Type, Message } = Object(value)
  return [Records, body, Body, Sns, Type === 'Notification' && Message]
}

/** What one record says, if it is one and says that. */
function createdBy(value: unknown): CreatedObject | undefined {
  const { eventName, eventSource, s3, 'detail-type': type, detail } = Object(value)
  if (type === 'Object Created') return named(detail)
  if (typeof eventName !== 'string' || !/^(s3:)?ObjectCreated:/.test(eventName)) return undefined
  // Ceph says the key as it is
  return eventSource === 'ceph:s3' ? named(s3) : named(s3, decoded)
}

function named(said: unknown, keyOf = (key: string) => key): CreatedObject | undefined {
  const { bucket, object } = Object(said)
  const [name, key] = [bucket?.name, object?.key]
  return typeof name === 'string' && typeof key === 'string' ? { bucket: name, key: keyOf(key) } : undefined
}

/** A key is encoded like a field of a form. One that cannot be decoded was not. */
function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '))
  } catch {
    return key
  }
}
