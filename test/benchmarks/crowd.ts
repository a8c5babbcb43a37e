import type { DataSource } from 'typeorm'
import { Person, PlainPerson } from './entities'

type Entity = typeof Person | typeof PlainPerson

/** Column names for SQL, without the primary key. */
function columnsOf(dataSource: DataSource, entity: Entity): string[] {
  return dataSource.getMetadata(entity).columns.flatMap(({ isPrimary, databaseName }) => (isPrimary ? [] : [`"${databaseName}"`]))
}

/** Says that everything is done of the files that were saved, and copies their rows so many times; each copy has versions of its own. */
export async function multiply(dataSource: DataSource, times: number): Promise<void> {
  const columns = columnsOf(dataSource, Person)
  const done = `replace($, '"written":false', '"written":true,"size":1234,"width":100,"height":100')`
  const copied = columns.map((name) => {
    if (name.endsWith('_version"')) return `md5(n::text || ${name})`
    if (name.endsWith('_processing"')) return 'false'
    if (name.endsWith('_attempted_at"')) return 'NULL'
    return name.endsWith('_meta"') ? done.replace('$', () => name) : name
  })
  await dataSource.query(`INSERT INTO person (${columns.join()}) SELECT ${copied.join()} FROM person, generate_series(1, ${times}) n`)
  await dataSource.query('VACUUM ANALYZE person')
}

/** Copies all of them into the table without us. */
export async function copyPlain(dataSource: DataSource): Promise<void> {
  const [ours, plain] = [columnsOf(dataSource, Person), columnsOf(dataSource, PlainPerson)]
  await dataSource.query(`INSERT INTO plain_person (${plain.join()}) SELECT ${ours.join()} FROM person`)
  await dataSource.query('VACUUM ANALYZE plain_person')
}
