import type { AddressInfo } from 'node:net'
import express from 'express'
import { attachments, dataSource, pool } from './attachments'
import { askFor } from './jobs'
import { Report } from './report'

const app = express().use(express.urlencoded({ extended: false }), express.json())

app.get('/', (_, response) => {
  response.send(`<!doctype html>
    <meta charset="utf-8"><title>Reports</title>
    <body style="max-width: 30rem; margin: 3rem auto; font: 1rem/1.8 system-ui, sans-serif">
    <h1>Reports</h1>
    <form method="post" action="/reports">
      <label>Title <input name="title" value="Harvest" required></label><br>
      <label>Pages <input name="pages" type="number" value="200" min="1" max="2000" required></label><br>
      <button>Make a PDF</button>
    </form>`)
})

app.post('/reports', async ({ body }, response) => {
  const [title, pages] = [String(body?.title ?? ''), Number(body?.pages)]
  if (!title || !Number.isInteger(pages) || pages < 1 || pages > 2000) {
    response.status(400).json({ error: 'give a title, and from 1 to 2000 pages' })
    return
  }
  const report = await dataSource.transaction(async (manager) => {
    const made = await manager.save(manager.create(Report, { title, pages }))
    await askFor(made, manager)
    return made
  })
  response.redirect(303, `/reports/${report.id}`)
})

app.get('/reports/:id', async (request, response) => {
  const id = Number(request.params.id)
  const report = Number.isInteger(id) ? await dataSource.getRepository(Report).findOneBy({ id }) : null
  if (!report) {
    response.status(404).json({ error: 'there is no such report' })
    return
  }
  const { state, document } = report
  if (state === 'done') {
    const url = await document.signedUrl('original', { expiresIn: 3600, fileName: `report-${id}.pdf` })
    response.set('Cache-Control', 'no-store').redirect(303, url as string)
  } else if (state === 'failed') {
    response.status(500).json({ state, error: report.problem ?? document.error?.message })
  } else {
    // a program is told when to ask again, and a browser does it by itself
    response.status(202).set({ 'Retry-After': '1', Refresh: '1' }).json({ state })
  }
})

async function start(): Promise<void> {
  await dataSource.initialize()
  await attachments.connect(dataSource)
  const server = app.listen(Number(process.env['PORT'] ?? 3000), () => {
    console.log(`listening on port ${(server.address() as AddressInfo).port}`)
  })
  process.once('SIGTERM', () => {
    server.close(async () => {
      await attachments.close()
      await dataSource.destroy()
      await pool.end()
    })
  })
}

start()
