import { connect, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { expect, it, onTestFinished, vi } from 'vitest'
import { type GraphileOptions, graphileBackground } from '../../src/background/graphile'
import { inTime } from '../../src/testing/expect'
import { crew, graphileDatabase, letter, warnings } from '../support/graphile'

const limit = 20_000

/** A server that takes connections and says nothing, at once or when it has `fallen` silent, and who is connected. Gone when the test ends. */
async function silence(before?: string) {
  const open = new Set<Socket>()
  let talks = before !== undefined
  const server = createServer((socket) => {
    open.add(
      socket
        .on('error', () => undefined)
        .on('close', () => open.delete(socket))
        .resume(),
    )
    if (!talks) return
    const { hostname, port } = new URL(before as string)
    const upstream = connect(Number(port), hostname).on('error', () => socket.destroy())
    socket.pipe(upstream).pipe(socket)
    socket.on('close', () => upstream.destroy())
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  onTestFinished(async () => {
    for (const socket of open) socket.destroy()
    await new Promise((closed) => server.close(closed))
  })
  const { port } = server.address() as { port: number }
  const connectionString = Object.assign(new URL(before ?? 'postgres://nobody@localhost/nowhere'), { host: `127.0.0.1:${port}` }).href
  function fall() {
    talks = false
    for (const socket of open) open.delete(socket.destroy())
  }
  return { open, connectionString, fall }
}

function adapterOn(options: GraphileOptions) {
  const { enqueue, work, close } = graphileBackground(options)
  if (!work || !close) throw new Error('no workers')
  return { enqueue, work, close }
}

it.each<[string, (connectionString: string) => GraphileOptions]>([
  ['ours', (connectionString) => ({ connectionString })],
  ['given, and without a timeout', (connectionString) => ({ pool: new pg.Pool({ connectionString }) })],
])('stop() and close() do not wait for a server that says nothing, by a pool that is %s', async (_, options) => {
  warnings()
  const { open, connectionString } = await silence()
  const { work, close } = adapterOn(options(connectionString))
  const worker = await work(crew().perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  await work(crew().perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  await expect.poll(() => open.size).toBeGreaterThan(0)
  await inTime('stop() should return', worker.stop(), limit)
  await inTime('close() should return', close(), limit)
})

it('stop() does not wait for a server that has fallen silent', async () => {
  warnings()
  const queue = await graphileDatabase()
  const { open, connectionString, fall } = await silence(queue.connectionString)
  const pool = new pg.Pool({ connectionString })
  const { enqueue, work, close } = adapterOn({ pool })
  const { brought, perform } = crew()
  const worker = await work(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  const { job, sending } = letter()
  await enqueue(job, sending)
  await expect.poll(() => brought, { timeout: limit }).toHaveLength(1)
  await expect.poll(queue.jobs, { timeout: limit }).toEqual([])
  fall()
  await expect.poll(() => open.size, { timeout: limit }).toBe(2)
  await inTime('stop() should return', worker.stop(), limit)
  await inTime('close() should return', close(), limit)
}, 60_000)

it('refuses jobs while older ones have waited for two seconds, and not before', async () => {
  const { open, connectionString } = await silence()
  const { enqueue, close } = adapterOn({ connectionString })
  onTestFinished(close)
  const send = () => {
    const { job, sending } = letter()
    return enqueue(job, sending)
  }
  const first = send()
  const second = send()
  await expect.poll(() => open.size).toBe(1)
  const now = performance.now.bind(performance)
  const later = vi.spyOn(performance, 'now').mockImplementation(() => now() + 2_000)
  onTestFinished(() => later.mockRestore())
  await inTime('enqueue() should refuse', expect(send()).rejects.toThrow('does not answer'), limit)
  for (const socket of open) socket.destroy()
  await expect(first).rejects.toThrow(/terminated/)
  await expect(second).rejects.toThrow(/terminated/)
})
