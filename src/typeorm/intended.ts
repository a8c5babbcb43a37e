import type { ObjectLiteral } from 'typeorm'
import { Attached } from '../attachment/attached'
import { emptyRecord, newVersion } from '../attachment/record'
import { ForeignWriteError, UsageError } from '../errors'
import type { Intent, Intents } from '../lifecycle/intents'
import { printedId } from '../lifecycle/plan'
import { type BoundAttachment, rowRef } from './binding'

/** The intent behind a value, null where it says nothing. Throws where it says something that nobody here decided. */
export function intended(bound: BoundAttachment, owner: ObjectLiteral, intents: Intents): Intent | null {
  const value = owner[bound.property]
  if (value === undefined || value === null) return null
  const intent = value instanceof Attached ? intents.get(value.version ?? '') : undefined
  if (!intent) {
    const says = Object.entries(value).some(([name, part]) => name in emptyRecord && part !== null && part !== undefined && part !== false)
    if (says) throw foreign(bound, 'no attach() of the last hour stands behind this value')
    return null
  }
  if (!belongs(intent, bound)) {
    throw new UsageError(
      'other_attachment',
      `${bound.entity}.${bound.property} was given the file attached to ${intent.entity}.${intent.attachment}: attach it here too, attach(entity, '${bound.property}', other.${intent.attachment}) makes a copy`,
    )
  }
  return intent
}

/** Whether an intent was made for this attachment. */
export function belongs(intent: Intent, { entity, property }: BoundAttachment): boolean {
  return intent.entity === entity && intent.attachment === property
}

/** Whether a value is what this very row held when it was loaded. It is shown what the row holds now, and never written. */
export function isStale(value: unknown, bound: BoundAttachment, owner: object, intents: Intents): value is Attached {
  if (!(value instanceof Attached) || intents.get(value.version ?? '')) return false
  const ownRow = value.meta?.id === printedId(rowRef(bound.metadata, owner).id) && value.constructor === bound.Value
  return value.version == null || ownRow
}

/** Somebody set the property to null: the same as `detach()`. */
export function detaching({ entity, property }: BoundAttachment, intents: Intents): Intent {
  const intent = { entity, attachment: property, version: newVersion(), file: null }
  intents.add(intent)
  return intent
}

export function foreign({ entity, property }: BoundAttachment, why: string): ForeignWriteError {
  return new ForeignWriteError(
    'foreign_write',
    `the columns of ${entity}.${property} change only through attach() and detach(), then save(): ${why}. Take '${property}' out of what comes from a request; to copy the file of another entity, attach(entity, '${property}', other.${property})`,
  )
}
