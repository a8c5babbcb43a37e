import type { DataSource, EntityMetadata } from 'typeorm'
import type { AttachmentRecord, emptyRecord } from '../attachment/record'
import type { RowRef } from '../background/job'
import type { Along } from '../notify/notifier'
import type { Run } from './run'

type Driver = DataSource['driver']
type ColumnMetadata = EntityMetadata['columns'][number]
type EmbeddedMetadata = EntityMetadata['embeddeds'][number]

export interface AttachmentTable {
  /** The attachment of a row: null without a file, undefined without a row. `lock` holds the row until the transaction ends. */
  read(run: Run, id: RowRef['id'], lock?: 'lock'): Promise<AttachmentRecord | null | undefined>
  /** Writes columns of the row, if it meets the conditions; how many rows did. Of each of them others are told along with it. */
  write(run: Run, id: RowRef['id'], columns: Partial<AttachmentRecord> | typeof emptyRecord, conditions?: Conditions, along?: Along): Promise<number>
  /** Rows with a file that meet the conditions, the one that was attempted first in front. */
  find(run: Run, conditions: Conditions, limit: number): Promise<FoundRecord[]>
}

export interface FoundRecord {
  readonly id: RowRef['id']
  readonly record: AttachmentRecord
}

export interface Conditions {
  /** Without a file. */
  readonly empty?: true
  readonly version?: string
  readonly versions?: readonly string[]
  readonly processing?: boolean
  readonly failed?: true
  readonly attemptedAt?: Date | null
  readonly attemptedBefore?: Date
  readonly attemptedAfter?: Date
}

/**
 * The statements on the columns of one attachment. They are SQL of our own, because TypeORM's update would bump
 * `@VersionColumn` and `@UpdateDateColumn` of the user's entity; names, parameters and values go through its driver.
 */
export function attachmentTable(driver: Driver, metadata: EntityMetadata, embedded: EmbeddedMetadata): AttachmentTable {
  const table = driver.escape
    ? metadata.tablePath
        .split('.')
        .map((part) => driver.escape(part))
        .join('.')
    : metadata.tablePath
  const columns = Object.fromEntries(embedded.columns.map((column) => [column.propertyName, column])) as Record<
    keyof AttachmentRecord,
    ColumnMetadata
  >
  const keys = metadata.primaryColumns
  const selected = [...keys, ...embedded.columns].map(named).join(', ')
  const forUpdate = ['postgres', 'cockroachdb', 'mysql', 'mariadb'].includes(driver.options.type) ? ' FOR UPDATE' : ''
  const mysql = ['mysql', 'mariadb'].includes(driver.options.type)
  // where the column says ON UPDATE, the server itself would bump @UpdateDateColumn, unless it is named
  const unbumped = mysql ? metadata.columns.filter(({ onUpdate }) => onUpdate) : []
  // a job that locked the row by the index on the version, as the server would like, and a save would wait for each other
  const byKey = mysql ? ' FORCE INDEX (PRIMARY)' : ''

  function named(column: ColumnMetadata): string {
    return driver.escape(column.databaseName)
  }

  /** Collects values in the order of their placeholders. */
  function parameters() {
    const values: unknown[] = []
    const parameter = (column: ColumnMetadata, value: unknown) => {
      values.push(driver.preparePersistentValue(value, column))
      return driver.createParameter(`p${values.length}`, values.length - 1)
    }
    const put = (column: ColumnMetadata, value: unknown, operator = '=') => `${named(column)} ${operator} ${parameter(column, value)}`
    const putOneOf = (column: ColumnMetadata, some: readonly unknown[]) =>
      `${named(column)} IN (${some.map((value) => parameter(column, value)).join(', ')})`
    return { values, put, putOneOf }
  }

  function meeting(conditions: Conditions, { put, putOneOf }: Pick<ReturnType<typeof parameters>, 'put' | 'putOneOf'>): string[] {
    const { empty, version, versions, processing, failed, attemptedAt, attemptedBefore, attemptedAfter } = conditions
    const where: string[] = []
    if (empty) where.push(`${named(columns.version)} IS NULL`)
    if (version !== undefined) where.push(put(columns.version, version))
    if (versions) where.push(putOneOf(columns.version, versions))
    if (processing !== undefined) where.push(put(columns.processing, processing))
    // what is done was last attempted never: so the index knows the failed ones
    if (failed) where.push(`${named(columns.attemptedAt)} IS NOT NULL`, `${named(columns.error)} IS NOT NULL`)
    if (attemptedAt === null) where.push(`${named(columns.attemptedAt)} IS NULL`)
    // within the millisecond: what somebody wrote by hand may be finer, or be text without a fraction
    else if (attemptedAt) where.push(put(columns.attemptedAt, moved(attemptedAt, -1), '>'), put(columns.attemptedAt, moved(attemptedAt, 1), '<'))
    if (attemptedBefore) where.push(put(columns.attemptedAt, attemptedBefore, '<'))
    if (attemptedAfter) where.push(put(columns.attemptedAt, attemptedAfter, '>'))
    return where
  }

  function hydrate(row: Record<string, unknown>): AttachmentRecord | null {
    const value = (column: ColumnMetadata) => driver.prepareHydratedValue(row[column.databaseName], column)
    const record = Object.fromEntries(Object.entries(columns).map(([property, column]) => [property, value(column)]))
    return record['version'] == null ? null : (record as unknown as AttachmentRecord)
  }

  return {
    async read(run, id, lock) {
      const { values, put } = parameters()
      const where = keys.map((key) => put(key, id[key.propertyPath])).join(' AND ')
      const { records } = await run(`SELECT ${selected} FROM ${table} WHERE ${where}${lock ? forUpdate : ''}`, values)
      return records[0] && hydrate(records[0])
    },

    async write(run, id, changes, conditions = {}, along) {
      const { values, put, putOneOf } = parameters()
      const set = Object.entries(changes).map(([property, value]) => put(columns[property as keyof AttachmentRecord], value))
      for (const column of unbumped) set.push(`${named(column)} = ${named(column)}`)
      const where = [...keys.map((key) => put(key, id[key.propertyPath])), ...meeting(conditions, { put, putOneOf })]
      const update = `UPDATE ${table}${byKey} SET ${set.join(', ')} WHERE ${where.join(' AND ')}`
      if (!along) return (await run(update, values)).affected ?? 0
      const told = along.sql(driver.createParameter(`p${values.length + 1}`, values.length))
      const { records } = await run(`WITH changed AS (${update} RETURNING 1) SELECT ${told} FROM changed`, [...values, along.value])
      return records.length
    },

    async find(run, conditions, limit) {
      const { values, put, putOneOf } = parameters()
      const where = meeting(conditions, { put, putOneOf })
      if (metadata.discriminatorColumn) where.push(put(metadata.discriminatorColumn, metadata.discriminatorValue))
      const order = named(columns.attemptedAt)
      const { records } = await run(`SELECT ${selected} FROM ${table} WHERE ${where.join(' AND ')} ORDER BY ${order} LIMIT ${limit}`, values)
      return (records as Array<Record<string, unknown>>).map((row) => ({
        id: Object.fromEntries(keys.map((key) => [key.propertyPath, driver.prepareHydratedValue(row[key.databaseName], key)])),
        record: hydrate(row) as AttachmentRecord,
      }))
    },
  }
}

function moved(date: Date, milliseconds: number): Date {
  return new Date(date.getTime() + milliseconds)
}
