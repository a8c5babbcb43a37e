import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, launch, unprivileged } from './throw-away'

export interface Redis {
  readonly url: string
  stop(): Promise<void>
}

/** Whether the program of a Redis server is installed. */
export function redisInstalled(): boolean {
  return spawnSync('/bin/sh', ['-c', 'command -v redis-server']).status === 0
}

/** A throw-away Redis that keeps everything in memory. It ends with this process, however that ends. */
export async function startRedis(): Promise<Redis> {
  // anybody on the machine reaches the port, and can make the server write files: not as root
  const account = unprivileged('redis')
  const folder = mkdtempSync(join(tmpdir(), 'attachments-redis-'))
  if (account.uid !== undefined) chownSync(folder, account.uid, account.gid as number)
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const port = await freePort()
  const script = 'redis-server --port $1 --bind 127.0.0.1 --save "" --appendonly no --dir "$TMPDIR" >&2'
  const server = {
    name: 'redis-server',
    script,
    args: [String(port)],
    folder,
    account,
    ready: 'Ready to accept connections',
    signal: 'TERM' as const,
  }
  const stop = await launch(server).catch((error) => {
    remove()
    throw error
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      await stop()
      remove()
    },
  }
}
