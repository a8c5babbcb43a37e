import type { DataSource, EntityMetadata, ObjectLiteral } from 'typeorm'
import { type AnyAttached, Attached, type Surroundings } from '../attachment/attached'
import type { News } from '../attachment/ready'
import { type AttachmentRecord, emptyRecord } from '../attachment/record'
import type { RowRef } from '../background/job'
import type { Definition } from '../definition/definition'
import { DeclarationError, UsageError } from '../errors'
import { type AttachmentTable, attachmentTable } from './table'

type EmbeddedMetadata = EntityMetadata['embeddeds'][number]

/** One attachment of one entity of a connected data source. */
export interface BoundAttachment {
  readonly metadata: EntityMetadata
  /** The entity's name. */
  readonly entity: string
  readonly property: string
  readonly definition: Definition
  readonly table: AttachmentTable
  /** The one column that TypeORM writes. */
  readonly updatedAt: EmbeddedMetadata['columns'][number]
  /** The class that this entity's values have. */
  readonly Value: typeof Attached<string>
  /** A value with these columns. */
  create(columns: AttachmentRecord | typeof emptyRecord): AnyAttached
  /** An empty value that names the intent to detach. */
  detached(version: string): AnyAttached
}

/** All attachments of a data source, in the order of its entities. */
export interface Binding {
  readonly attachments: readonly BoundAttachment[]
  /** Those of one entity. */
  of(metadata: EntityMetadata): readonly BoundAttachment[]
  /** The attachment of an entity's name and a property's. Throws a `UsageError` that names those there are. */
  find(entity: string, property: string): BoundAttachment
  /** The attachment of an entity at hand. Throws a `UsageError` for what is no entity. */
  findFor(owner: object, property: string): BoundAttachment
  /** Leaves the data source's metadata as they were. */
  undo(): void
}

/** Gives the values of each entity's attachments a class that knows its surroundings. Checks everything before it changes anything. */
export function bindAll(
  dataSource: DataSource,
  { newsOf, ...surroundings }: Omit<Surroundings, 'entity' | 'news'> & { newsOf(entity: string, property: string): News },
  isIntent: (version: string) => boolean,
): Binding {
  const found = dataSource.entityMetadatas.flatMap((metadata) =>
    metadata.embeddeds.flatMap((embedded) => {
      refuseNested(metadata, embedded)
      const definition = definitionOf(embedded)
      return definition ? [{ metadata, embedded, definition }] : []
    }),
  )
  for (const { metadata, embedded, definition } of found) {
    const twin = found.find((other) => other.metadata !== metadata && other.metadata.name === metadata.name)
    if (twin) {
      const tables = `${metadata.tablePath} and ${twin.metadata.tablePath}`
      throw new DeclarationError(
        'same_name',
        `two entities with attachments are called ${metadata.name} (${tables}): jobs could not tell them apart, rename one of the classes`,
      )
    }
    surroundings.storage(definition.storage)
    const bytes = metadata.primaryColumns.find(({ type }) => /^(bytea|.*blob|.*binary.*)$/.test(String(type)))
    if (bytes) {
      throw new DeclarationError(
        'key_of_bytes',
        `${metadata.name}.${bytes.propertyPath} is a primary key of type ${bytes.type}, which no job and no key of a storage can name: make it uuid, text or a number`,
      )
    }
    if ((embedded.type as typeof Attached).surroundings) {
      throw new UsageError(
        'already_connected',
        `${metadata.name}.${embedded.propertyName} is connected already: one Attachments for each data source`,
      )
    }
  }
  const undo: Array<() => void> = []
  const attachments = found.map(({ metadata, embedded, definition }) => {
    const news = newsOf(metadata.name, embedded.propertyName)
    const Value = valueClass(embedded, { ...surroundings, news, entity: metadata.name })
    const declared = embedded.type
    embedded.type = Value
    undo.push(
      () => {
        embedded.type = declared
      },
      speakOnlyForIntents(metadata, embedded, isIntent),
      takeNoMetaFromOthers(embedded),
    )
    return {
      metadata,
      entity: metadata.name,
      property: embedded.propertyName,
      definition,
      table: attachmentTable(dataSource.driver, metadata, embedded),
      updatedAt: updatedAtOf(embedded),
      Value,
      create: (columns: AttachmentRecord | typeof emptyRecord) => Object.assign(new Value(), columns),
      detached: (version: string) => Object.assign(new Value(), { ...emptyRecord, version, updatedAt: new Date() }),
    }
  })
  const byEntity = new Map(attachments.map(({ metadata }) => [metadata, attachments.filter((bound) => bound.metadata === metadata)]))
  const byName = new Map(attachments.map((bound) => [`${bound.entity}.${bound.property}`, bound]))

  function find(entity: string, property: string): BoundAttachment {
    const bound = byName.get(`${entity}.${property}`)
    if (bound) return bound
    const known = [...byName.keys()].join(', ') || 'none'
    throw new UsageError('unknown_attachment', `there is no attachment ${entity}.${property}: there are ${known}. Put @Attachment() on the property`)
  }

  function findFor(owner: object, property: string): BoundAttachment {
    const target = owner?.constructor
    if (target && dataSource.hasMetadata(target)) return find(dataSource.getMetadata(target).name, property)
    const what = target?.name ?? String(owner)
    throw new UsageError(
      'unknown_entity',
      `${what} is no entity of the connected data source: give an instance of one, such as repository.create({ … })`,
    )
  }

  return {
    attachments,
    of: (metadata) => byEntity.get(metadata) ?? [],
    find,
    findFor,
    undo() {
      for (const step of undo) step()
    },
  }
}

