import { randomBytes } from 'node:crypto'
import type { DataSource, DataSourceOptions } from 'typeorm'
import { inject, onTestFinished } from 'vitest'
import { createMariaDbDatabase, dropMariaDbDatabase } from '../../examples/services/mariadb'
import { createDatabase, dropDatabase } from '../../examples/services/postgres'

/** A kind of database, and how tests use it where SQL differs. Prints as its name. */
export interface Database {
  toString(): string
  /** The options for a new database, gone when the test ends. */
  create(): Promise<DataSourceOptions>
  /** Makes updates fail with 'no', of rows that meet a condition on OLD and NEW. */
  refuseUpdates(dataSource: DataSource, table: string, condition: string): Promise<void>
}

/** A database where each transaction has a connection of its own. */
export interface DatabaseServer extends Database {
  /** Whether a statement waits for what another transaction has locked. */
  blocked(dataSource: DataSource): Promise<boolean>
  /** The statement after which a table's generated ids go on with this one. */
  restartIds(table: string, next: string): string
}

export const postgres: DatabaseServer = {
  toString: () => 'PostgreSQL',
  async create() {
    const name = newName()
    await createDatabase(inject('postgres'), name)
    onTestFinished(() => dropDatabase(inject('postgres'), name))
    const url = new URL(inject('postgres'))
    url.pathname = `/${name}`
    return { type: 'postgres', url: url.href }
  },
  async refuseUpdates(dataSource, table, condition) {
    const body = `BEGIN IF ${condition} THEN RAISE 'no'; END IF; RETURN NEW; END`
    await dataSource.query(`CREATE FUNCTION no() RETURNS trigger AS $$ ${body} $$ LANGUAGE plpgsql`)
    await dataSource.query(`CREATE TRIGGER no BEFORE UPDATE ON "${table}" FOR EACH ROW EXECUTE FUNCTION no()`)
  },
  restartIds: (table, next) => `ALTER SEQUENCE "${table}_id_seq" RESTART WITH ${next}`,
  async blocked(dataSource) {
    const here = 'SELECT pid FROM pg_stat_activity WHERE datname = current_database()'
    return (await dataSource.query(`SELECT pid FROM pg_locks WHERE NOT granted AND pid IN (${here})`)).length > 0
  },
}

export const mariadb: DatabaseServer = {
  toString: () => 'MariaDB',
  async create() {
    const server = inject('mariadb') as string
    const name = newName()
    await createMariaDbDatabase(server, name)
    onTestFinished(() => dropMariaDbDatabase(server, name))
    const { hostname, port, username, password } = new URL(server)
    return { type: 'mariadb', host: hostname, port: Number(port || 3306), username, password: decodeURIComponent(password), database: name }
  },
  async refuseUpdates(dataSource, table, condition) {
    const body = `IF ${condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF`
    await dataSource.query(`CREATE TRIGGER no BEFORE UPDATE ON \`${table}\` FOR EACH ROW ${body}`)
  },
  restartIds: (table, next) => `ALTER TABLE \`${table}\` AUTO_INCREMENT = ${next}`,
  async blocked(dataSource) {
    // this table stays as it is while it is read all the time, so do not ask more often than every 100 ms
    const waiting = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return (await dataSource.query(`SELECT id FROM information_schema.processlist WHERE db = database() AND id IN (${waiting})`)).length > 0
  },
}

export const sqlite: Database = {
  toString: () => 'SQLite',
  create: async () => ({ type: 'sqljs' }),
  async refuseUpdates(dataSource, table, condition) {
    await dataSource.query(`CREATE TRIGGER no BEFORE UPDATE ON "${table}" WHEN ${condition} BEGIN SELECT RAISE(ABORT, 'no'); END`)
  },
}

/** Those where each transaction has a connection of its own; MariaDB, where there is one. */
export const servers: readonly DatabaseServer[] = inject('mariadb') === null ? [postgres] : [postgres, mariadb]

/** All of them. SQLite has one connection, shared by everything that a process does. */
export const databases: readonly Database[] = [...servers, sqlite]

function newName(): string {
  return `test_${randomBytes(6).toString('hex')}`
}
