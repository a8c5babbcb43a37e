import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Where a connection is cut: before the server has a statement, or after, when only its answer is lost. */
export type Cut = 'before' | 'after'

export interface CutProxy {
  readonly port: number
  /** Cuts the next connection whose client says this. */
  cut(when: Cut, word: string): void
  /** Whether that happened. */
  readonly happened: boolean
}

/** Stands between a client and a database, and cuts a connection when it is told to. Gone when the test ends. */
export async function cutProxy(host: string, port: number): Promise<CutProxy> {
  const open = new Set<Socket>()
  let plan: { when: Cut; word: string } | undefined
  let happened = false
  const server = createServer((client) => {
    const upstream = connect(port, host)
    let muted = false
    const end = () => {
      for (const socket of [client, upstream]) open.delete(socket.destroy())
    }
    for (const socket of [client, upstream]) open.add(socket.on('error', end).on('close', end))
    client.on('data', (data) => {
      const due = plan && data.includes(plan.word) ? plan.when : undefined
      if (due) {
        plan = undefined
        happened = true
      }
      if (due === 'before') return end()
      muted ||= due === 'after'
      upstream.write(data)
    })
    upstream.on('data', (data) => (muted ? end() : client.write(data)))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  onTestFinished(async () => {
    for (const socket of open) socket.destroy()
    await new Promise((closed) => server.close(closed))
  })
  return {
    port: (server.address() as { port: number }).port,
    cut(when, word) {
      plan = { when, word }
      happened = false
    },
    get happened() {
      return happened
    },
  }
}
