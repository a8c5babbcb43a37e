import { Column, getMetadataArgsStorage, Index } from 'typeorm'
import { Attached } from '../attachment/attached'
import { define } from '../definition/definition'
import type { AttachmentOptions, ColumnName } from '../definition/options'

/** What the property's type must be for styles `S`; anything else makes the decorator a type error that says so. */
type Declares<T, K extends PropertyKey, S extends string> = K extends keyof T
  ? [NonNullable<T[K]>] extends [Attached<S>]
    ? [Attached<S>] extends [NonNullable<T[K]>]
      ? T
      : `The property must be typed Attached<'…'> with exactly the styles that are declared`
    : `The property must be typed Attached<'…'> with exactly the styles that are declared`
  : T

/**
 * Declares a file on an entity, or on a class that entities extend. Its columns are real ones: migrations and queries
 * see them. Throws a `DeclarationError` when the class is declared, naming what is wrong and the cure.
 *
 * ```ts
 * @Attachment({ styles: { thumb: '100x100#' }, accept: ['image/*'] })
 * avatar!: Attached<'thumb'>
 * ```
 */
export function Attachment<const S extends string = never>(options: AttachmentOptions<S>) {
  return <K extends string, T>(target: T & Declares<T, K, S>, property: K): void => {
    const owner = (target as object).constructor
    const definition = define(owner.name, property, options as AttachmentOptions<string>)
    // each attachment has a class of its own: so a value knows its definition without being told
    const Value = class extends Attached<S> {
      static override readonly definition = definition
    }
    Object.defineProperty(Value, 'name', { value: 'Attached' })
    declareColumns(Value.prototype, definition.columns)
    Index(['processing', 'attemptedAt'])(Value)
    Index(['version'], { unique: true })(Value)
    declareEmbedded(owner, property, Value)
  }
}

/**
 * TypeORM creates, migrates and reads the columns, but writes only `updatedAt`: as the sign that something changed.
 * The others are written by statements of our own, or a stale entity would bring old values back.
 */
function declareColumns(prototype: object, names: Readonly<Record<ColumnName, string>>): void {
  const text = { type: String, nullable: true }
  const json = { type: 'simple-json', nullable: true } as const
  const size = { type: 'bigint', nullable: true, transformer: { to: (value: unknown) => value, from: toNumber } } as const
  // in milliseconds, which MySQL would round to seconds: jobs tell their changes apart by it
  const moment = { type: Date, precision: 3, nullable: true }
  const ours = { insert: false, update: false, select: true }
  Column({ ...text, ...ours, name: names.fileName })(prototype, 'fileName')
  Column({ ...text, ...ours, name: names.contentType })(prototype, 'contentType')
  Column({ ...size, ...ours, name: names.fileSize })(prototype, 'fileSize')
  Column({ ...moment, name: names.updatedAt })(prototype, 'updatedAt')
  Column({ ...text, ...ours, length: 64, name: names.fingerprint })(prototype, 'fingerprint')
  Column({ ...text, ...ours, length: 32, name: names.version })(prototype, 'version')
  Column({ type: Boolean, default: false, ...ours, name: names.processing })(prototype, 'processing')
  Column({ ...moment, ...ours, name: names.attemptedAt })(prototype, 'attemptedAt')
  Column({ ...json, ...ours, name: names.error })(prototype, 'error')
  Column({ ...json, ...ours, name: names.meta })(prototype, 'meta')
}

/** pg and mysql give `bigint` as text. */
function toNumber(value: unknown): unknown {
  return value === null || value === undefined ? value : Number(value)
}

/** Of two entries for one property TypeORM takes the first, so a subclass's goes before the one it overrides. */
function declareEmbedded(owner: object, propertyName: string, type: new () => object): void {
  const { embeddeds } = getMetadataArgsStorage()
  const inherited = embeddeds.findIndex((other) => other.propertyName === propertyName && isBelow(owner, other.target))
  embeddeds.splice(inherited < 0 ? embeddeds.length : inherited, 0, {
    target: owner as () => void,
    propertyName,
    isArray: false,
    prefix: false,
    type: () => type,
  })
}

function isBelow(owner: object, other: unknown): boolean {
  return typeof other === 'function' && (owner as { prototype: unknown }).prototype instanceof other
}
