import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Transform } from 'node:stream'

/**
 * What goes wrong with one request. `lost`: the server does what was asked, and its answer never arrives. `damaged`: one
 * bit of the request's body is flipped. `cut` and `stalled`: half an answer arrives, and then an end or nothing.
 */
export type Fault = 'unavailable' | 'reset' | 'hang' | 'lost' | 'damaged' | 'cut' | 'stalled'

/** The S3 operation that a request asks for, and how many of its kind have come, itself included. */
export type Rule = (operation: string, count: number) => Fault | undefined

export interface FaultProxy {
  readonly url: string
  /** The operations that were asked for, in their order. */
  readonly operations: readonly string[]
  stop(): Promise<void>
}

/** Stands before an S3 server and lets requests fail by a rule. Host and path pass as they are, so signatures stay valid. */
export async function startFaultProxy(target: string, rule: Rule): Promise<FaultProxy> {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true })
  const operations: string[] = []

  function handle(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const operation = operationOf(incoming)
    operations.push(operation)
    const fault = rule(operation, operations.filter((other) => other === operation).length)
    if (fault === 'reset') incoming.socket.resetAndDestroy()
    else if (fault === 'unavailable') refuse(incoming, outgoing)
    else if (fault !== 'hang') forward(incoming, outgoing, fault)
  }

  function forward(incoming: IncomingMessage, outgoing: ServerResponse, fault: Fault | undefined): void {
    if (incoming.headers.expect) outgoing.writeContinue()
    const headers = withoutHops(incoming.rawHeaders)
    const sent = request({ hostname, port, method: incoming.method, path: incoming.url, headers, agent, setHost: false }, (answer) => {
      if (fault === 'lost') return void answer.resume().once('end', () => incoming.socket.resetAndDestroy())
      outgoing.writeHead(answer.statusCode as number, withoutHops(answer.rawHeaders))
      answer.once('error', () => outgoing.destroy())
      if (fault !== 'cut' && fault !== 'stalled') return void answer.pipe(outgoing)
      const end = () => fault === 'cut' && outgoing.destroy()
      answer.once('end', end).once('data', (chunk) => outgoing.write(chunk.subarray(0, chunk.length >> 1), end))
    })
    sent.once('error', () => outgoing.destroy())
    incoming.once('close', () => incoming.complete || sent.destroy())
    if (fault === 'damaged') incoming.pipe(flippingOneBit()).pipe(sent)
    else incoming.pipe(sent)
  }

  const server = createServer(handle).on('checkContinue', handle)
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    operations,
    stop: async () => {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
}

function operationOf({ method, url = '' }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, 'http://s3')
  if (pathname.split('/').length < 3 || pathname.endsWith('/')) return searchParams.has('delete') ? 'DeleteObjects' : `${method} bucket`
  if (method === 'POST') return searchParams.has('uploads') ? 'CreateMultipartUpload' : 'CompleteMultipartUpload'
  if (searchParams.has('uploadId')) return method === 'DELETE' ? 'AbortMultipartUpload' : 'UploadPart'
  return { GET: 'GetObject', HEAD: 'HeadObject', PUT: 'PutObject' }[method as string] ?? `${method} object`
}

function refuse(incoming: IncomingMessage, outgoing: ServerResponse): void {
  outgoing.writeHead(503, { 'content-type': 'application/xml', connection: 'close' })
  outgoing.end('<Error><Code>ServiceUnavailable</Code><Message>come again later</Message></Error>')
  incoming.resume()
}

/** Headers that belong to one connection, and must not be passed on to the next. */
const hops = new Set(['connection', 'keep-alive', 'transfer-encoding', 'expect'])

function withoutHops(raw: readonly string[]): string[] {
  return raw.filter((_, at) => !hops.has((raw[at - (at % 2)] as string).toLowerCase()))
}

function flippingOneBit(): Transform {
  let flipped = false
  return new Transform({
    transform(chunk: Buffer, _, done) {
      const middle = chunk.length >> 1
      if (!flipped) chunk.writeUInt8(chunk.readUInt8(middle) ^ 1, middle)
      flipped = true
      done(null, chunk)
    },
  })
}
