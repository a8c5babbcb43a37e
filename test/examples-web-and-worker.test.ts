import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { Queue } from 'bullmq'
import type { Page } from 'playwright-core'
import sharp, { type Metadata } from 'sharp'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { type App, deploy, serversFor as newServers } from './support/app'
import { browserPages } from './support/browser'
import { startFaultProxy } from './support/fault-proxy'
import { jpeg, png } from './support/pictures'
import { scene } from './support/scenes'
import { phone, screenshot } from './support/screenshot'
import { filesIn } from './support/world'

/** Of a test that starts several programs. Milliseconds. */
const timeout = 240_000
/** For a state to be reached. BullMQ gives a killed worker's job to another after 20 seconds. */
const patience = { timeout: 120_000, interval: 100 }

const redis = inject('redis')

describe.each(['Redis', 'PostgreSQL'])('web and worker, with jobs in %s', (queue) => {
  it.skipIf(queue === 'Redis' && redis === null)(
    'an upload is shown from a closed bucket, also after a worker was killed half-way',
    async () => {
      let [uploaded, halfWay] = [false, false]
      // a worker that reads what is staged gets no answer
      const reading = () => {
        halfWay = true
      }
      const proxy = await startFaultProxy(inject('s3').endpoint, (operation) =>
        operation === 'GetObject' && uploaded && !halfWay ? reading : undefined,
      )
      onTestFinished(() => proxy.stop())
      const { config, keys } = await serversFor()
      const app = await deploy('web-and-worker', { ...config, S3_ENDPOINT: proxy.url, ...(queue === 'Redis' && { REDIS_URL: redisForTest() }) })
      const picture = await jpeg(1600, 900)
      const page = await upload(app, picture, 'Käse & <Brot>.jpg')
      expect(await stateOf(page)).toBe('processing')
      expect(await stateOf(app.url)).toBe('processing')
      const early = await fetch(`${page}/original`)
      expect(digestOf(await early.arrayBuffer())).toBe(digestOf(picture))

      uploaded = true
      const victim = await app.work()
      await expect.poll(() => halfWay, patience).toBe(true)
      await victim.end('SIGKILL')
      expect(await stateOf(page)).toBe('processing')

      const worker = await app.work()
      await expect.poll(() => stateOf(page), patience).toBe('processed')
      const addresses = await addressesOn(page)
      expect(await Promise.all(addresses.map(shown))).toMatchObject(
        [400, 800, 1600].map((width) => ({ format: 'webp', width, height: (width * 9) / 16 })),
      )
      const original = await fetch(`${page}/original`)
      expect(digestOf(await original.arrayBuffer())).toBe(digestOf(picture))
      if (inject('s3').faithful) {
        expect(original.headers.get('content-disposition')).toContain("filename*=UTF-8''K%C3%A4se%20%26%20%3CBrot%3E.jpg")
        const [address] = (addresses[0] as string).split('?')
        expect((await fetch(address as string)).status).toBe(403)
      }
      // nothing is left in the staging, nor on the disks, of which each process has its own
      await expect.poll(keys, patience).toSatisfy((all: string[]) => all.length === 4 && all.every((key) => key.startsWith('photos/')))
      const files = (await readdir('examples/web-and-worker')).sort()
      for (const dyno of [app.web, victim, worker]) expect(await filesOn(dyno)).toEqual(files)
      expect(await Promise.all([app.web.end('SIGTERM'), worker.end('SIGTERM')])).toEqual([0, 0])
    },
    timeout,
  )
})

