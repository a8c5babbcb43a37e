import { buffer } from 'node:stream/consumers'
import sharp from 'sharp'
import type { StyleRecord } from '../../src/attachment/record'
import { fingerprintOf, labelOf, sha256 } from './bytes'
import { filesIn } from './files'
import { Person, type Property, properties, stylesOf } from './person'
import type { OpenPlace, Place } from './place'

/** What was looked at, and what was wrong with it. */
export interface Findings {
  readonly violations: string[]
  originals: number
  objects: number
  bytes: number
}

export function noFindings(): Findings {
  return { violations: [], originals: 0, objects: 0, bytes: 0 }
}

export function addFindings(to: Findings, { violations, originals, objects, bytes }: Findings): void {
  to.violations.push(...violations)
  to.originals += originals
  to.objects += objects
  to.bytes += bytes
}

/** What there is of a style: everything is read, and held against its record. */
interface Inventory {
  readonly people: readonly Person[]
  readonly stored: ReadonlyMap<string, number>
  readonly staged: readonly string[]
}

async function inventory(place: Place, { dataSource, storage }: OpenPlace): Promise<Inventory> {
  const stored = new Map<string, number>()
  for await (const { key, size } of storage.list?.('') ?? []) stored.set(key, size)
  return { people: await dataSource.getRepository(Person).find({ order: { id: 'ASC' } }), stored, staged: await filesIn(place.staging) }
}

/** At any moment: what a row says is in the storage, or shows of the file before, is there, and the original can be read byte for byte. */
export async function checkOriginals(place: Place, open: OpenPlace): Promise<Findings> {
  const found = noFindings()
  const { people, stored } = await inventory(place, open)
  for (const { who, value } of filesOf(people)) {
    const { original, ...styles } = (value.meta?.styles ?? {}) as Record<string, StyleRecord>
    for (const [name, style] of Object.entries(styles)) {
      if (style.written && stored.get(style.key) !== style.size) found.violations.push(`${who}: ${name} is said to be written, and is not there`)
    }
    for (const [name, { key, size }] of Object.entries(value.meta?.shown?.styles ?? {})) {
      if (stored.get(key) !== size) found.violations.push(`${who}: ${name} of the file before is shown, and is not there`)
    }
    await checkOriginal(who, value, original as StyleRecord, open, found)
  }
  return found
}

/** When nothing is left to do: rows, storage and staging say the same, in both directions. */
export async function checkSettled(place: Place, open: OpenPlace): Promise<Findings> {
  const found = noFindings()
  const { violations } = found
  const { people, stored, staged } = await inventory(place, open)
  const referred = new Set<string>()
  for (const { who, property, value } of filesOf(people)) {
    const { meta, error } = value
    const styles = (meta?.styles ?? {}) as Record<string, StyleRecord>
    if (value.processing) violations.push(`${who}: is still processing`)
    await checkOriginal(who, value, styles['original'] as StyleRecord, open, found)
    if (error) {
      // what it was to replace is there until somebody tries again
      for (const key of meta?.previous?.flatMap(({ keys }) => keys) ?? []) referred.add(key)
      for (const style of Object.values(styles)) referred.add(style.staged ?? '').add(style.written ? style.key : '')
      continue
    }
    if (meta?.next || meta?.previous || meta?.shown) violations.push(`${who}: something is left to be done`)
    if (value.attemptedAt) violations.push(`${who}: is done, and says when it was last attempted`)
    if (Object.keys(styles).sort().join() !== stylesOf[property].join()) violations.push(`${who}: has the styles ${Object.keys(styles)}`)
    for (const [name, style] of Object.entries(styles)) {
      referred.add(style.key)
      if (!style.written || style.staged) violations.push(`${who}: ${name} is not finished`)
      if (stored.get(style.key) !== style.size) violations.push(`${who}: ${name} has ${stored.get(style.key)} bytes, not ${style.size}`)
      else if (name !== 'original') await checkPicture(`${who}: ${name}`, style, open, found)
    }
  }
  for (const key of stored.keys()) if (!referred.has(key)) violations.push(`the bucket holds ${key}, which no row refers to`)
  for (const key of staged) if (!referred.has(key)) violations.push(`the staging holds ${key}, which no row refers to`)
  return found
}

function* filesOf(people: readonly Person[]) {
  for (const person of people) {
    for (const property of properties) {
      const value = person[property]
      if (value.present) yield { who: `${person.name}'s ${property}`, property: property as Property, value }
    }
  }
}

async function checkOriginal(
  who: string,
  { fileName, fingerprint, fileSize }: Pick<Person['avatar'], 'fileName' | 'fingerprint' | 'fileSize'>,
  { key, written, staged }: StyleRecord,
  { staging, storage }: OpenPlace,
  found: Findings,
): Promise<void> {
  try {
    const bytes = await buffer(await (written ? storage.read(key) : staging.read(staged ?? '?')))
    // of what was uploaded past us its name has to tell
    const expected = fingerprint ?? (await fingerprintOf(labelOf(fileName)))
    if (sha256(bytes) !== expected || bytes.length !== fileSize) found.violations.push(`${who}: the original has other bytes than were attached`)
    found.originals++
    found.bytes += bytes.length
  } catch (error) {
    found.violations.push(`${who}: the original cannot be read: ${error}`)
  }
}

async function checkPicture(what: string, { key, width, height }: StyleRecord, { storage }: OpenPlace, found: Findings): Promise<void> {
  const bytes = await buffer(await storage.read(key))
  const is = await sharp(bytes).metadata()
  if (is.width !== width || is.height !== height) found.violations.push(`${what} is ${is.width} × ${is.height}, not ${width} × ${height}`)
  found.objects++
  found.bytes += bytes.length
}
