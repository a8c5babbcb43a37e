import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Held } from './streams-child'

/** What so many streams take. Bytes. */
export interface StreamMemory {
  /** On the heap. */
  readonly heap: number
  readonly resident: number
  /** On the heap, when all have gone. */
  readonly left: number
}

/** What pages cost that watch a file each and hear nothing, or responses that are just open. */
export async function streamMemory(kind: 'bare' | 'watching', pages: number): Promise<StreamMemory> {
  const child = fork(join(__dirname, 'streams-child.ts'), [`${pages}`, kind], { execArgv: ['--expose-gc', '--import', 'tsx'] })
  const [{ port, tokens }] = (await once(child, 'message')) as [{ port: number; tokens: string[] }]
  const held = async (): Promise<Held> => {
    child.send('held')
    return (await once(child, 'message'))[0]
  }
  // what the first stream loads is no cost of a stream
  const first = await open(port, tokens[0] as string)
  const before = await held()
  const sockets = await Promise.all(tokens.slice(1).map((token) => open(port, token)))
  const during = await held()
  for (const socket of [first, ...sockets]) socket.destroy()
  const after = await held()
  child.disconnect()
  return { heap: during.heap - before.heap, resident: during.resident - before.resident, left: after.heap - before.heap }
}

/** A page that has heard how its file is. */
async function open(port: number, token: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /?token=${token} HTTP/1.1\r\nHost: app.test\r\nAccept: text/event-stream\r\n\r\n`)
  let heard = ''
  for await (const [piece] of onData(socket)) {
    heard += piece
    if (heard.includes('data:')) break
  }
  return socket
}

async function* onData(socket: Socket): AsyncGenerator<[string]> {
  for (;;) yield (await once(socket, 'data')) as [string]
}
