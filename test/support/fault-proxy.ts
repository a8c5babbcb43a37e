import { Agent, type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Transform } from 'node:stream'

/**
 * What goes wrong with one request. `unavailable` and `slow-down`: 503. `denied`: 403. `unmet`: 412, as if a condition
 * did not hold. `unable`: 501. `failed-late`: 200 at first,
 * and then an error in the body, as S3 answers copies. `reset`: the connection ends before anything is
 * done; `halved`: when half of the request's body has reached the server. `lost`: the server does what was asked, and its
 * answer never arrives. `damaged`: one bit of the request's body is flipped. `cut` and `stalled`: half an answer arrives,
 * and then an end or nothing. `hang`: no answer ever. `late` and `slow`: all goes well, after a while or bit by bit.
 */
export type Fault =
  | 'unavailable'
  | 'slow-down'
  | 'denied'
  | 'unmet'
  | 'unable'
  | 'failed-late'
  | 'reset'
  | 'halved'
  | 'lost'
  | 'damaged'
  | 'cut'
  | 'stalled'
  | 'hang'
  | 'late'
  | 'slow'

/**
 * The S3 operation that a request asks for, how many of its kind have come, itself included, and whether it has a body. A
 * number is how many milliseconds it is held up; a function is called when half of the body has reached the server, and then
 * nothing follows.
 */
export type Rule = (operation: string, count: number, hasBody: boolean) => Fault | number | (() => void) | undefined

export interface FaultProxy {
  readonly url: string
  /** The operations that were asked for, in their order. */
  readonly operations: readonly string[]
  /** Resolves when nobody is connected and the server has nothing under way. */
  settled(): Promise<void>
  stop(): Promise<void>
}

/** How long a `late` answer takes, and a piece of a `slow` one. Milliseconds. */
const latency = 100
const pieceTime = 5
/** What passes at a time where it is `slow`. Bytes. */
const pieceSize = 4096

/** Stands before an S3 server and lets requests fail by a rule. Host and path pass as they are, so signatures stay valid. */
export async function startFaultProxy(target: string, rule: Rule): Promise<FaultProxy> {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true })
  const operations: string[] = []
  const counts = new Map<string, number>()
  const connected = new Set<Socket>()
  const underWay = new Set<ClientRequest>()
  const waiting: Array<() => void> = []

  function handle(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const operation = operationOf(incoming)
    const count = (counts.get(operation) ?? 0) + 1
    operations.push(operation)
    counts.set(operation, count)
    const fault = rule(operation, count, bodySize(incoming) > 0)
    if (fault === 'reset') incoming.socket.resetAndDestroy()
    else if (typeof fault === 'string' && fault in refusals) refuse(incoming, outgoing, ...(refusals[fault] as [number, string]))
    else if (fault === 'late') setTimeout(forward, latency, incoming, outgoing)
    else if (typeof fault === 'number') setTimeout(forward, fault, incoming, outgoing)
    else if (fault !== 'hang') forward(incoming, outgoing, fault)
  }

  function forward(incoming: IncomingMessage, outgoing: ServerResponse, fault?: Fault | (() => void)): void {
    if (incoming.headers.expect) outgoing.writeContinue()
    const headers = withoutHops(incoming.rawHeaders)
    const sent = request({ hostname, port, method: incoming.method, path: incoming.url, headers, agent, setHost: false }, (answer) => {
      if (fault === 'lost') return void answer.resume().once('end', () => incoming.socket.resetAndDestroy())
      outgoing.writeHead(answer.statusCode as number, withoutHops(answer.rawHeaders))
      answer.once('error', () => outgoing.destroy())
      if (fault === 'slow') return void answer.pipe(inPieces()).pipe(outgoing)
      if (fault !== 'cut' && fault !== 'stalled') return void answer.pipe(outgoing)
      const end = () => fault === 'cut' && outgoing.destroy()
      answer.once('end', end).once('data', (chunk) => outgoing.write(chunk.subarray(0, chunk.length >> 1), end))
    })
    underWay.add(sent)
    sent.once('close', () => {
      underWay.delete(sent)
      tellIfSettled()
    })
    sent.once('error', () => outgoing.destroy())
    incoming.once('close', () => incoming.complete || sent.destroy())
    if (fault === 'halved') sendHalf(incoming, sent, () => incoming.socket.resetAndDestroy())
    else if (typeof fault === 'function') sendHalf(incoming, sent, fault)
    else if (fault === 'damaged') incoming.pipe(flippingOneBit()).pipe(sent)
    else if (fault === 'slow') incoming.pipe(inPieces()).pipe(sent)
    else incoming.pipe(sent)
  }

  function tellIfSettled(): void {
    if (connected.size + underWay.size > 0) return
    for (const tell of waiting.splice(0)) tell()
  }

  const server = createServer(handle).on('checkContinue', handle)
  server.on('connection', (socket) => {
    connected.add(socket)
    socket.once('close', () => {
      connected.delete(socket)
      tellIfSettled()
    })
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    operations,
    settled: () =>
      new Promise((resolve) => {
        waiting.push(resolve)
        tellIfSettled()
      }),
    stop: async () => {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
}

function operationOf({ method, url = '', headers }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, 'http://s3')
  if (searchParams.has('list-type')) return 'ListObjectsV2'
  if (pathname.split('/').length < 3 || pathname.endsWith('/')) return searchParams.has('delete') ? 'DeleteObjects' : `${method} bucket`
  if (method === 'POST') return searchParams.has('uploads') ? 'CreateMultipartUpload' : 'CompleteMultipartUpload'
  if (headers['x-amz-copy-source']) return searchParams.has('uploadId') ? 'UploadPartCopy' : 'CopyObject'
  if (searchParams.has('uploadId')) return method === 'DELETE' ? 'AbortMultipartUpload' : 'UploadPart'
  return { GET: 'GetObject', HEAD: 'HeadObject', PUT: 'PutObject' }[method as string] ?? `${method} object`
}

function bodySize({ headers }: IncomingMessage): number {
  return Number(headers['content-length'] ?? 0)
}

/** Status and code of what is answered without asking the server. */
const refusals: Partial<Record<Fault, readonly [status: number, code: string]>> = {
  unavailable: [503, 'ServiceUnavailable'],
  'slow-down': [503, 'SlowDown'],
  denied: [403, 'AccessDenied'],
  unmet: [412, 'PreconditionFailed'],
  unable: [501, 'NotImplemented'],
  'failed-late': [200, 'InternalError'],
}

function refuse(incoming: IncomingMessage, outgoing: ServerResponse, status: number, code: string): void {
  outgoing.writeHead(status, { 'content-type': 'application/xml', connection: 'close' })
  outgoing.end(`<Error><Code>${code}</Code><Message>come again later</Message></Error>`)
  incoming.resume()
}

/** Sends the first half of the body, and when it is on its way breaks the connection to the server off. */
function sendHalf(incoming: IncomingMessage, sent: ClientRequest, then: () => void): void {
  let left = bodySize(incoming) >> 1
  sent.flushHeaders()
  if (left === 0) then()
  incoming.on('data', (chunk: Buffer) => {
    if (left <= 0) return
    const piece = chunk.subarray(0, left)
    left -= piece.length
    sent.write(piece, () => {
      if (left > 0) return
      then()
      sent.destroy()
    })
  })
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

function inPieces(): Transform {
  return new Transform({
    async transform(chunk: Buffer, _, done) {
      for (let at = 0; at < chunk.length; at += pieceSize) {
        await new Promise((resolve) => setTimeout(resolve, pieceTime))
        this.push(chunk.subarray(at, at + pieceSize))
      }
      done()
    },
  })
}
