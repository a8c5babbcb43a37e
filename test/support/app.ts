import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { inject, onTestFinished } from 'vitest'
import { commandsIn, end, path, start } from '../../examples/services/procfile'
import { freePort } from '../../examples/services/throw-away'
import { postgres } from './databases'
import { type Bucket, folder, newBucket } from './world'

const repository = join(import.meta.dirname, '../..')

/** A process of an app, on a disk of its own. */
export interface Dyno {
  /** The app's files, and its working directory. */
  readonly disk: string
  /** Lines that it wrote. */
  readonly said: readonly string[]
  /** Ends it by a signal; its exit code, or null if it had none. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

export interface App {
  /** Where its web process answers, with `/` at the end. */
  readonly url: string
  readonly web: Dyno
  /** Begins another worker. */
  work(): Promise<Dyno>
}

/** A new database and a new bucket, as the environment tells an app; and what is in the bucket. */
export async function serversFor(): Promise<{ config: NodeJS.ProcessEnv; keys: Bucket['keys'] }> {
  const { url } = (await postgres.create()) as { url: string }
  const { endpoint, accessKeyId, secretAccessKey } = inject('s3')
  const { bucket, keys } = await newBucket()
  const s3 = { S3_ENDPOINT: endpoint, AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
  return { config: { DATABASE_URL: url, BUCKET: bucket, ...s3 }, keys }
}

/** Releases an example as its Procfile says, and starts its web process. All of it ends when the test does. */
export async function deploy(example: string, config: NodeJS.ProcessEnv): Promise<App> {
  const commands = commandsIn(join(repository, 'examples', example))
  const port = await freePort()

  async function run(name: string): Promise<Dyno & { child: ChildProcess }> {
    const { disk, temporary } = await diskOf(example)
    const env = {
      PATH: path,
      HOME: temporary,
      TMPDIR: temporary,
      TZ: 'UTC',
      PORT: String(port),
    }
    const said: string[] = []
    const child = start(commands[name] as string, disk, { ...env, ...config }, (line) => said.push(line))
    onTestFinished(async () => void (await end(child, 'SIGKILL')))
    return { child, disk, said, end: (signal) => end(child, signal) }
  }

  const release = await run('release')
  const [code] = await once(release.child, 'exit')
  if (code !== 0) throw new Error(`the release ended with ${code}: ${release.said.join('\n')}`)
  const web = await run('web')
  const url = `http://127.0.0.1:${port}/`
  await answering(url, web)
  return { url, web, work: () => run('worker') }
}

/** Where a process has a copy of the app, as a platform unpacks it for each. */
async function diskOf(example: string): Promise<{ disk: string; temporary: string }> {
  const home = await folder()
  const [disk, temporary, installed] = [join(home, 'app'), join(home, 'tmp'), join(home, 'app/node_modules')]
  await cp(join(repository, 'examples', example), disk, { recursive: true })
  await Promise.all([mkdir(temporary), mkdir(installed)])
  await symlink(join(repository, 'node_modules'), join(home, 'node_modules'), 'junction')
  await symlink(repository, join(installed, 'typeorm-attachments'), 'junction')
  return { disk, temporary }
}

/** Waits until somebody answers there. */
async function answering(url: string, { child, said }: Dyno & { child: ChildProcess }): Promise<void> {
  while (!(await fetch(url).catch(() => null))) {
    if (child.exitCode !== null) throw new Error(`web ended with ${child.exitCode}: ${said.join('\n')}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
