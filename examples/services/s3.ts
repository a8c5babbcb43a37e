import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { freePort } from './throw-away'

export interface S3Server {
  /** What it is, for people. */
  readonly name: string
  /** Whether it checks signatures and digests as S3 does. */
  readonly faithful: boolean
  /** Whether it posts what happens in its buckets to this machine. */
  readonly sendsEvents: boolean
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  stop(): Promise<void>
}

/** An S3 server: the one at `S3_ENDPOINT`, else a RADOS gateway where one is installed, else a stand-in in this process. */
export async function startS3(): Promise<S3Server> {
  const endpoint = process.env['S3_ENDPOINT']
  if (endpoint) {
    const accessKeyId = process.env['AWS_ACCESS_KEY_ID'] ?? 'test'
    const secretAccessKey = process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test'
    return {
      name: `the S3 server at ${endpoint}`,
      faithful: true,
      sendsEvents: false,
      endpoint,
      accessKeyId,
      secretAccessKey,
      stop: async () => undefined,
    }
  }
  return gatewayInstalled() ? startGateway() : startStandIn()
}

/** How the AWS SDK reaches it. */
export function clientConfig({
  endpoint,
  accessKeyId,
  secretAccessKey,
}: Pick<S3Server, 'endpoint' | 'accessKeyId' | 'secretAccessKey'>): S3ClientConfig {
  return { endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } }
}

function gatewayInstalled(): boolean {
  return ['radosgw', 'ceph-mon', 'ceph-osd', 'curl'].every((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0)
}

async function startGateway(): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), 'attachments-s3-'))
  const [port, monitorPort] = [await freePort(), await freePort()]
  const script = resolve(__dirname, 'rados-gateway.sh')
  const gateway = spawn('bash', [script, folder, String(port), String(monitorPort)], { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  let log = ''
  gateway.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  await new Promise<void>((ready, failed) => {
    gateway.stdout.once('data', () => ready())
    gateway.once('exit', (code) => failed(new Error(`the RADOS gateway ended with ${code}: ${log}`)))
  })
  // the gateway is no reason for this process to stay; it ends when the pipe to it closes
  for (const pipe of gateway.stdio) (pipe as unknown as { unref(): void }).unref()
  gateway.unref()
  return {
    name: "Ceph's RADOS gateway",
    faithful: true,
    sendsEvents: true,
    endpoint: `http://127.0.0.1:${port}`,
    accessKeyId: 'testkey',
    secretAccessKey: 'testsecret',
    stop: async () => {
      gateway.ref()
      const ended = new Promise((done) => gateway.once('exit', done))
      gateway.stdin.destroy()
      await ended
    },
  }
}

async function startStandIn(): Promise<S3Server> {
  const { startFauxqs } = await import('fauxqs')
  const server = await startFauxqs({ port: await freePort(), logger: false })
  return {
    name: 'fauxqs, in this process',
    faithful: false,
    sendsEvents: false,
    endpoint: `http://127.0.0.1:${server.port}`,
    accessKeyId: 'test',
    secretAccessKey: 'test',
    stop: () => server.stop(),
  }
}
