import { codeOf, messageOf } from '../errors'
import { type JobReport, type Perform, TryLater } from './adapter'
import { checkJob, type Job } from './job'

/** What a worker tells of a job when it has performed it. */
export interface PerformedJob extends Omit<JobReport, 'result'> {
  readonly job: Job
  /** Counts from 1. */
  readonly attempt: number
  /** As in a `JobReport`; or `later`: the job comes again. */
  readonly result: JobReport['result'] | 'later'
  /** Milliseconds until it is to come again. */
  readonly delay?: number
  /** Milliseconds that this attempt took. */
  readonly ms: number
}

/** Performs, keeps in `running` the jobs that are under way, and tells of each how it ended. */
export function telling(perform: Perform, running: Set<Job>, tell: (performed: PerformedJob) => void): Perform {
  return async (given, attempt, told) => {
    const job = checkJob(given)
    const began = performance.now()
    const ended = (report: Omit<PerformedJob, 'job' | 'attempt' | 'ms'>) => {
      running.delete(job)
      try {
        tell({ ...report, job, attempt, ms: Math.round(performance.now() - began) })
      } catch (error) {
        // the job is done, whatever becomes of its telling
        process.emitWarning(`onJob failed: ${messageOf(error)}`, 'AttachmentWarning')
      }
    }
    running.add(job)
    try {
      const report = await perform(job, attempt, told)
      ended(report)
      return report
    } catch (error) {
      ended(reportOf(error))
      throw error
    }
  }
}

function reportOf(error: unknown): Omit<PerformedJob, 'job' | 'attempt' | 'ms'> {
  const cause = error instanceof TryLater ? error.cause : error
  const nothing = { styles: [], bytes: 0, error: { code: codeOf(cause), message: messageOf(cause).slice(0, 1000) } }
  return error instanceof TryLater ? { result: 'later', delay: error.delay, ...nothing } : { result: 'failed', ...nothing }
}
