import { fork } from 'node:child_process'
import { startFaultProxy } from '../support/fault-proxy'

/** A server as if it were far away: every request is held up for so many milliseconds. In a process of its own. */
export async function atDistance(endpoint: string, milliseconds: number): Promise<{ endpoint: string; stop(): Promise<void> }> {
  const child = fork(__filename, [endpoint, String(milliseconds)], { execArgv: ['--import', 'tsx'] })
  const url = await new Promise<string>((resolve, reject) => {
    child.once('message', (message) => resolve(String(message)))
    child.once('exit', (code) => reject(new Error(`the proxy ended with ${code}`)))
  })
  return {
    endpoint: url,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.disconnect()
      }),
  }
}

if (require.main === module) {
  const [endpoint = '', milliseconds] = process.argv.slice(2)
  startFaultProxy(endpoint, () => Number(milliseconds)).then((proxy) => {
    // it ends with whoever started it
    process.once('disconnect', () => process.exit())
    process.send?.(proxy.url)
  })
}
