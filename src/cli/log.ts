import type { Job } from '../background/job'
import type { PerformedJob } from '../background/performed'

export type Level = 'info' | 'warning' | 'error'

/** Writes a line of JSON to standard output. */
export function log(level: Level, message: string, fields: object = {}): void {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`)
}

const levels: Record<PerformedJob['result'], Level> = { done: 'info', overtaken: 'info', waiting: 'info', later: 'warning', failed: 'error' }

/** The line of a job. */
export function logJob({ job, styles, bytes, result, attempt, ms, delay, error }: PerformedJob): void {
  const made = job.kind === 'process' ? { styles, bytes } : {}
  log(levels[result], `job ${result}`, { result, ...nameOf(job), ...made, attempt, ms, delay, error })
}

/** Which job it is. */
export function nameOf(job: Job): object {
  const { kind, entity, attachment } = job
  if (kind === 'process') return { kind, entity, id: idOf(job.id), attachment, version: job.version }
  const files = job.rows.flatMap(({ files }) => files)
  return { kind, entity, attachment, rows: job.rows.length, keys: files.flatMap(({ keys, staged }) => [...keys, ...staged]).length }
}

/** A key of one column is its value. */
function idOf(id: Readonly<Record<string, unknown>>): unknown {
  const values = Object.values(id)
  return values.length === 1 ? values[0] : id
}
