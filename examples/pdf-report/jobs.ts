import type { Task } from 'graphile-worker'
import { type EntityManager, IsNull } from 'typeorm'
import { AttachmentError } from 'typeorm-attachments'
import { attachments, dataSource, notifier } from './attachments'
import { render } from './render'
import { Report } from './report'

/** Writes down that a report is to be rendered, in the transaction of `manager`: there is a job if, and only if, there is a report. */
export async function askFor({ id }: Report, manager: EntityManager): Promise<void> {
  await manager.query(`SELECT graphile_worker.add_job('render_report', json_build_object('id', $1::int), job_key => 'report ' || $1)`, [id])
}

/** Renders a report, and attaches it as it comes. Which file it is, is recorded by save(), which also asks for its storing. */
export const renderReport: Task = async (payload, { job }) => {
  const reports = dataSource.getRepository(Report)
  const report = await reports.findOneBy({ id: (payload as { id: number }).id })
  if (report?.state !== 'rendering') return
  try {
    await attachments.attach(report, 'document', render(report), { fileName: `${report.title}.pdf` })
    await reports.save(report)
  } catch (error) {
    const mayHelp = error instanceof AttachmentError ? error.retryable : true
    if (mayHelp && job.attempts < job.max_attempts) throw error
    await reports.update(report.id, { problem: (error as Error).message })
    await notifier.notify(noDocument(report), (sql, parameters) => reports.query(sql, [...parameters]))
  }
}

/** What the library would say of a file that has failed: this report has got none. */
const noDocument = ({ id }: Report) =>
  ({ entity: 'Report', id: { id }, attachment: 'document', version: '', state: 'failed', from: 'render_report' }) as const

/** Asks again for what nobody renders any more: Graphile Worker gives the job of a killed worker to another after four hours only. */
export async function askForLost(): Promise<void> {
  const lost = await dataSource.getRepository(Report).findBy({ problem: IsNull(), document: { version: IsNull() } })
  for (const report of lost) await askFor(report, dataSource.manager)
}
