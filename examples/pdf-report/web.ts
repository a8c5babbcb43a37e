import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import express from 'express'
import { type Attached, toNodeHandler } from 'typeorm-attachments'
import { attachments, dataSource, pool } from './attachments'
import { askFor } from './jobs'
import { tellRendered } from './news'
import { home, single } from './pages'
import { Report } from './report'

const reports = dataSource.getRepository(Report)
const app = express().use(express.urlencoded({ extended: false }), express.json())

app.get('/', async (_, response) => {
  response.send(home(await reports.find({ order: { id: 'DESC' }, take: 10 })))
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

/** Browsers get a page that is told how far it is, programs an answer in JSON. */
app.get('/reports/:id', async (request, response) => {
  const id = Number(request.params.id)
  const report = Number.isInteger(id) ? await reports.findOneBy({ id }) : null
  if (!report) {
    response.status(404).json({ error: 'there is no such report' })
    return
  }
  const { state, document } = report
  response.set('Cache-Control', 'no-store').vary('Accept')
  if (request.accepts(['json', 'html']) === 'html') response.send(single(report))
  else if (state === 'done') response.redirect(303, (await addressOf(document, id)) as string)
  else if (state === 'failed') response.status(500).json({ state, error: report.problem ?? document.error?.message })
  else response.status(202).set('Retry-After', '1').json({ state })
})

/** Where the document can be saved, for an hour. */
function addressOf(document: Attached, id: unknown): Promise<string | null> {
  return document.signedUrl('original', { expiresIn: 3600, fileName: `report-${id}.pdf` })
}

app.get('/reports/:id/rendered', tellRendered)
app.use(
  '/watch',
  toNodeHandler(
    attachments.watch({ show: async (document, { id }) => ({ url: await addressOf(document, id['id']), problem: document.error?.message }) }),
  ),
)
const files = {
  'page.css': join(__dirname, 'page.css'),
  'page.mjs': join(__dirname, 'page.mjs'),
  'client.mjs': require.resolve('typeorm-attachments/client'),
}
// pnpm keeps packages in a folder whose name begins with a dot
for (const [name, file] of Object.entries(files)) app.get(`/${name}`, (_, response) => response.sendFile(file, { dotfiles: 'allow' }))

async function start(): Promise<void> {
  await dataSource.initialize()
  await attachments.connect(dataSource)
  const server = app.listen(Number(process.env['PORT'] ?? 3000), () => {
    console.log(`listening on port ${(server.address() as AddressInfo).port}`)
  })
  process.once('SIGTERM', async () => {
    server.close()
    await attachments.close()
    // pages that wait connect to whoever comes next
    server.closeAllConnections()
    await dataSource.destroy()
    await pool.end()
  })
}

start()
