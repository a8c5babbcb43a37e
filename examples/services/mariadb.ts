import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { type Account, freePort, launch, unprivileged } from './throw-away'

export interface MariaDb {
  /** The address of the server, without a database. */
  readonly url: string
  stop(): Promise<void>
}

const user = 'app'
const password = 'app'

/** Debian keeps the server where only root's PATH looks. */
const path = [process.env['PATH'], '/usr/sbin', '/usr/local/sbin'].join(delimiter)

/** Whether the programs of a MariaDB server are installed. */
export function mariaDbInstalled(): boolean {
  const found = (program: string) => spawnSync('/bin/sh', ['-c', `command -v ${program}`], { env: { PATH: path } }).status === 0
  return ['mariadbd', 'mariadb-install-db', 'my_print_defaults'].every(found)
}

/** A throw-away MariaDB from the programs that are installed. It writes below that folder only, and ends with this process, however that ends. */
export async function startMariaDb(below = tmpdir()): Promise<MariaDb> {
  const root = mkdtempSync(join(below, 'attachments-mariadb-'))
  const remove = () => rmSync(root, { recursive: true, force: true })
  const port = await freePort()
  const stop = await start(root, port, unprivileged('mysql')).catch((error) => {
    remove()
    throw error
  })
  return {
    url: `mysql://${user}:${password}@127.0.0.1:${port}/`,
    stop: async () => {
      await stop()
      remove()
    },
  }
}

/** Makes a database. */
export async function createMariaDbDatabase(serverUrl: string, name: string): Promise<void> {
  await tell(serverUrl, `CREATE DATABASE \`${name}\` CHARACTER SET utf8mb4`)
}

export async function dropMariaDbDatabase(serverUrl: string, name: string): Promise<void> {
  await tell(serverUrl, `DROP DATABASE \`${name}\``)
}

async function tell(serverUrl: string, statement: string): Promise<void> {
  const connection = await createConnection(serverUrl)
  try {
    await connection.query(statement)
  } finally {
    await connection.end()
  }
}

const settings = '--no-defaults --datadir="$TMPDIR/data" --skip-name-resolve --innodb-log-file-size=16M --innodb-flush-method=nosync'
// anybody on the machine reaches the port: root has no password, so it may come through the socket alone
const script = `PATH=$2
  mariadb-install-db ${settings} --skip-test-db --auth-root-authentication-method=socket >/dev/null &&
  mariadbd ${settings} --init-file="$TMPDIR/init.sql" --port=$1 --bind-address=127.0.0.1 --socket=socket --pid-file=pid \
    --innodb-flush-log-at-trx-commit=0 --innodb-fast-shutdown=2 --max-connections=200`

async function start(root: string, port: number, account: Account): Promise<() => Promise<void>> {
  const secret = join(root, 'init.sql')
  const name = `'${user}'@'127.0.0.1'`
  writeFileSync(secret, `CREATE USER ${name} IDENTIFIED BY '${password}';\nGRANT ALL ON *.* TO ${name};\n`, { mode: 0o600 })
  for (const owned of account.uid === undefined ? [] : [root, secret]) chownSync(owned, account.uid as number, account.gid as number)
  const args = [String(port), path]
  return launch({ name: 'mariadbd', script, args, folder: root, account, ready: 'ready for connections', signal: 'TERM' })
}
