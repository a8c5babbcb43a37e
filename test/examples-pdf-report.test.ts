import type { Page } from 'playwright-core'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { type App, deploy, serversFor as newServers } from './support/app'
import { browserPages } from './support/browser'
import { startFaultProxy } from './support/fault-proxy'
import { phone, screenshot } from './support/screenshot'

/** Of a test that starts several programs. Milliseconds. */
const timeout = 240_000
/** For a state to be reached. */
const patience = { timeout: 120_000, interval: 100 }

it(
  'a report is rendered and stored by the worker, also after one was killed, and then is a file to save for an hour',
  async () => {
    let [ordered, halfWay, killed] = [false, false, false]
    // a worker that sends what it renders gets no answer, however often it tries
    const sending = () => {
      halfWay = true
    }
    const proxy = await startFaultProxy(inject('s3').endpoint, (operation) => (operation === 'PutObject' && ordered && !killed ? sending : undefined))
    onTestFinished(() => proxy.stop())
    const { config, keys } = await serversFor()
    const app = await deploy('pdf-report', { ...config, S3_ENDPOINT: proxy.url })
    const victim = await app.work()
    // the sweep of the staging writes too, and then deletes what it wrote
    await expect.poll(() => proxy.operations, patience).toContain('DeleteObjects')
    ordered = true
    const report = await order(app, { title: 'Harvest', pages: 100 })
    await expect.poll(() => halfWay, patience).toBe(true)
    await victim.end('SIGKILL')
    killed = true
    const waiting = await ask(report)
    expect([waiting.status, await waiting.json()]).toEqual([202, { state: 'rendering' }])

    const worker = await app.work()
    await expect.poll(async () => (await ask(report)).status, patience).toBe(303)
    const address = (await ask(report)).headers.get('location') as string
    expect(new URL(address).searchParams.get('X-Amz-Expires')).toBe('3600')
    const file = await fetch(address)
    expect([file.status, file.headers.get('content-type')]).toEqual([200, 'application/pdf'])
    if (inject('s3').faithful) {
      expect(file.headers.get('content-disposition')).toBe('attachment; filename=report-1.pdf')
      expect((await fetch(address.split('?')[0] as string)).status).toBe(403)
    }
    const pdf = Buffer.from(await file.arrayBuffer()).toString('latin1')
    expect(pdf).toMatch(/^%PDF-/)
    expect(pdf.match(/\/Type \/Page\n/g)).toHaveLength(100)
    expect(pdf.trimEnd()).toMatch(/%%EOF$/)
    // what the killed worker was sending may have arrived all the same: nobody saved it, and it is swept after a day
    const inOrder = async () => (await keys()).map((key) => key.split('/')[0]).sort()
    await expect.poll(async () => [['reports'], ['reports', 'staging']].map(String).includes(String(await inOrder())), patience).toBe(true)
    expect(await Promise.all([app.web.end('SIGTERM'), worker.end('SIGTERM')])).toEqual([0, 0])
  },
  timeout,
)

it(
  'a report that cannot be made says why',
  async () => {
    const app = await deploy('pdf-report', (await serversFor()).config)
    const nothing = await fetch(`${app.url}reports`, { method: 'POST', body: new URLSearchParams({ title: 'Harvest', pages: 'all' }) })
    expect(nothing.status).toBe(400)
    expect((await ask(`${app.url}reports/1`)).status).toBe(404)

    const report = await order(app, { title: 'Too much', pages: 2000 })
    await app.work()
    await expect.poll(async () => (await ask(report)).status, patience).toBe(500)
    expect(await (await ask(report)).json()).toEqual({ state: 'failed', error: expect.stringContaining('larger than') })
  },
  timeout,
)

describe.skipIf(inject('chromium') === null)('in Chromium', () => {
  const newPage = browserPages()

  it(
    'the link to a report comes by itself, and so does why there is none',
    async () => {
      const app = await deploy('pdf-report', (await serversFor()).config)
      const page = await newPage({ viewport: phone })
      await page.goto(app.url)
      const asked: string[] = []
      page.on('request', (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`))
      await fill(page, { title: 'Harvest <2026>', pages: 200 })
      await expect.poll(() => page.getByRole('status').textContent(), patience).toBe('Being rendered …')
      expect(await page.getByRole('progressbar', { name: 'Harvest <2026>' }).count()).toBe(1)

      const worker = await app.work()
      const link = page.getByRole('link', { name: 'Save the PDF' })
      await expect.poll(() => link.count(), patience).toBe(1)
      expect(await page.getByRole('status').textContent()).toBe('Your report is ready.')
      const file = await fetch((await link.getAttribute('href')) as string)
      expect([file.status, file.headers.get('content-type')]).toEqual([200, 'application/pdf'])
      // two streams, one after the other, and nothing asked again
      const files = ['GET /client.mjs', 'GET /page.css', 'GET /page.mjs']
      expect(asked.sort()).toEqual([...files, 'GET /reports/1', 'GET /reports/1/rendered', 'GET /watch', 'POST /reports'])
      await screenshot(page, 'report')

      await page.getByRole('link', { name: 'All reports' }).click()
      expect(await page.getByRole('link', { name: 'Harvest <2026>' }).count()).toBe(1)
      await fill(page, { title: 'Too much', pages: 2000 })
      await expect.poll(() => page.getByRole('status').textContent(), patience).toContain('larger than')
      expect(await page.getByRole('progressbar').count()).toBe(0)

      // pages that wait keep nobody from ending
      await worker.end('SIGTERM')
      await page.goto(app.url)
      await fill(page, { title: 'Never', pages: 1 })
      await expect.poll(() => page.getByRole('status').textContent(), patience).toBe('Being rendered …')
      expect(await app.web.end('SIGTERM')).toBe(0)
    },
    timeout,
  )
})

/** Orders a report by the form, with the keyboard. */
async function fill(page: Page, { title, pages }: { title: string; pages: number }): Promise<void> {
  await page.getByLabel('Title').fill(title)
  await page.getByLabel('Pages').fill(String(pages))
  await page.keyboard.press('Enter')
}

/** New servers, and what web and worker sign with. */
async function serversFor() {
  const { config, keys } = await newServers()
  return { config: { ...config, SECRET: 'as long as secrets have to be, or longer' }, keys }
}

/** Asks for a report as the form does; the address that it leads to. */
async function order(app: App, { title, pages }: { title: string; pages: number }): Promise<string> {
  const body = new URLSearchParams({ title, pages: String(pages) })
  const answer = await fetch(`${app.url}reports`, { method: 'POST', body, redirect: 'manual' })
  expect(answer.status).toBe(303)
  return new URL(answer.headers.get('location') as string, app.url).href
}

function ask(report: string): Promise<Response> {
  return fetch(report, { redirect: 'manual' })
}
