import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { PostgreSqlContainer } from '@testcontainers/postgresql'
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers'
import type { TestProject } from 'vitest/node'
import { mariaDbInstalled, startMariaDb } from '../../examples/services/mariadb'
import { mosquittoInstalled, startMosquitto } from '../../examples/services/mosquitto'
import { startPostgres } from '../../examples/services/postgres'
import { redisInstalled, startRedis } from '../../examples/services/redis'
import { startS3 } from '../../examples/services/s3'

declare module 'vitest' {
  interface ProvidedContext {
    /** The address of the PostgreSQL server's own database. */
    postgres: string
    /** The address of the MariaDB server; null where there is none. */
    mariadb: string | null
    /** The address of the Redis server; null where there is none. */
    redis: string | null
    /** The address of the MQTT broker; null where there is none. */
    mqtt: string | null
    /** Where pages reach it; null where they do not. */
    mqttPages: string | null
    /** Where Chromium is; null where there is none. */
    chromium: string | null
    s3: { endpoint: string; accessKeyId: string; secretAccessKey: string; faithful: boolean; sendsEvents: boolean }
  }
}

interface Server {
  /** What it is, for people. */
  readonly name: string
  readonly url: string
  stop(): Promise<unknown>
}

/** Starts what the tests talk to, once for all of them. Every server is a real one. */
export default async function services(project: TestProject): Promise<() => Promise<void>> {
  const [postgres, mariadb, redis, mqtt, s3] = await Promise.all([choosePostgres(), chooseMariaDb(), chooseRedis(), chooseMqtt(), startS3()])
  const chromium = findChromium()
  const say = (line: string) => process.stdout.write(`${line}\n`)
  say(`tests use ${[postgres.name, mariadb?.name, redis?.name, mqtt?.name, s3.name].filter(Boolean).join(', ')}`)
  const skipped = [
    ...(mariadb ? [] : ['tests on MariaDB are SKIPPED: install mariadb-server-core and mariadb-client-core, or set MARIADB_URL']),
    ...(redis ? [] : ['tests on Redis are SKIPPED: install redis-server, or set REDIS_URL']),
    ...(mqtt ? [] : ['tests on MQTT are SKIPPED: install mosquitto, or set MQTT_URL']),
    ...(s3.faithful
      ? []
      : ['tests that need a faithful S3 server are SKIPPED: install radosgw, ceph-mon, ceph-osd and ceph-common, or set S3_ENDPOINT']),
    ...(s3.sendsEvents ? [] : ['tests of bucket events are SKIPPED: they need a RADOS gateway on this machine, and no S3_ENDPOINT']),
    ...(chromium ? [] : ['tests in a browser are SKIPPED: install chromium']),
  ]
  const stop = async () => void (await Promise.all([postgres.stop(), mariadb?.stop(), redis?.stop(), mqtt?.stop(), s3.stop()]))
  if (skipped.length > 0 && process.env['REQUIRE_SERVICES'] === '1') {
    await stop()
    throw new Error(skipped.join('; '))
  }
  for (const line of skipped) say(`!! ${line}`)
  project.provide('postgres', postgres.url)
  project.provide('mariadb', mariadb?.url ?? null)
  project.provide('redis', redis?.url ?? null)
  project.provide('mqtt', mqtt?.url ?? null)
  project.provide('mqttPages', mqtt?.webSocketUrl ?? null)
  project.provide('chromium', chromium)
  const { endpoint, accessKeyId, secretAccessKey, faithful, sendsEvents } = s3
  project.provide('s3', { endpoint, accessKeyId, secretAccessKey, faithful, sendsEvents })
  return stop
}

/** The server at `DATABASE_URL`, else one in a container where an engine answers, else an embedded one. */
async function choosePostgres(): Promise<Server> {
  const given = process.env['DATABASE_URL']
  if (given) return { name: 'PostgreSQL at DATABASE_URL', url: given, stop: async () => undefined }
  if (await containersWork()) {
    const container = await new PostgreSqlContainer('postgres:18-alpine').start()
    return { name: 'PostgreSQL in a container', url: container.getConnectionUri(), stop: () => container.stop() }
  }
  const embedded = await startPostgres(memoryFolder())
  return { name: 'an embedded PostgreSQL', url: embedded.url('postgres'), stop: embedded.stop }
}

/** The server at `MARIADB_URL`, else one in a container, else a throw-away one where MariaDB is installed, else none. */
async function chooseMariaDb(): Promise<Server | null> {
  const given = process.env['MARIADB_URL']
  if (given) return { name: 'MariaDB at MARIADB_URL', url: given, stop: async () => undefined }
  if (!(await containersWork())) return mariaDbInstalled() ? { name: 'a throw-away MariaDB', ...(await startMariaDb(memoryFolder())) } : null
  const container = await new GenericContainer('mariadb:11.4')
    .withEnvironment({ MARIADB_ROOT_PASSWORD: 'app' })
    .withExposedPorts(3306)
    // the image first runs a server without a port, to set itself up
    .withWaitStrategy(Wait.forLogMessage(/port: 3306/))
    .start()
  const url = `mysql://root:app@${container.getHost()}:${container.getMappedPort(3306)}/`
  return { name: 'MariaDB in a container', url, stop: () => container.stop() }
}

/** The server at `REDIS_URL`, else one in a container, else a throw-away one where Redis is installed, else none. */
async function chooseRedis(): Promise<Server | null> {
  const given = process.env['REDIS_URL']
  if (given) return { name: 'Redis at REDIS_URL', url: given, stop: async () => undefined }
  if (!(await containersWork())) return redisInstalled() ? { name: 'a throw-away Redis', ...(await startRedis()) } : null
  const container = await new GenericContainer('redis:8-alpine').withExposedPorts(6379).start()
  return { name: 'Redis in a container', url: `redis://${container.getHost()}:${container.getMappedPort(6379)}`, stop: () => container.stop() }
}

/** The broker at `MQTT_URL`, else a throw-away one where Mosquitto is installed, else none. */
async function chooseMqtt(): Promise<(Server & { webSocketUrl?: string }) | null> {
  const given = process.env['MQTT_URL']
  if (given) return { name: 'MQTT at MQTT_URL', url: given, webSocketUrl: process.env['MQTT_WEBSOCKET_URL'], stop: async () => undefined }
  return mosquittoInstalled() ? { name: 'a throw-away Mosquitto', ...(await startMosquitto()) } : null
}

/** The Chromium on the PATH, as Debian installs it. */
function findChromium(): string | null {
  const { status, stdout } = spawnSync('/bin/sh', ['-c', 'command -v chromium'], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : null
}

/** A new database is hundreds of files: where Linux has room for them in memory, a test waits a tenth of the time for its own. */
function memoryFolder(): string | undefined {
  const shared = '/dev/shm'
  if (!existsSync(shared)) return undefined
  const { bavail, bsize } = statfsSync(shared)
  const mount = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((line) => line.split(' ')[1] === shared)
  return bavail * bsize > 2 ** 31 && mount && !mount.includes('noexec') ? shared : undefined
}

/** A docker program proves nothing: an engine has to answer, within two seconds. */
async function containersWork(): Promise<boolean> {
  const answers = getContainerRuntimeClient().then(
    () => true,
    () => false,
  )
  const late = new Promise<boolean>((resolve) => setTimeout(resolve, 2_000, false).unref())
  return Promise.race([answers, late])
}
