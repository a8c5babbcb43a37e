import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Line {
  readonly port: number
  /** Ends all connections, and takes no more. */
  cut(): Promise<void>
  mend(): Promise<void>
}

/** A line to a server, which can be cut. Gone when the test ends. */
export async function line(host: string, port: number): Promise<Line> {
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(port, host)
    const end = () => {
      for (const socket of [client, upstream]) open.delete(socket.destroy())
    }
    for (const socket of [client, upstream]) open.add(socket.on('error', end).on('close', end))
    client.on('data', (data) => upstream.write(data))
    upstream.on('data', (data) => client.write(data))
  })
  const listen = (at: number) => new Promise<void>((listening) => server.listen(at, '127.0.0.1', listening))
  await listen(0)
  const one: Line = {
    port: (server.address() as { port: number }).port,
    async cut() {
      const closed = new Promise((done) => server.close(done))
      for (const socket of open) socket.destroy()
      await closed
    },
    mend: () => listen(one.port),
  }
  onTestFinished(() => one.cut())
  return one
}
