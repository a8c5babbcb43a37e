import { type ChildProcess, type ChildProcessByStdio, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { onTestFinished, vi } from 'vitest'

export const root = join(__dirname, '../..')
/** The built command. */
export const cli = join(root, 'dist/cli.js')

/** A line of the log. */
export type Line = { time: string; level: string; message: string } & Record<string, unknown>

export interface Command {
  readonly process: ChildProcess
  readonly lines: readonly Line[]
  /** What it wrote to standard error. */
  readonly complaint: string
  /** The first line with this message, as soon as it is there. */
  line(message: string): Promise<Line>
  /** Its exit code; null if it was killed. */
  readonly ended: Promise<number | null>
}

export interface Start {
  /** A channel to the command, as PM2 has one. */
  readonly channel?: boolean
  /** What Node is told. */
  readonly node?: readonly string[]
}

/** Runs the command; killed when the test ends. */
export function command(args: readonly string[], env: NodeJS.ProcessEnv = {}, { channel = false, node = [] }: Start = {}): Command {
  const surroundings = { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env }
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', channel ? 'ipc' : 'ignore']
  const child = spawn(process.execPath, [...node, cli, ...args], { env: surroundings, stdio }) as ChildProcessByStdio<null, Readable, Readable>
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: Line[] = []
  let complaint = ''
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)))
  child.stderr.on('data', (data) => {
    complaint += data
  })
  return {
    process: child,
    lines,
    get complaint() {
      return complaint
    },
    line: (message) =>
      vi.waitFor(
        () => {
          const found = lines.find((line) => line.message === message)
          if (found) return found
          throw new Error(`no line '${message}'; code ${child.exitCode}: ${lines.map((line) => JSON.stringify(line)).join('\n')} ${complaint}`)
        },
        { timeout: 25_000, interval: 10 },
      ),
    ended: once(child, 'close').then(([code]) => code),
  }
}
