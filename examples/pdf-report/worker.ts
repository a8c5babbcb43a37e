import { run } from 'graphile-worker'
import { attachments, dataSource, pool } from './attachments'
import { askForLost, renderReport } from './jobs'

async function start(): Promise<void> {
  await dataSource.initialize()
  await attachments.connect(dataSource)
  await askForLost()
  const worker = await attachments.work({ concurrency: 2 })
  const runner = await run({ pgPool: pool, taskList: { render_report: renderReport }, concurrency: 1, noHandleSignals: true })
  process.once('SIGTERM', async () => {
    await runner.stop()
    await worker.stop()
    await attachments.close()
    await dataSource.destroy()
    await pool.end()
  })
}

start()
