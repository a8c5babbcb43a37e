import type { AttachmentRecord, StyleRecord } from '../../src/attachment/record'
import type { Objects } from './objects'
import { bodyOf, type World } from './world'

type Violated = (what: string) => void

/** What must hold at every moment. */
export function checkMoment(world: World, violated: Violated): void {
  const { database, truth } = world
  for (const id of new Set([...truth.keys(), ...database.rows.keys()])) {
    const record = database.rows.get(id)
    const text = truth.get(id)
    const fail = (what: string) => violated(`row ${id}: ${what}`)
    if (record === undefined || text === undefined) fail(record === undefined ? 'the row is gone' : 'the row should be gone')
    else if (record === null || text === null) {
      if (record !== text) fail(record === null ? 'I4: its file is gone' : 'I4: it has a file, and should have none')
    } else {
      checkRow(world, record, text, fail)
      checkShown(world, record, world.shown.get(id) ?? [], fail)
    }
  }
}

function checkRow({ storage, staging }: World, record: AttachmentRecord, text: string, fail: Violated): void {
  const { meta, processing, error } = record
  const styles = Object.entries(meta.styles)
  const original = meta.styles['original'] as StyleRecord
  const holds = (objects: Objects, key: string | undefined, name: string) =>
    key !== undefined && objects.held.get(key)?.body.toString() === bodyOf(text, name)

  if (!holds(staging, original.staged, 'original') && !holds(storage, original.key, 'original'))
    fail('I3: the original cannot be read, or is another')
  for (const [name, { key, written, size }] of styles) {
    if (written && (!holds(storage, key, name) || size !== bodyOf(text, name).length)) fail(`I1: '${name}' is shown and is not there as it should be`)
  }
  if (processing) {
    if (!original.written && !holds(staging, original.staged, 'original')) fail('I2: it is processing, and the staged original is not there')
    if (error) fail('I8: it is processing and has failed')
  } else if (error) {
    if (!original.written && !holds(staging, original.staged, 'original')) fail('I8: it has failed, and the staged original is not there')
  } else {
    const missing = ['original', 'a', 'b'].filter((name) => !meta.styles[name]?.written)
    if (missing.length > 0) fail(`I1: it is done, and ${missing} are not made`)
    if (meta.next || meta.previous) fail('I5: it is done, and something is left to do')
  }
}

/** What was replaced is shown until all of its successor is there, or a moment longer: until a job has seen that. */
function checkShown({ storage }: World, { meta, processing, error }: AttachmentRecord, expected: readonly string[], fail: Violated): void {
  const keys = Object.values(meta.shown?.styles ?? {}).map(({ key }) => key)
  const gone = keys.filter((key) => storage.held.get(key)?.body.toString() !== storage.everWritten.get(key))
  if (gone.length > 0) fail(`I1: ${gone} of the file that it replaced is shown, and is gone`)
  if (!processing && !error && meta.shown) fail('it is done, and shows the file that it replaced')
  const ready = Object.values(meta.styles).every(({ written }) => written)
  if (!(ready && !meta.shown) && keys.join() !== expected.join())
    fail(`of the file that it replaced it shows ${keys.join() || 'nothing'}, not ${expected.join() || 'nothing'}`)
}

/** What must hold when nothing is left to do. */
export function checkEnd(world: World, violated: Violated): void {
  const { database, storage, staging, kept } = world
  const records = [...database.rows.values()].filter((record) => record !== null)
  if (records.some(({ processing }) => processing)) violated('I2: a row is processing for ever')
  const styles = records.flatMap(({ meta }) => [...Object.values(meta.styles), ...Object.values(meta.next ?? {})])
  const keys = new Set([...styles.map(({ key }) => key), ...records.flatMap(({ meta }) => (meta.previous ?? []).flatMap((files) => files.keys))])
  for (const key of storage.held.keys()) if (!keys.has(key) && !kept.has(key)) violated(`I5: the storage holds ${key}, which no row refers to`)
  const staged = referredStaged(world)
  for (const key of staging.held.keys()) if (!staged.has(key)) violated(`I5: the staging holds ${key}, which no row refers to`)
  for (const { meta, error } of records) {
    const made = Object.values({ ...meta.styles, ...meta.next }).filter(({ written }) => written).length
    if (error && made < 2) violated(`one style cannot be made, and of the others only ${made} were`)
  }
  for (const [key, there] of kept) if (there && !storage.held.has(key)) violated(`${key} was to be kept, and is gone`)
}

/** Of what was saved, nothing stays in the staging but what a row refers to. Notes may stay for a day. */
export function checkStaging(world: World, violated: Violated): void {
  const staged = referredStaged(world)
  for (const key of world.staging.held.keys()) {
    const saved = world.saved.has(key.split('/').at(-2) as string)
    if (saved && !staged.has(key)) violated(`I5: the staging holds ${key}, which no row refers to, although nothing went wrong`)
  }
}

function referredStaged({ database }: World): ReadonlySet<string> {
  const records = [...database.rows.values()].filter((record) => record !== null)
  const all = records.flatMap(({ meta }) => [
    ...Object.values(meta.styles).flatMap(({ staged }) => staged ?? []),
    ...(meta.previous ?? []).flatMap(({ staged }) => staged),
  ])
  return new Set(all)
}
