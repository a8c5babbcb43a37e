import { UsageError } from '../errors'
import { unpacked } from './packed'

/** Which row of which entity: the entity's name and its primary key, by property. */
export interface RowRef {
  readonly entity: string
  readonly id: Readonly<Record<string, unknown>>
}

/** Files of one version. */
export interface VersionFiles {
  readonly version: string
  readonly storage: string
  /** Keys in the storage, written or only planned. */
  readonly keys: readonly string[]
  /** Keys in the staging. */
  readonly staged: readonly string[]
  /** A job may still be writing them. */
  readonly unfinished?: true
}

/** Make the styles of one version, move everything to the storage, clear `processing`. */
export interface ProcessJob extends RowRef {
  readonly kind: 'process'
  readonly attachment: string
  readonly version: string
  readonly storage: string
  /** Keys that it is to write. */
  readonly keys: readonly string[]
  /** Keys in the staging that it is to leave empty. */
  readonly staged: readonly string[]
}

/** What a row has left. */
export interface LeftFiles {
  readonly id: RowRef['id']
  readonly files: readonly VersionFiles[]
}

/** Delete what no row refers to any more. */
export interface DeleteJob {
  readonly kind: 'delete'
  readonly entity: string
  readonly attachment: string
  readonly rows: readonly LeftFiles[]
  /** Key in the staging under which this job is written down until it is done; null where nothing can be listed there. */
  readonly note: string | null
  /** When it was decided, in ISO 8601. */
  readonly at: string
}

/** Where the notes are, in the staging. */
export const noteFolder = '.deletes/'

/** Plain JSON: what a background adapter carries to a worker, and what its dashboard shows. */
export type Job = ProcessJob | DeleteJob

/** Of several jobs that say the same and have not begun, one is enough. */
export function keyOf(job: Job): string {
  const name = `${job.entity}.${job.attachment}`
  if (job.kind === 'process') return `${name}/${job.version}`
  // what a job may still be writing is deleted by a job of its own, beside that for the rest of the same version
  const [file] = job.rows[0]?.files ?? []
  return `${name}/${job.note ?? `${job.at}/${file?.version}${file?.unfinished ? '-unfinished' : ''}`}`
}

/**
 * A job as a queue brought it. Throws a `UsageError` for anything that is not one, before anything is done because of it.
 */
export function checkJob(given: unknown): Job {
  const refuse = (what: string): never => {
    const said = JSON.stringify(given)?.slice(0, 200)
    throw new UsageError(
      'bad_job',
      `this is no job of this release of typeorm-attachments, ${what}: ${said}. Nothing was done; remove it from the queue`,
    )
  }
  // a function is given what SQS carries
  const whole = (): unknown => {
    try {
      return unpacked(given)
    } catch {
      return refuse('it is packed, and broken')
    }
  }
  const job = Object(whole()) as Record<string, unknown>
  const isText = (value: unknown) => typeof value === 'string' && value !== ''
  const isList = (value: unknown) => Array.isArray(value) && value.every(isText)
  const isNote = (value: unknown) => typeof value === 'string' && value.startsWith(noteFolder)
  const isId = (value: unknown) => {
    const parts = Object.values(Object(value))
    return typeof value === 'object' && !Array.isArray(value) && parts.length > 0 && !parts.includes(null)
  }
  const areFiles = ({ version, storage, keys, staged }: Record<string, unknown>) =>
    isText(version) && isText(storage) && isList(keys) && isList(staged)
  const isLeft = (row: unknown) => {
    const { id, files } = Object(row) as Record<string, unknown>
    return isId(id) && Array.isArray(files) && files.every((file) => areFiles(Object(file)))
  }

  if (!isText(job['entity']) || !isText(job['attachment'])) refuse('it names no entity and attachment')
  if (job['kind'] === 'process') {
    if (!isId(job['id'])) refuse('it names no row')
    if (!areFiles(job)) refuse('its version, storage, keys or staged keys are missing or of the wrong kind')
  } else if (job['kind'] === 'delete') {
    if (!Array.isArray(job['rows']) || !job['rows'].every(isLeft)) refuse('its rows and their files are missing or of the wrong kind')
    if (job['note'] !== null && !isNote(job['note'])) refuse('its note is neither the key of one nor null')
    if (Number.isNaN(Date.parse(String(job['at'])))) refuse('it does not say when it was decided')
  } else refuse(`its kind is ${JSON.stringify(job['kind'])}`)
  return job as unknown as Job
}
