import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const root = resolve(__dirname, '../..')

/** Where the commands of packages are, as in `node_modules/.bin` of an app that has installed this one. */
export const path = [join(root, 'examples/bin'), join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)

/** The commands of a Procfile, by the names of their processes. */
export function commandsIn(folder: string): Record<string, string> {
  const lines = readFileSync(join(folder, 'Procfile'), 'utf8').matchAll(/^(\w+): *(.+)$/gm)
  return Object.fromEntries([...lines].map(([, name, command]) => [name, command]))
}

/**
 * Runs a command in a process group of its own, which Ctrl-C does not reach, and which ends with this process, however that
 * ends. `say` is given each line that it writes.
 */
export function start(command: string, cwd: string, env: NodeJS.ProcessEnv, say: (line: string) => void): ChildProcess {
  // the shell gives way to the command, so that signals reach it; what reads our pipe notices when nobody holds it any more
  const script = `exec 3<&0; { cat <&3 >/dev/null; kill -9 0; } & exec env ${command} 3<&- </dev/null`
  const child = spawn('/bin/sh', ['-c', script], { cwd, env, stdio: 'pipe', detached: true })
  child.once('exit', () => child.stdin.destroy())
  for (const input of [child.stdout, child.stderr]) createInterface({ input }).on('line', say)
  return child
}

/** Sends a signal to a process that runs. Resolves to the exit code when it has ended; null if it did not end by itself. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((done) => child.once('exit', done))
    child.kill(signal)
    await ended
  }
  return child.exitCode
}
