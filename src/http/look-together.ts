import type { FoundFile, WatchedFile, WatchPort } from './watch-port'

/** Versions that are asked for by one query. */
const most = 500

/** Looks at the row of one file; null where no row has it. */
export type Look = (file: WatchedFile) => Promise<FoundFile | null>

/** What is to be looked at next, of one attachment. */
interface Batch {
  readonly versions: Set<string>
  readonly found: Promise<ReadonlyMap<string, FoundFile>>
  sent: boolean
}

/**
 * Looks at many files by few queries, one after the other for each attachment: what is asked for at the same moment, or while a query is
 * under way, is answered by the next one. So a thousand pages that look at the same moment cost a few queries.
 */
export function lookTogether(look: WatchPort['look']): Look {
  const last = new Map<string, Batch>()

  function batchAfter(before: Batch | undefined, name: string, { entity, attachment }: WatchedFile): Batch {
    const send = async () => {
      batch.sent = true
      const versions = [...batch.versions]
      const found: [string, FoundFile][] = []
      for (let at = 0; at < versions.length; at += most) found.push(...(await look({ entity, attachment }, versions.slice(at, at + most))))
      return new Map(found)
    }
    const batch: Batch = { versions: new Set(), sent: false, found: Promise.resolve(before?.found).then(send, send) }
    const forget = () => last.get(name) === batch && last.delete(name)
    batch.found.then(forget, forget)
    return batch
  }

  return async (file) => {
    const name = `${file.entity}.${file.attachment}`
    const before = last.get(name)
    const batch = before && !before.sent ? before : batchAfter(before, name, file)
    last.set(name, batch)
    batch.versions.add(file.version)
    return (await batch.found).get(file.version) ?? null
  }
}
