import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { inject, onTestFinished } from 'vitest'
import { commandsIn, end, path, start } from '../../examples/services/procfile'
import { postgres } from './databases'
import { type Bucket, folder, newBucket } from './world'

const repository = join(import.meta.dirname, '../..')

/** A process of an app, on a disk of its own. */
export interface Dyno {
  /** The app's files, and its working directory. */
  readonly disk: string
  /** Its exit code, or null if it did not end by itself. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

export interface App {
  /** Where its web process answers, with `/` at the end. */
  readonly url: string
  readonly web: Dyno
  /** Begins another worker, or another of its processes. */
  work(name?: string): Promise<Dyno>
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

  async function run(name: string, say: (line: string) => void = () => undefined): Promise<Dyno & { child: ChildProcess }> {
    const { disk, temporary } = await diskOf(example)
    const env = { PATH: path, HOME: temporary, TMPDIR: temporary, TZ: 'UTC', PORT: '0', ...config }
    const child = start(commands[name] as string, disk, env, say)
    onTestFinished(async () => void (await end(child, 'SIGKILL')))
    return { child, disk, end: (signal) => end(child, signal) }
  }

  const said: string[] = []
  const { child } = await run('release', (line) => said.push(line))
  await once(child, 'exit')
  if (child.exitCode !== 0) throw new Error(`the release ended with ${child.exitCode}: ${textIn(said)}`)
  return new Promise((resolve, reject) => {
    const starting = run('web', async (line) => {
      said.push(line)
      const [, port] = /^listening on port (\d+)$/.exec(line) ?? []
      if (port) resolve({ url: `http://127.0.0.1:${port}/`, web: await starting, work: (name = 'worker') => run(name) })
    })
    starting.then(({ child }) => child.once('exit', (code) => reject(new Error(`web ended with ${code}: ${textIn(said)}`))), reject)
  })
}

/** Without stacks: vitest would take their places for places of the test. */
function textIn(lines: readonly string[]): string {
  return lines.filter((line) => !/^ *at /.test(line)).join('\n')
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
