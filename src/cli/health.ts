import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { DataSource } from 'typeorm'
import { Ended, lineOf, mayHelp } from './ended'

export type Status = 'starting' | 'working' | 'draining' | 'database does not answer'

/** How long a database may take to answer. Milliseconds. */
const patience = 2_000
/** For how long others wait for the same answer. Milliseconds. */
const longest = 30_000

/**
 * Answers `GET /live` with 200 as long as this process does anything at all, and `GET /ready` with `{"status":"…"}`: 200 while it
 * works, else 503. Resolves to the port, which the system chooses for 0. Throws `Ended`.
 */
export async function serveHealth(port: number, status: () => Promise<Status>): Promise<number> {
  const server = createServer(async ({ url }, response) => {
    const answer = (code: number, status: string) => response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify({ status }))
    if (url === '/live') return answer(200, 'live')
    if (url !== '/ready') return answer(404, 'there are /live and /ready')
    const now = await status()
    return answer(now === 'working' ? 200 : 503, now)
  })
  await new Promise<Server>((resolve, reject) => server.once('error', reject).listen(port, () => resolve(server))).catch((error) => {
    throw new Ended(`port ${port} cannot be used for health checks: ${lineOf(error)}`, mayHelp)
  })
  return (server.address() as AddressInfo).port
}

/** Asks a database whether it answers in time. Who asks while a question is under way hears its answer: all take one connection. */
export function asking(dataSource: DataSource): () => Promise<boolean> {
  let asked: { readonly answer: Promise<boolean>; readonly since: number } | undefined

  function ask() {
    const answer = dataSource.query('SELECT 1').then(
      () => true,
      () => false,
    )
    const one = { answer, since: performance.now() }
    answer.then(() => {
      if (asked === one) asked = undefined
    })
    return one
  }

  return () => {
    // a line that was cut may be silent for long, and another may be there by now
    if (!asked || performance.now() - asked.since > longest) asked = ask()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(resolve, patience, false)
    })
    return Promise.race([asked.answer, late]).finally(() => clearTimeout(timer))
  }
}
