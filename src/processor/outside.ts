import { UsageError } from '../errors'
import type { Format } from '../style/style'
import type { HandedOn, Processor } from './processor'

export interface OutsideProcessorOptions {
  /** Content types that the service reads. */
  reads: (contentType: string) => boolean
  /** The form of a style that declares none. */
  format: Format
  /** Milliseconds that the service may take. Default 10 minutes; at most 12 hours. */
  within?: number
  /** Tells the service what to make: a request to it, a message on its queue. Rejects where it could not be told. */
  hand: (handed: HandedOn) => Promise<void>
}

const longest = 12 * 60 * 60_000

/**
 * Lets a service outside make the styles: it is told where the original is and where each result goes, and it brings that when it
 * has it. The staging has to be `s3Storage`, whose events come to `handleObjectCreated()`.
 */
export function outsideProcessor({ reads, format, within = 10 * 60_000, hand }: OutsideProcessorOptions): Processor {
  if (!Number.isFinite(within) || within < 1000 || within > longest)
    throw new UsageError('bad_deadline', `within must be milliseconds, from 1,000 to ${longest} (twelve hours), not ${within}`)
  return {
    reads,
    formatFor: () => format,
    outside: () => ({ within, hand }),
    // never asked: what is outside is handed on
    async *process() {},
  }
}
