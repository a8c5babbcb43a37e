import { expect, inject, it, onTestFinished } from 'vitest'
import { type App, deploy, serversFor } from './support/app'
import { startFaultProxy } from './support/fault-proxy'

/** Of a test that starts several programs. Milliseconds. */
const timeout = 240_000
/** For a state to be reached. */
const patience = { timeout: 120_000, interval: 100 }

it(
  'a report is rendered and stored by the worker, also after one was killed, and then is a file to save for an hour',
  async () => {
    let reached: () => void
    const halfWay = new Promise<void>((resolve) => {
      reached = resolve
    })
    let killing = false
    const proxy = await startFaultProxy(inject('s3').endpoint, (_, __, hasBody) => (killing && hasBody ? reached : undefined))
    onTestFinished(() => proxy.stop())
    const { config, keys } = await serversFor()
    const app = await deploy('pdf-report', { ...config, S3_ENDPOINT: proxy.url })
    const report = await order(app, { title: 'Harvest', pages: 100 })
    const waiting = await ask(report)
    expect([waiting.status, await waiting.json()]).toEqual([202, { state: 'rendering' }])

    killing = true
    const victim = await app.work()
    await halfWay
    await victim.end('SIGKILL')
    killing = false
    expect((await ask(report)).status).toBe(202)

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
    await expect.poll(keys, patience).toEqual([expect.stringMatching(/^reports\/.*\.pdf$/)])
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
