import type { Sending } from './adapter'
import type { Job } from './job'

export type GraphileSql = ReturnType<typeof graphileSql>

/** What marks our advisory locks among others': "att" in ASCII. */
const mark = 0x617474

/** The greatest priority that fits into Graphile Worker's column. */
const lastPriority = 32_767

/** Attempts that the engine may count and we do not: of workers that ended before they told. */
const spare = 20

/** How ids of our workers begin. */
export const workerPrefix = 'attachments-'

/** The task of a queue: what others call a queue has this name in Graphile Worker, where queues are for jobs one after the other. */
export function taskOf(queue: string): string {
  return queue === 'default' ? 'attachments' : `attachments:${queue}`
}

/** Jobs for the statement `add`. Twins are one. */
export function specsOf(jobs: ReadonlyArray<readonly [Job, Sending]>): string {
  const specs = jobs.map(([job, { key, queue, priority, delay, attempts }]) => [
    key,
    { key, task: taskOf(queue), payload: job, delay, priority: Math.min(priority, lastPriority), attempts: attempts + spare },
  ])
  return JSON.stringify(Object.values(Object.fromEntries(specs)))
}

/** What is said to Graphile Worker, by the functions and the view that it has for others. */
export function graphileSql(name: string) {
  const schema = `"${name.replaceAll('"', '""')}"`
  const jobs = `${schema}.jobs`

  /**
   * Something about a job that failed, as soon as the engine has let go of it. $1: its id, $2: its attempts, $3: who had it.
   * One row: `held`, he has it still, and nothing was done.
   */
  const released = (call: string) => `
    SELECT EXISTS (SELECT FROM ${jobs} WHERE id = $1 AND locked_by = $3) AS held, (SELECT count(*) FROM ${schema}.${call})`
  const id = `ARRAY(SELECT id FROM ${jobs} WHERE id = $1 AND attempts = $2 AND locked_by IS NULL)`

  return {
    /** One row: which database of which server that runs, and whether the queue is `installed` there. */
    place: `
      SELECT current_database() || to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', ' YYYYMMDDHH24MISSUS') AS place,
        to_regclass('${jobs.replaceAll("'", "''")}') IS NOT NULL AS installed`,

    /**
     * $1: jobs, by `specsOf()`. One that waits under its key keeps its place, or its delay would begin anew with each look for lost
     * jobs. One that runs gives its key to a new one, and one that has failed goes, or each look would leave another.
     */
    add: `
      WITH given AS (
        SELECT * FROM json_to_recordset($1::json) AS job (key text, task text, payload json, delay float8, priority int, attempts int))
      SELECT (SELECT count(*) FROM ${schema}.complete_jobs(ARRAY(
          SELECT id FROM ${jobs} WHERE key IN (SELECT key FROM given) AND attempts >= max_attempts AND locked_by IS NULL))),
        (SELECT count(*) FROM ${schema}.add_jobs(ARRAY(
          SELECT ROW(task, payload, NULL, clock_timestamp() + delay * interval '1 ms', attempts, key, priority, NULL)::${schema}.job_spec
          FROM given), true))`,

    /** $4: milliseconds until the next attempt, $5: attempts that count. */
    later: released(`reschedule_jobs(${id}, run_at => clock_timestamp() + $4 * interval '1 ms', attempts => $5)`),

    /** $4: why it is not tried again. */
    failed: released(`permanently_fail_jobs(${id}, $4)`),

    /** $1: a worker who lives as long as this connection. A machine that is cut off is missed after 25 seconds. */
    live: `
      SELECT pg_advisory_lock_shared(${mark}, hashtext($1)), set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)`,

    /** Workers of ours who hold jobs and do not live. */
    dead: `
      SELECT DISTINCT locked_by AS id FROM ${jobs} WHERE starts_with(locked_by, '${workerPrefix}') AND NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = ${mark}
        AND objid = hashtext(locked_by)::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`,

    /** Until the end of the transaction nobody else buries anybody. */
    oneAtATime: `SELECT pg_advisory_xact_lock(${mark})`,

    /** $1: workers. Ids of their jobs, as one list. */
    heldBy: `SELECT ARRAY(SELECT id FROM ${jobs} WHERE locked_by = ANY($1) AND attempts < max_attempts) AS ids`,

    /** $1: workers, whose jobs are free again. */
    unlock: `SELECT ${schema}.force_unlock_workers($1)`,

    /** $1: ids of jobs whose attempt does not count. */
    uncount: `SELECT ${schema}.reschedule_jobs(ARRAY[id], attempts => attempts - 1) FROM ${jobs} WHERE id = ANY($1)`,
  }
}

/** What the engine has to say to whoever runs it. */
export function say(message: string): void {
  process.emitWarning(`Graphile Worker: ${message}`, 'AttachmentWarning')
}