it(
  'web and worker: what is not taken is refused in words, and what cannot be processed says why',
  async () => {
    const { config } = await serversFor()
    const app = await deploy('web-and-worker', config)
    const text = await send(app, Buffer.from('no picture'), 'me.jpg')
    expect([text.status, await text.text()]).toEqual([415, expect.stringContaining('That is no picture')])
    // what comes after it is not waited for
    const two = await send(app, Buffer.from('no picture'), 'me.jpg', await jpeg(2000, 2000))
    expect(two.status).toBe(415)
    const nothing = await send(app, Buffer.alloc(0), '')
    expect([nothing.status, nothing.headers.get('location')]).toEqual([303, '/'])
    const empty = await send(app, Buffer.alloc(0), 'me.jpg')
    expect([empty.status, await empty.text()]).toEqual([400, expect.stringContaining('choose a picture')])
    for (const path of ['photos/1', 'photos/1/original', 'photos/x']) expect((await fetch(app.url + path)).status).toBe(404)
    expect((await fetch(`${app.url}watch?token=forged`)).status).toBe(403)

    const whole = await png()
    const page = await upload(app, whole.subarray(0, whole.length / 2), 'half.png')
    await app.work()
    await expect.poll(() => stateOf(page), patience).toBe('failed')
    expect(await textOf(page)).toContain('corrupt_image')
    expect(await textOf(app.url)).toContain('half.png could not be processed')
  },
  timeout,
)

/** The same pictures as a person sees them. */
describe.skipIf(inject('chromium') === null).each(['Redis', 'PostgreSQL'])('in Chromium, with jobs in %s', (queue) => {
  const newPage = browserPages()

  it.skipIf(queue === 'Redis' && redis === null)(
    'pictures come into the gallery by themselves, and nothing jumps',
    async () => {
      // now and then S3 takes nothing from the worker, which tries again
      let closed = false
      const proxy = await startFaultProxy(inject('s3').endpoint, (operation) => (closed && operation === 'PutObject' ? 'unavailable' : undefined))
      onTestFinished(() => proxy.stop())
      const { config } = await serversFor()
      Object.assign(config, queue === 'Redis' && { REDIS_URL: redisForTest() })
      const app = await deploy('web-and-worker', config)
      Object.assign(config, { S3_ENDPOINT: proxy.url })
      const page = await newPage({ viewport: phone })
      await page.goto(app.url)

      const asked: string[] = []
      page.on('request', (request) => request.url().startsWith(app.url) && asked.push(`${request.method()} ${new URL(request.url()).pathname}`))
      await choose(page, { 'night.jpg': ['night', 1200, 1200], 'fjord.jpg': ['fjord', 900, 1200], 'autumn.jpg': ['autumn', 1600, 900] })
      await expect.poll(() => page.getByRole('progressbar').count()).toBe(3)
      await page.waitForLoadState()
      const before = await placesOf(page)
      const first = await app.work()
      await expect.poll(() => widthsOf(page), patience).toHaveLength(3)
      expect(await placesOf(page)).toEqual(before)
      expect(await page.getByRole('status').textContent()).toMatch(/^\w+\.jpg: ready$/)
      expect(await page.getByRole('progressbar').count()).toBe(0)
      // the page has asked for one stream, and for nothing again
      expect(asked.sort()).toEqual(['GET /', 'GET /client.mjs', 'GET /page.css', 'GET /page.mjs', 'GET /watch', 'POST /photos'])

      // progress is told to who listens by then
      expect(await first.end('SIGTERM')).toBe(0)
      const listening = page.waitForResponse(/watch/)
      await choose(page, { 'Käse & <Brot>.jpg': ['desert', 1500, 1000], 'evening.jpg': ['evening', 900, 1200] })
      await listening
      closed = true
      const worker = await app.work()
      await expect.poll(() => progressOf(page, 'evening.jpg'), patience).toBe('0.25')
      // who opens the page now sees what the pictures will look like
      const other = await newPage({ viewport: phone })
      const placeholders = async () => {
        await other.goto(app.url)
        return other.locator('img[src^="data:image/png"]').count()
      }
      await expect.poll(placeholders, patience).toBe(2)
      await screenshot(other, 'gallery')
      closed = false
      for (const each of [page, other]) await expect.poll(() => widthsOf(each), patience).toHaveLength(5)

      await page.getByRole('link', { name: 'Käse & <Brot>.jpg' }).press('Enter')
      await expect.poll(() => page.getByRole('heading').textContent()).toBe('Käse & <Brot>.jpg')
      await expect.poll(() => widthsOf(page)).toHaveLength(1)

      // pages that wait keep nobody from ending
      expect(await worker.end('SIGTERM')).toBe(0)
      await page.goto(app.url)
      const stream = page.waitForResponse(/watch/)
      await choose(page, { 'morning.jpg': ['morning', 1200, 900] })
      await stream
      expect(await app.web.end('SIGTERM')).toBe(0)
    },
    timeout,
  )
})

