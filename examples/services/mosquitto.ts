import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, launch, unprivileged } from './throw-away'

export interface Mosquitto {
  readonly url: string
  /** For browsers. */
  readonly webSocketUrl: string
  stop(): Promise<void>
}

/** Where Debian puts it, which is on the PATH of root alone. */
const path = `PATH="$PATH:/usr/sbin"`

/** Whether the program of an MQTT broker is installed. */
export function mosquittoInstalled(): boolean {
  return spawnSync('/bin/sh', ['-c', `${path}; command -v mosquitto`]).status === 0
}

/**
 * A throw-away MQTT broker that keeps nothing. It ends with this process, however that ends. Where a port is taken before the broker has
 * it, others are tried.
 */
export async function startMosquitto(tries = 3): Promise<Mosquitto> {
  return start().catch((error) => {
    if (tries <= 1) throw error
    return startMosquitto(tries - 1)
  })
}

async function start(): Promise<Mosquitto> {
  const account = unprivileged('mosquitto')
  const folder = mkdtempSync(join(tmpdir(), 'attachments-mqtt-'))
  if (account.uid !== undefined) chownSync(folder, account.uid, account.gid as number)
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const [port, webSocketPort] = [await freePort(), await freePort()]
  const script = `cat > mosquitto.conf <<CONF
listener $1 127.0.0.1
listener $2 127.0.0.1
protocol websockets
allow_anonymous true
persistence false
CONF
${path} mosquitto -c mosquitto.conf`
  const args = [String(port), String(webSocketPort)]
  const stop = await launch({ name: 'mosquitto', script, args, folder, account, ready: 'running', signal: 'TERM' }).catch((error) => {
    remove()
    throw error
  })
  return {
    url: `mqtt://127.0.0.1:${port}`,
    webSocketUrl: `ws://127.0.0.1:${webSocketPort}`,
    stop: async () => {
      await stop()
      remove()
    },
  }
}
