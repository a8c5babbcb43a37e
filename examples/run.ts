import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { sendBucketEvents } from './services/bucket-events'
import { mosquittoInstalled, startMosquitto } from './services/mosquitto'
import { createDatabase, startPostgres } from './services/postgres'
import { commandsIn, end, path, start } from './services/procfile'
import { redisInstalled, startRedis } from './services/redis'
import { clientConfig, type S3Server, startS3 } from './services/s3'
import { freePort } from './services/throw-away'

// run.ts EXAMPLE [--postgres] [--mqtt]: an example as its Procfile says, on the servers that the environment names, and throw-away ones
// for the rest. It ends with Ctrl-C, or when one of its processes does, and all of it ends then.

// the SDK would say at every start that it leaves Node 20 in 2027
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'

const [example = '', ...flags] = process.argv.slice(2)
const interrupted = new Promise<undefined>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(undefined))
})
/** Ends what was begun. */
const endings: Array<() => Promise<unknown>> = []

async function run(): Promise<void> {
  const folder = join(__dirname, example)
  const { release, ...processes } = commandsIn(folder)
  // where one process finds another: FUNCTIONS_PORT
  const ports = await Promise.all(Object.keys(processes).map(async (name) => [`${name.toUpperCase()}_PORT`, String(await freePort())] as const))
  const shared: NodeJS.ProcessEnv = { ...Object.fromEntries(ports), SECRET: randomBytes(32).toString('hex') }
  const events = 'functions' in processes ? `http://127.0.0.1:${shared['FUNCTIONS_PORT']}/` : undefined
  const env = { PORT: '0', ...shared, ...process.env, ...(await servers(events)), PATH: path, TZ: 'UTC' }
  const width = Math.max(...Object.keys(processes).map((name) => name.length))

  /** Resolves to what is wrong with its end. */
  async function begin(name: string, command: string, say: (line: string) => void): Promise<string | undefined> {
    const child = start(command, folder, env, say)
    endings.push(() => end(child, 'SIGTERM'))
    const [code] = await once(child, 'exit')
    return code === 0 ? undefined : `the process '${name}' ended with ${code}`
  }

  if (release) {
    const said: string[] = []
    const failed = await begin('release', release, (line) => said.push(line))
    if (failed) throw new Error([...said, failed].join('\n'))
  }
  const running = Object.entries(processes).map(([name, command]) =>
    begin(name, command, (line) => {
      console.log(`${name.padEnd(width)} | ${line}`)
      const [, port] = /^listening on port (\d+)$/.exec(line) ?? []
      if (port) console.log(`\nOpen http://127.0.0.1:${port}/   Ctrl-C ends everything.\n`)
    }),
  )
  const trouble = await Promise.race([interrupted, ...running])
  if (trouble) throw new Error(trouble)
}

/**
 * Where the servers are, as an app on Heroku is told.
 *
 * @param events where the bucket is to post what is uploaded; undefined where nobody wants to know
 */
async function servers(events: string | undefined): Promise<NodeJS.ProcessEnv> {
  const [database, queue, mqtt, s3] = await Promise.all([
    databaseServer(),
    flags.includes('--postgres') ? '' : redisServer(),
    flags.includes('--mqtt') ? mqttBroker() : {},
    startS3(),
  ])
  endings.push(() => s3.stop())
  const bucket = process.env['BUCKET'] ?? 'example'
  const client = new S3Client(clientConfig(s3))
  await client.send(new CreateBucketCommand({ Bucket: bucket })).catch((error) => {
    if (!/^BucketAlready/.test(error.name)) throw error
  })
  client.destroy()
  if (events) await startEvents(s3, bucket, events)
  return {
    DATABASE_URL: database,
    REDIS_URL: queue,
    ...mqtt,
    S3_ENDPOINT: s3.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    BUCKET: bucket,
  }
}

/** Of a server that was given, somebody else has to see to it. */
async function startEvents(server: S3Server, bucket: string, url: string): Promise<void> {
  const asked = `the objects created below 'staging/' in the bucket '${bucket}' have to be posted to ${url}`
  if (server.sendsEvents) {
    endings.push(await sendBucketEvents({ server, bucket, filter: { prefix: 'staging/' }, url, persistent: true }))
  } else if (process.env['S3_ENDPOINT']) console.log(`${asked}: see docs/bucket-events.md\n`)
  else throw new Error(`${asked}, and ${server.name}, does not: install radosgw, ceph-mon, ceph-osd, ceph-common and curl, or set S3_ENDPOINT`)
}

async function databaseServer(): Promise<string> {
  const given = process.env['DATABASE_URL']
  if (given) return given
  const postgres = await startPostgres()
  endings.push(() => postgres.stop())
  await createDatabase(postgres.url('postgres'), 'example')
  return postgres.url('example')
}

async function redisServer(): Promise<string> {
  const given = process.env['REDIS_URL']
  if (given) return given
  if (!redisInstalled())
    throw new Error('there is no Redis: install redis-server, or set REDIS_URL, or take PostgreSQL as queue by adding -- --postgres')
  const redis = await startRedis()
  endings.push(() => redis.stop())
  return redis.url
}

/** An app does without it where there is none. */
async function mqttBroker(): Promise<NodeJS.ProcessEnv> {
  if (process.env['MQTT_URL'] || !mosquittoInstalled()) return {}
  const mosquitto = await startMosquitto()
  endings.push(() => mosquitto.stop())
  return { MQTT_URL: mosquitto.url, MQTT_WEBSOCKET_URL: mosquitto.webSocketUrl }
}

async function main(): Promise<void> {
  const code = await run().then(
    () => 0,
    ({ message }) => {
      console.error(`\n${message}`)
      return 1
    },
  )
  for (const end of endings.reverse()) await end()
  process.exit(code)
}

main()
