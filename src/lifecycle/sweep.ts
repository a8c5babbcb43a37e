import { randomUUID } from 'node:crypto'
import { referredKeys } from '../attachment/record'
import type { AttachmentName } from '../attachment/rows'
import type { Storage } from '../storage/storage'
import type { Ports } from './ports'
import { stagedName } from './staged'

const batch = 100

/** How long a staged file is left alone that no row refers to: it may still be saved. Milliseconds. */
export const unsavedLifetime = 24 * 60 * 60_000

/** Where a storage is asked for its time. */
const clock = '.clock/'

/**
 * Deletes staged files that were written more than `olderThan` milliseconds ago and that no row refers to: they were
 * attached and never saved, or a crash left them. What it does not know it leaves alone. How many there were.
 *
 * @param isIntent whether a version may still be saved by this process
 */
export async function sweepStaging(
  attachments: Iterable<AttachmentName>,
  olderThan: number,
  { rows, staging }: Pick<Ports, 'rows' | 'staging'>,
  isIntent: (version: string) => boolean,
): Promise<number> {
  if (!staging.list) return 0
  const before = new Date((await clockOf(staging)).getTime() - olderThan)
  let swept = 0

  async function* old(prefix: string): AsyncIterable<string> {
    for await (const { key, modified } of staging.list?.(prefix) ?? []) if (modified <= before) yield key
  }
  async function sweep(keys: readonly string[], kept: ReadonlySet<string>): Promise<void> {
    const left = keys.filter((key) => !kept.has(key))
    if (left.length > 0) await staging.delete(left)
    swept += left.length
  }
  async function sweepUnreferred({ entity, attachment }: AttachmentName, keys: readonly string[]): Promise<void> {
    const found = await rows.atVersions(entity, attachment, [...new Set(keys.map(versionOf))])
    const referred = found.flatMap(({ record }) => [...referredKeys(record)])
    await sweep(keys, new Set([...referred, ...keys.filter((key) => isIntent(versionOf(key)))]))
  }

  for (const name of attachments) {
    let keys: string[] = []
    for await (const key of old(`${name.entity}/${name.attachment}/`)) {
      if (!stagedName(key) || keys.push(key) < batch) continue
      await sweepUnreferred(name, keys)
      keys = []
    }
    await sweepUnreferred(name, keys)
  }
  for (const prefix of ['.part-', clock]) for await (const key of old(prefix)) await sweep([key], new Set())
  return swept
}

/** `<entity>/<attachment>/<two of version>/<version>/<file>`: see `stagedFolder()`. */
function versionOf(key: string): string {
  return key.split('/').at(-2) as string
}

/** What the time is where the files are: this machine's clock may be wrong. */
async function clockOf(staging: Storage): Promise<Date> {
  const key = `${clock}${randomUUID()}`
  await staging.write(key, Buffer.from('0'), { contentType: 'text/plain', size: 1 })
  try {
    for await (const { modified } of staging.list?.(key) ?? []) return modified
    return new Date(0)
  } finally {
    await staging.delete([key])
  }
}
