import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Line {
  readonly port: number
  /** Connections that it has taken. */
  readonly taken: number
  /** Ends all connections, and takes no more. */
  cut(): Promise<void>
  mend(): Promise<void>
  /** From now on nothing comes through, and nobody is told: as when a machine has lost its network. */
  silence(): void
}

/** A line to a server, which can be cut. Gone when the test ends. */
export async function line(host: string, port: number): Promise<Line> {
  const open = new Set<Socket>()
  let silent = false
  let taken = 0
  const server = createServer({ allowHalfOpen: true }, (client) => {
    taken += 1
    const upstream = connect({ port, host, allowHalfOpen: true })
    const end = () => {
      for (const socket of [client, upstream]) open.delete(socket.destroy())
    }
    for (const socket of [client, upstream]) open.add(socket.on('error', end).on('close', end))
    const relay = (from: Socket, to: Socket) => {
      from.on('data', (data) => silent || to.write(data)).on('end', () => silent || to.end())
    }
    relay(client, upstream)
    relay(upstream, client)
  })
  const listen = (at: number) => new Promise<void>((listening) => server.listen(at, '127.0.0.1', listening))
  await listen(0)
  const one: Line = {
    port: (server.address() as { port: number }).port,
    get taken() {
      return taken
    },
    async cut() {
      const closed = new Promise((done) => server.close(done))
      for (const socket of open) socket.destroy()
      await closed
    },
    mend: () => listen(one.port),
    silence() {
      silent = true
    },
  }
  onTestFinished(() => one.cut())
  return one
}
