import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { inject, onTestFinished } from 'vitest'
import { type BucketEvents, sendBucketEvents } from '../../examples/services/bucket-events'

export interface Webhook {
  readonly url: string
  /** What was posted. */
  readonly bodies: string[]
}

/** A webhook that answers with the status it is told, for the body it got. Gone when the test ends. */
export async function webhook(answer: (body: string) => number | Promise<number> = () => 200): Promise<Webhook> {
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    const body = await text(request)
    bodies.push(body)
    response.writeHead(await answer(body)).end()
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`, bodies }
}

/** Has the tests' gateway post what is created in a bucket, until the test ends. A bucket sends to one place at a time. */
export async function bucketEvents(events: Omit<BucketEvents, 'server' | 'persistent'> & { persistent?: boolean }): Promise<void> {
  onTestFinished(await sendBucketEvents({ server: inject('s3'), persistent: false, ...events }))
}
