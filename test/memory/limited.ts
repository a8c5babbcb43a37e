import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A cgroup that holds its processes to so many bytes, where this system and user can have one. */
export function memoryLimit(bytes: number): { processes: string; remove(): void } | undefined {
  const second = existsSync('/sys/fs/cgroup/cgroup.controllers')
  const folder = join(second ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory', `attachments-${process.pid}`)
  try {
    mkdirSync(folder)
    writeFileSync(join(folder, second ? 'memory.max' : 'memory.limit_in_bytes'), `${bytes}`)
  } catch {
    if (existsSync(folder)) rmdirSync(folder)
    return undefined
  }
  return { processes: join(folder, 'cgroup.procs'), remove: () => rmdirSync(folder) }
}

/** Runs a program of ours, and gives what it printed, and the signal that ended it. */
export async function run(
  program: string,
  given: object,
  { limit, env }: { limit?: { processes: string } | undefined; env?: NodeJS.ProcessEnv } = {},
): Promise<{ printed: string; ended: number | string }> {
  const node = [process.execPath, '--import', 'tsx', program, JSON.stringify(given)]
  const [command, ...rest] = limit ? ['sh', '-c', 'echo $$ > "$0" && exec "$@"', limit.processes, ...node] : node
  const child = spawn(command as string, rest, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } })
  let printed = ''
  child.stdout.on('data', (chunk) => {
    printed += chunk
  })
  const ended = await new Promise<number | string>((resolve) => child.once('close', (code, signal) => resolve(signal ?? code ?? 0)))
  return { printed, ended }
}
