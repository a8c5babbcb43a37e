import { readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Attachments } from '../../src'
import { filesIn } from './files'
import { Person, properties } from './person'
import type { OpenPlace, Place } from './place'
import { openQueue, type QueueKind } from './queue'

/** After so many looks for lost jobs something must have gone wrong. */
const mostLooks = 20

/**
 * What another process does after a crash: works until nothing is left. Then a day passes, as far as the notes of deletes
 * know; then the staging is swept. Resolves to what it could not bring to an end.
 */
export async function recover(
  place: Place,
  { dataSource, staging, storage }: OpenPlace,
  kind: QueueKind = 'process',
  failed?: 'and try failed ones again',
): Promise<string[]> {
  const queue = openQueue(kind, place)
  const attachments = new Attachments({ staging, storage, background: queue.background, retry: { attempts: 5, backoff: () => 5 } })
  await attachments.connect(dataSource)
  try {
    const look = async () => {
      for (const property of failed ? properties : []) await attachments.retryAll(Person, property)
      await attachments.requeueLost({ olderThan: 0 })
      await queue.idle(attachments)
    }
    const worker = await attachments.work({ concurrency: 4 })
    for (let looks = 1, before = ''; ; looks++) {
      await look()
      // notes of files that a job may still be writing, or that a row still has because its removal was not committed, stay for a day
      const after = `${await notesIn(place)}`
      if (after === before && (await processing(dataSource)) === 0) break
      if (looks === mostLooks) return [`after ${mostLooks} looks for lost jobs something is still left to do`]
      before = after
    }
    await aDayPasses(place)
    await look()
    const notes = await notesIn(place)
    await attachments.sweepStaging({ olderThan: 0 })
    await worker.stop()
    return notes.length > 0 ? [`after a day there are still notes of deletes: ${notes}`] : []
  } finally {
    await attachments.close()
    await queue.close()
  }
}

function processing(dataSource: OpenPlace['dataSource']): Promise<number> {
  return dataSource.getRepository(Person).count({ where: properties.map((property) => ({ [property]: { processing: true } })) })
}

const notesIn = async ({ staging }: Place) => (await filesIn(staging)).filter((file) => file.startsWith('.deletes/'))

async function aDayPasses(place: Place): Promise<void> {
  for (const note of await notesIn(place)) {
    const path = join(place.staging, note)
    const job = JSON.parse(await readFile(path, 'utf8'))
    const then = new Date(Date.parse(job.at) - 25 * 3600_000)
    await writeFile(path, JSON.stringify({ ...job, at: then }))
    await utimes(path, then, then)
  }
}