function valueClass(embedded: EmbeddedMetadata, surroundings: Surroundings): typeof Attached<string> {
  const Value = class extends (embedded.type as typeof Attached<string>) {
    static override readonly surroundings = surroundings
  }
  Object.defineProperty(Value, 'name', { value: 'Attached' })
  return Value
}

/** Whether this is an object of the entity's class. A plain one may have come with a request, and cannot detach by null. */
export function isInstance({ target }: EntityMetadata, entity: unknown): boolean {
  return typeof target === 'function' && entity instanceof target
}

/** The row of an entity, or of the part of one that holds its primary key. */
export function rowRef(metadata: EntityMetadata, entity: ObjectLiteral): RowRef {
  return {
    entity: metadata.name,
    id: Object.fromEntries(metadata.primaryColumns.map((column) => [column.propertyPath, column.getEntityValue(entity)])),
  }
}

function definitionOf({ type }: EmbeddedMetadata): Definition | undefined {
  return typeof type === 'function' && type.prototype instanceof Attached ? (type as typeof Attached).definition : undefined
}

function updatedAtOf({ columns }: EmbeddedMetadata): EmbeddedMetadata['columns'][number] {
  return columns.find(({ propertyName }) => propertyName === 'updatedAt') as EmbeddedMetadata['columns'][number]
}

/**
 * `updatedAt` is the one column that TypeORM compares and writes. It shows a value only where an intent stands behind
 * it, or where somebody set the property of an entity to null: a stale entity so never looks changed.
 * Conditions of queries are plain objects and keep their meaning. What is returned takes all of this back.
 */
function speakOnlyForIntents(metadata: EntityMetadata, embedded: EmbeddedMetadata, isIntent: (version: string) => boolean): () => void {
  const column = updatedAtOf(embedded)
  const { getEntityValue, setEntityValue } = column
  column.getEntityValue = (entity, transform) => {
    const value = entity?.[embedded.propertyName]
    if (value instanceof Attached) return value.version && isIntent(value.version) ? value.updatedAt : undefined
    if (value === null && isInstance(metadata, entity)) return null
    return getEntityValue.call(column, entity, transform)
  }
  // after a save TypeORM takes what it was not shown for null, and would show that
  column.setEntityValue = (entity, value) => {
    const file = entity[embedded.propertyName]
    if (value === null && file instanceof Attached && file.version) return
    setEntityValue.call(column, entity, value)
  }
  return () => {
    Object.assign(column, { getEntityValue, setEntityValue })
  }
}

/**
 * `create()` and `merge()` copy columns from whatever they are given, a request body too. `meta` says which objects of the
 * storage are the file: it is copied from values of ours and from nothing else.
 */
function takeNoMetaFromOthers(embedded: EmbeddedMetadata): () => void {
  const column = embedded.columns.find(({ propertyName }) => propertyName === 'meta') as EmbeddedMetadata['columns'][number]
  const { getEntityValue } = column
  column.getEntityValue = (entity, transform) => {
    return entity?.[embedded.propertyName] instanceof Attached ? getEntityValue.call(column, entity, transform) : undefined
  }
  return () => {
    Object.assign(column, { getEntityValue })
  }
}

function refuseNested(metadata: EntityMetadata, embedded: EmbeddedMetadata): void {
  for (const inner of embedded.embeddeds) {
    if (definitionOf(inner)) {
      const place = `${metadata.name}.${embedded.propertyName}.${inner.propertyName}`
      throw new DeclarationError(
        'nested_attachment',
        `${place}: an attachment cannot be part of an embedded class, declare it on the entity or a class it extends`,
      )
    }
    refuseNested(metadata, inner)
  }
}
