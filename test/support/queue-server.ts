import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SQSClientConfig } from '@aws-sdk/client-sqs'
import { type FauxqsServer, startFauxqs } from 'fauxqs'

/** A request as SQS gets it. */
export interface Asked {
  readonly action: string
  readonly body: Record<string, unknown>
}

export interface QueueServer {
  readonly config: SQSClientConfig
  readonly queues: FauxqsServer
  /** What was asked, in its order. */
  readonly asked: readonly Asked[]
  /** What goes wrong with a request: no answer ever, no connection, or the name of an error. */
  rule: (asked: Asked) => 'hang' | 'reset' | string | undefined
  /** Nobody listens any more, until it is up again. */
  down(): Promise<void>
  up(): Promise<void>
  stop(): Promise<void>
}

/** How often somebody who waits for messages is looked after. Milliseconds. */
const look = 10

/**
 * An SQS server. fauxqs gives messages to whoever was waiting, also when he has hung up, and then nobody has them for as long as
 * a lease lasts; here he waits before it, as long as he is there.
 *
 * @param haste leases last so many times shorter than was asked for
 */
export async function startQueueServer({ haste = 1 }: { haste?: number } = {}): Promise<QueueServer> {
  const queues = await startFauxqs({ port: 0, logger: false })
  const asked: Asked[] = []

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const one = { action: String(incoming.headers['x-amz-target']).replace('AmazonSQS.', ''), body: JSON.parse(await text(incoming)) }
    asked.push(one)
    const fault = server.rule(one)
    if (fault === 'hang') return
    if (fault === 'reset') return void incoming.socket.destroy()
    if (fault) return answer(outgoing, 400, JSON.stringify({ __type: `com.amazonaws.sqs#${fault}`, message: 'as the test wants it' }))
    const { WaitTimeSeconds = 0, ...body } = one.body
    if (body.VisibilityTimeout !== undefined) body.VisibilityTimeout = Math.ceil(Number(body.VisibilityTimeout) / haste)
    const until = Date.now() + Number(WaitTimeSeconds) * 1000
    for (;;) {
      const { status, said } = await forward(incoming, body)
      if (one.action !== 'ReceiveMessage' || status !== 200 || said.includes('ReceiptHandle') || Date.now() >= until)
        return answer(outgoing, status, said)
      await sleep(look)
      if (outgoing.destroyed) return
    }
  }

  function forward({ headers }: IncomingMessage, body: object): Promise<{ status: number; said: string }> {
    const said = JSON.stringify({ ...body, ...('MaxNumberOfMessages' in body && { WaitTimeSeconds: 0 }) })
    return new Promise((resolve, reject) => {
      const passed = { ...headers, 'content-length': Buffer.byteLength(said) }
      const sent = request({ host: '127.0.0.1', port: queues.port, method: 'POST', path: '/', headers: passed }, async (answered) => {
        resolve({ status: answered.statusCode as number, said: await text(answered) })
      })
      sent.once('error', reject).end(said)
    })
  }

  function answer(outgoing: ServerResponse, status: number, said: string): void {
    outgoing.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(said)
  }

  const front = createServer((incoming, outgoing) => void handle(incoming, outgoing).catch(() => outgoing.destroy()))
  const listen = (port: number) => new Promise<void>((ready) => front.listen(port, '127.0.0.1', ready))
  await listen(0)
  const { port } = front.address() as AddressInfo
  const server: QueueServer = {
    config: { endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } },
    queues,
    asked,
    rule: () => undefined,
    async down() {
      const closed = new Promise((resolve) => front.close(resolve))
      front.closeAllConnections()
      await closed
    },
    up: () => listen(port),
    async stop() {
      if (front.listening) await server.down()
      await queues.stop()
    },
  }
  return server
}
