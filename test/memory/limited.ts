import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A cgroup that holds its processes to so much memory. */
export interface MemoryLimit {
  /** The command line that runs another within it, under one process id. */
  within(commandLine: readonly string[]): readonly string[]
  /** When all its processes have ended. */
  remove(): void
}

/** So many bytes and not one more, where this system and user can have that. */
export function memoryLimit(bytes: number): MemoryLimit | undefined {
  const second = existsSync('/sys/fs/cgroup/cgroup.controllers')
  const folder = join(second ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory', `attachments-${process.pid}`)
  try {
    mkdirSync(folder)
    writeFileSync(join(folder, second ? 'memory.max' : 'memory.limit_in_bytes'), `${bytes}`)
  } catch {
    if (existsSync(folder)) rmdirSync(folder)
    return undefined
  }
  return {
    within: (commandLine) => ['sh', '-c', 'echo $$ > "$0" && exec "$@"', join(folder, 'cgroup.procs'), ...commandLine],
    remove: () => rmdirSync(folder),
  }
}

/** Runs a program of ours to its end, and gives what it printed. */
export async function run(program: string, given: object): Promise<string> {
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', program, JSON.stringify(given)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  child.stdout.on('data', (chunk) => {
    printed += chunk
  })
  await new Promise((resolve) => child.once('close', resolve))
  return printed
}
