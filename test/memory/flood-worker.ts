import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { programOf } from '../reliability/program'
import type { Flood } from './flood-attachments'
import type { MemoryLimit } from './limited'
import { memoryHeldByAll } from './peak'

const root = join(__dirname, '../..')

export interface Flooded {
  readonly done: number
  /** Bytes, before the first picture and at the most. */
  readonly before: number
  readonly peak: number
  readonly errors: readonly string[]
  /** The exit code, or the signal that killed it. */
  readonly ended: number | string
}

export interface Way {
  /** Bytes. */
  readonly limit: number
  /** What holds it to that, where it can be had. */
  readonly cgroup: MemoryLimit | undefined
  readonly concurrency: string
  /** A program that calls `work()`, instead of the command. */
  readonly program: boolean
}

/** Lets a worker with little memory do so many jobs that wait for it. */
export async function flood(pictures: number, given: Flood, { limit, cgroup, concurrency, program }: Way): Promise<Flooded> {
  const module = await programOf('flood-attachments', __dirname)
  const own = [await programOf('flood-program', __dirname), concurrency]
  const command = [join(root, 'dist/cli.js'), 'worker', module, '--concurrency', concurrency]
  const node = [process.execPath, ...(program ? own : command)]
  const [file, ...args] = cgroup ? cgroup.within(node) : node
  const told = { CONTAINER_MEMORY: `${limit}`, NODE_OPTIONS: `--require ${join(root, 'test/support/container.cjs')}` }
  const env = { ...process.env, FLOOD: JSON.stringify(given), ...(!cgroup && told) }
  const worker = spawn(file as string, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  return watch(worker, pictures)
}

async function watch(worker: ChildProcess & { readonly stdout: NonNullable<ChildProcess['stdout']> }, pictures: number): Promise<Flooded> {
  const errors: string[] = []
  let [done, before, peak] = [0, 0, 0]
  createInterface({ input: worker.stdout }).on('line', (line) => {
    const { message, kind, error } = JSON.parse(line)
    const held = memoryHeldByAll(worker.pid as number)
    peak = held.peak
    if (message === 'started') before = held.now
    if (message === 'job done' && kind === 'process') done++
    if (message === 'job failed') errors.push(error.message)
    if (done + errors.length === pictures) worker.kill('SIGTERM')
  })
  const [code, signal] = await once(worker, 'close')
  return { done, before, peak, errors, ended: code ?? signal }
}