/** Chooses these landscapes and sends them, by the keyboard. */
async function choose(page: Page, scenes: Record<string, [scene: string, width: number, height: number]>): Promise<void> {
  const pictures = Object.entries(scenes).map(async ([name, its]) => ({ name, mimeType: 'image/jpeg', buffer: await scene(...its) }))
  await page.getByLabel('Pictures', { exact: true }).setInputFiles(await Promise.all(pictures))
  await page.getByRole('button', { name: 'Upload' }).press('Enter')
}

function progressOf(page: Page, name: string): Promise<string | null> {
  return page.getByRole('progressbar', { name }).getAttribute('value')
}

/** The pictures that are there, by how wide they came. */
async function widthsOf(page: Page): Promise<number[]> {
  const widths = await page
    .locator('img')
    .evaluateAll((images) => images.map((image) => Object(image).currentSrc.startsWith('http') && Object(image).naturalWidth))
  return widths.filter((width) => width > 0)
}

/** Where the pictures are on the page. */
function placesOf(page: Page): Promise<unknown> {
  return page.locator('.gallery li').evaluateAll((items) => items.map((item) => JSON.stringify(Object(item).getBoundingClientRect())))
}

/** New servers, and what web and worker sign with. */
async function serversFor() {
  const { config, keys } = await newServers()
  return { config: { ...config, SECRET: 'as long as secrets have to be, or longer' }, keys }
}

/** Sends a picture as the form does; the address of its page, the first of an app. */
async function upload(app: App, picture: Uint8Array, name: string): Promise<string> {
  const answer = await send(app, picture, name)
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
  return `${app.url}photos/1`
}

function send(app: App, picture: Uint8Array, name: string, ...others: Uint8Array[]): Promise<Response> {
  const body = new FormData()
  for (const each of [picture, ...others]) body.append('pictures', new File([new Uint8Array(each)], name, { type: 'image/jpeg' }))
  return fetch(`${app.url}photos`, { method: 'POST', body, redirect: 'manual' })
}

async function textOf(page: string): Promise<string> {
  return (await fetch(page)).text()
}

async function stateOf(page: string): Promise<string | undefined> {
  return stateIn(await textOf(page))
}

function stateIn(html: string): string | undefined {
  return /data-state="(\w+)"/.exec(html)?.[1]
}

/** Where a page says that a picture is, smallest first. */
async function addressesOn(page: string): Promise<string[]> {
  const [, srcset = ''] = /srcset="([^"]+)"/.exec(await textOf(page)) ?? []
  return srcset
    .replaceAll('&#38;', '&')
    .split(', ')
    .map((candidate) => candidate.split(' ')[0] as string)
}

/** What a browser would see there. */
async function shown(address: string): Promise<Metadata> {
  const answer = await fetch(address)
  expect(answer.status).toBe(200)
  return sharp(await answer.arrayBuffer()).metadata()
}

async function filesOn({ disk }: { disk: string }): Promise<string[]> {
  return (await filesIn(disk)).filter((file) => !file.startsWith('node_modules'))
}

function digestOf(bytes: ArrayBuffer | Uint8Array): string {
  return createHash('sha256').update(new Uint8Array(bytes)).digest('hex')
}

/** Where the tests' Redis is. What the example puts there is taken out when the test ends. */
function redisForTest(): string {
  const url = redis as string
  onTestFinished(async () => {
    const queue = new Queue('photos', { connection: { url } })
    await queue.obliterate({ force: true })
    await queue.close()
  })
  return url
}
