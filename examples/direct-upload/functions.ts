import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

// functions.ts MODULE: what a cloud that runs functions does, on this machine. Each event that is posted here starts a process
// that calls the `handler` of the module with it. Whoever posts it waits for the end, and so knows whether to send it again.

const [module = ''] = process.argv.slice(2)
/** So many run at a time. */
let free = Number(process.env['FUNCTIONS_AT_ONCE'] ?? 2)
const waiting: Array<() => void> = []
/** A function that takes longer is killed. Milliseconds. */
const longest = 60_000

async function statusFor(request: IncomingMessage): Promise<number> {
  if (request.method !== 'POST') return 405
  const event = await text(request)
  if (free > 0) free -= 1
  else await new Promise<void>((turn) => waiting.push(turn))
  try {
    return (await run(event)) === 0 ? 200 : 500
  } finally {
    const next = waiting.shift()
    if (next) next()
    else free += 1
  }
}

/** Resolves to the exit code; null if it was killed. */
async function run(event: string): Promise<number | null> {
  const args = [...process.execArgv, join(__dirname, 'invoke.ts'), module]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'inherit', 'inherit'], timeout: longest, killSignal: 'SIGKILL' })
  // one that ended before it read its event has said so by its exit code
  child.stdin.on('error', () => undefined).end(event)
  const [code] = await once(child, 'exit')
  return code
}

const server = createServer(async (request, response) => {
  const status = await statusFor(request).catch((error) => {
    console.error(error)
    return 500
  })
  response.writeHead(status, { connection: 'close' }).end()
})

server.listen(Number(process.env['FUNCTIONS_PORT'] ?? 0), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  console.log(`functions on port ${port}`)
})
// those that run come to their end
process.once('SIGTERM', () => server.close())
