import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Held } from './streams-child'

// npm run memory:streams: what a thousand pages cost that watch a file and hear nothing, beside a thousand responses that are just open

const pages = 1_000

async function measured(kind: 'bare' | 'watching'): Promise<void> {
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
  const with1000 = await held()
  for (const socket of [first, ...sockets]) socket.destroy()
  const after = await held()
  const each = (field: keyof Held) => `${((with1000[field] - before[field]) / 1024 / (pages - 1)).toFixed(1)} KiB`
  const left = ((after.heap - before.heap) / 2 ** 20).toFixed(1)
  console.log(`${kind}: each stream ${each('heap')} on the heap, ${each('resident')} resident; ${left} MiB on the heap are left when all have gone`)
  child.disconnect()
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

async function main(): Promise<void> {
  await measured('bare')
  await measured('watching')
}

main()
