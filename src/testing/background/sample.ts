import { randomBytes } from 'node:crypto'
import type { JobReport, Sending } from '../../background/adapter'
import { type Job, keyOf, type ProcessJob } from '../../background/job'

/** A job in which nothing can be lost or changed without being noticed. */
export function sampleJob(): ProcessJob {
  const version = randomBytes(16).toString('hex')
  return {
    kind: 'process',
    entity: 'Käufer "A" & Söhne',
    id: { tenant: 'zürich/1 \\ 🏖️', number: 7, 'with space': false },
    attachment: 'avatar',
    version,
    storage: 'default',
    keys: ['original', 'thumb'].map((style) => `users/${version}/${style}/it's 100% <me>.webp`),
    staged: [],
  }
}

/** What a job came to that did nothing. */
export const report: JobReport = { result: 'done', styles: [], bytes: 0 }

/** How a job is carried where nothing is said about it. */
export function sendingOf(job: Job, said: Partial<Sending> = {}): Sending {
  return { key: keyOf(job), queue: 'default', priority: 0, delay: 0, attempts: 5, performNow: async () => undefined, ...said }
}

/** As text, the members of objects in one order; what is no plain JSON is told by its kind, in whatever realm it was made. */
export function textOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`
  const kind = Object.prototype.toString.call(value)
  if (kind !== '[object Object]') return typeof value === 'object' && value !== null ? kind : `${JSON.stringify(value)}`
  const members = Object.entries(value as object).sort(([one], [other]) => (one < other ? -1 : 1))
  return `{${members.map(([name, member]) => `${name}: ${textOf(member)}`).join(', ')}}`
}
