import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'

/** Who a server runs as; nothing in it means as ourselves. */
export type Account = { uid?: number; gid?: number }

/** Database servers refuse to run as root: then the first of these accounts that there is, else nobody. */
export function unprivileged(...names: string[]): Account {
  if (process.getuid?.() !== 0) return {}
  for (const name of [...names, 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  return { uid: 65534, gid: 65534 }
}

export interface ThrowAway {
  /** What its script is called in an error. */
  readonly name: string
  /** Sets the server up in the folder and runs it; `$1` and on are `args`. */
  readonly script: string
  readonly args: readonly string[]
  /** Its own, removed when it ends. */
  readonly folder: string
  readonly account: Account
  /** What the server says on its standard error once it can be used. */
  readonly ready: string
  /** The signal by which it ends soon. */
  readonly signal: 'INT' | 'TERM'
}

/**
 * Runs a server that ends with this process, however that ends: the shell around it reads a pipe that we hold, and stops
 * what runs when the pipe closes. Both have a process group of their own, which Ctrl-C does not reach. What it resolves
 * to stops the server.
 */
export async function launch({ name, script, args, folder, account, ready, signal }: ThrowAway): Promise<() => Promise<void>> {
  // the signal comes again, for it may come before what it is for has begun; what a set-up has begun may write a moment
  // longer than the shell waits for it; and nobody may be left to read what the shell says
  const guard = `export TMPDIR=$PWD; trap : INT TERM HUP; trap '' PIPE
    { trap '' INT TERM HUP; cat >/dev/null; while kill -${signal} 0; do sleep 0.3; done; } <&3 & reader=$!; exec 3<&-
    ${script}
    code=$?; kill -9 $reader; cd /
    for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$TMPDIR"/* && break; sleep 0.3; done 2>/dev/null
    rmdir "$TMPDIR" 2>/dev/null
    exit $code`
  const child = spawn('/bin/sh', ['-c', guard, 'sh', ...args], {
    ...account,
    cwd: folder,
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  })
  await began(child, name, ready)
  // the server is no reason for this process to stay
  for (const pipe of [child.stderr, child.stdio[3]]) (pipe as unknown as { unref(): void }).unref()
  child.unref()
  return async () => {
    const ended = child.exitCode === null && new Promise((done) => child.once('exit', done))
    child.ref()
    child.stdio[3]?.destroy()
    await ended
  }
}

function began(child: ChildProcess, name: string, word: string): Promise<void> {
  let log = ''
  return new Promise<void>((ready, failed) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-8192)
      if (log.includes(word)) ready()
    })
    child.once('error', failed)
    child.once('exit', (code) => {
      // lets the shell's reader end, which would keep this process waiting
      child.stdio[3]?.destroy()
      failed(new Error(`${name} ended with ${code}: ${log}`))
    })
  })
}

/** So that several servers that start at the same time are not given the same. */
const given = new Set<number>()

/** A free port, below those that the system gives to outgoing connections: one of them might take it before the server does. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((found) => {
    const server = createServer().once('error', () => found(false))
    server.listen(port, '127.0.0.1', () => server.close(() => found(true)))
  })
}
