import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { BrowserContextOptions, Locator, Page, Request } from 'playwright-core'
import sharp from 'sharp'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { upload } from '../examples/demo/picture'
import { freePort } from '../examples/services/throw-away'
import { type App, deploy, serversFor } from './support/app'
import { browserPages } from './support/browser'
import { bucketEvents } from './support/bucket-events'
import { jpeg, photo, png } from './support/pictures'
import { folder } from './support/world'

type Box = NonNullable<Awaited<ReturnType<Locator['boundingBox']>>>

/** Of a test that starts several programs. Milliseconds. */
const timeout = 240_000
/** For a state to be reached. The gateway looks for new topics every 30 seconds. */
const patience = { timeout: 120_000, interval: 100 }

const { sendsEvents, endpoint } = inject('s3')
const [mqtt, mqttPages] = [inject('mqtt'), inject('mqttPages')]
const broker = mqtt && mqttPages ? { MQTT_URL: mqtt, MQTT_WEBSOCKET_URL: mqttPages } : undefined

describe.skipIf(!sendsEvents || inject('chromium') === null)('direct upload', () => {
  const newPage = browserPages()

  /** The example with these of its processes, and its page. */
  async function setUp(names: readonly string[], broker: Record<string, string> = {}, screen: BrowserContextOptions = {}) {
    const { config, keys } = await serversFor()
    const [functions, converter] = [await freePort(), await freePort()]
    const ports = { FUNCTIONS_PORT: String(functions), CONVERTER_PORT: String(converter) }
    const app = await deploy('direct-upload', { ...config, ...ports, ...broker, SECRET: 'as long as secrets have to be, or longer' })
    const url = `http://127.0.0.1:${functions}/`
    // where nobody listens at all, the gateway would give the events up for good
    const unavailable = createServer((_, response) => void response.writeHead(503, { connection: 'close' }).end()).listen(functions, '127.0.0.1')
    onTestFinished(() => void unavailable.close())
    async function beginFunctions() {
      await new Promise((closed) => unavailable.close(closed))
      return app.work('functions')
    }
    await bucketEvents({ bucket: config['BUCKET'] as string, filter: { prefix: 'staging/' }, url, persistent: true })
    const others = await Promise.all(names.map((name) => app.work(name)))
    const page = await newPage(screen)
    const requests: Request[] = []
    page.on('request', (request) => requests.push(request))
    await page.goto(app.url)
    return { app, others, page, keys, requests, beginFunctions }
  }

  it(
    'pictures and texts go from the page to S3, and functions make of them what the page shows',
    async () => {
      const { app, others, page, keys, requests, beginFunctions } = await setUp(['converter', 'clock'], broker)
      await page.evaluate(noteProgress)
      await slowLine(page, 4_000_000)
      const large = await photo(3000, 2000).png().toBuffer()
      await page
        .getByLabel('Pictures')
        .setInputFiles(await files({ 'beach.png': large, 'Käse & <Brot>.jpg': await jpeg(640, 480), 'small.png': await png(40, 30) }))
      await page.getByLabel('Texts').setInputFiles(await files({ 'poem.txt': Buffer.from('Über allen Gipfeln\n<ist> & Ruh\n') }))
      // a form takes what it was signed for, and nothing else
      expect(await page.evaluate(sendingTwice)).toEqual({ code: 'EntityTooLarge', status: 400 })

      // no function has run yet: neither jobs nor events are lost by that. What is shown has the shape of the picture already
      await expect.poll(() => stateOf(page, 'beach.png'), patience).toBe('processing')
      const frame = itemOf(page, 'beach.png').locator('.frame')
      const before = (await frame.boundingBox()) as Box
      expect(before.width / before.height).toBeCloseTo(3 / 2, 1)
      others.push(await beginFunctions())

      for (const name of ['beach.png', 'Käse & <Brot>.jpg', 'small.png']) await expect.poll(() => shownWidth(page, name), patience).toBeGreaterThan(0)
      expect(await frame.boundingBox()).toMatchObject({ width: before.width, height: before.height })
      // nobody has polled
      const asked = (path: string) => requests.filter((request) => request.url().startsWith(app.url + path)).map((request) => request.resourceType())
      expect(asked('files')).toEqual(['fetch'])
      expect(new Set(asked('watch'))).toEqual(new Set(['eventsource']))
      // the gateway has not told of the texts yet, or has just done so: they come by the other way
      if (broker) {
        const socket = page.waitForEvent('websocket')
        await page.getByLabel('MQTT').check()
        expect((await socket).url()).toContain(broker.MQTT_WEBSOCKET_URL)
        const streams = asked('watch').filter((type) => type === 'eventsource')
        await page.getByLabel('Pictures').setInputFiles(await files({ 'evening.jpg': await jpeg(300, 400) }))
        await expect.poll(() => shownWidth(page, 'evening.jpg'), patience).toBeGreaterThan(0)
        expect(asked('watch').filter((type) => type === 'eventsource')).toEqual(streams)
      }
      await expect.poll(() => shownWidth(page, 'poem.txt'), patience).toBe(600)
      // progress was seen that was neither the beginning nor the end, under the name of the file
      const seen = (await page.evaluate('seen')) as [name: string, value: number][]
      expect(seen.filter(([name, value]) => name === 'beach.png' && value > 0 && value < 1).length).toBeGreaterThan(0)
      expect(seen.filter(([name, value]) => name === 'beach.png: processing' && value > 0).length).toBeGreaterThan(0)
      expect(await page.getByRole('progressbar').count()).toBe(0)
      await expect.poll(() => page.getByRole('status').textContent()).toMatch(/: (ready|uploaded)$/)

      // what went through the web process is words about files
      const sent = await Promise.all(requests.map(async (request) => ({ to: new URL(request.url()).origin, bytes: await bytesOf(request) })))
      const toApp = sent.filter(({ to }) => app.url.startsWith(to)).map(({ bytes }) => bytes)
      expect(toApp.length).toBeGreaterThan(8)
      expect(Math.max(...toApp)).toBeLessThan(1000)
      const toS3 = sent.filter(({ to, bytes }) => to === endpoint && bytes > 0).map(({ bytes }) => bytes)
      expect(toS3).toHaveLength(broker ? 7 : 6)
      expect(Math.max(...toS3)).toBeGreaterThan(large.length)

      // the functions have left nothing behind, and stop
      await expect.poll(async () => (await keys()).filter((key) => key.startsWith('staging/')), patience).toEqual([])
      expect(await keys()).toHaveLength((broker ? 4 : 3) * 4 + 2 * 2)
      expect(await Promise.all([app.web, ...others].map((dyno) => dyno.end('SIGTERM')))).toEqual([0, 0, 0, 0])
    },
    timeout,
  )

  it(
    'what is not taken is refused in words on the page, and what is cancelled does not come',
    async () => {
      const { app, page, keys } = await setUp([])
      const html = Buffer.from('<!doctype html><title>Hello</title><script>alert(1)</script>')
      await page.getByLabel('Pictures').setInputFiles(await files({ 'me.png': html }))
      await expect.poll(() => page.getByRole('status').textContent(), patience).toMatch(/^me.png: Whatever its name says/)
      expect(await page.locator('#uploads li').textContent()).toMatch(/^me.pngWhatever its name says/)
      await page.getByLabel('Texts').setInputFiles(await files({ 'empty.txt': Buffer.alloc(0) }))
      await expect.poll(() => page.locator('#uploads').textContent(), patience).toContain('The file is empty.')

      // by the keyboard, while the file is on its way
      await slowLine(page, 50_000)
      const slow = await photo(1000, 700).png().toBuffer()
      for (const [label, name] of [
        ['Pictures', 'slow.png'],
        ['Texts', 'slow.txt'],
      ] as const) {
        await page.getByLabel(label, { exact: true }).setInputFiles(await files({ [name]: slow.subarray(0, 900_000) }))
        await expect.poll(() => page.getByRole('progressbar', { name }).evaluate((bar) => Number(Object(bar).value))).toBeGreaterThan(0)
        await page.getByRole('button', { name: `Cancel ${name}` }).focus()
        await page.keyboard.press('Enter')
        await expect.poll(() => page.getByRole('status').textContent()).toBe(`${name}: cancelled`)
        expect(await page.getByLabel(label, { exact: true }).evaluate((input) => input === Object(globalThis)['document'].activeElement)).toBe(true)
      }
      expect(await page.getByLabel('MQTT').isDisabled()).toBe(true)
      expect(await page.getByText('There is no MQTT broker here').isVisible()).toBe(true)
      expect(await (await fetch(`${app.url}files`)).json()).toEqual({ watchTokens: [], broker: null })
      await expect.poll(() => page.locator('#files li:visible').count()).toBe(0)

      // what no page of the example sends
      const announced = { fileName: 'a.txt', contentType: 'text/plain', size: 3 }
      const asVisitor = { cookie: `visitor=${'1'.repeat(32)}` }
      expect(await post(app, 'documents', announced)).toBe(403)
      expect(await post(app, 'uploads', { ...announced, entity: 'Document', property: 'file' })).toBe(403)
      expect(await post(app, 'documents', { ...announced, size: -1 }, asVisitor)).toBe(422)
      expect(await post(app, 'documents', { ...announced, contentType: 'text' }, asVisitor)).toBe(422)
      for (const path of ['photos', 'documents']) expect(await post(app, path, {}, asVisitor)).toBe(400)
      expect((await keys()).filter((key) => key.includes('original'))).toEqual([])
    },
    timeout,
  )

  it.runIf(process.env['SCREENSHOTS'] === '1')(
    'SCREENSHOTS=1 takes the one that the README shows',
    async () => {
      const { page, beginFunctions } = await setUp(['converter'], broker, { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5 })
      const functions = await beginFunctions()
      const { 'woods.jpg': woods, ...first } = await scenery()
      await page.getByLabel('Texts').setInputFiles(await files({ 'goethe.txt': Buffer.from(poem) }))
      await expect.poll(() => shownWidth(page, 'goethe.txt'), patience).toBeGreaterThan(0)
      for (const [name, bytes] of Object.entries(first)) {
        await page.getByLabel('Pictures').setInputFiles(await files({ [name]: bytes }))
        await expect.poll(() => shownWidth(page, name), patience).toBeGreaterThan(0)
      }
      // one that waits for its function, and one on its way
      await functions.end('SIGTERM')
      await page.getByLabel('Pictures').setInputFiles(await files({ 'woods.jpg': woods as Buffer }))
      await expect.poll(() => stateOf(page, 'woods.jpg'), patience).toBe('processing')
      await slowLine(page, 400_000)
      await page.getByLabel('Pictures').setInputFiles(await files({ 'ridge.jpg': await photo(3000, 2000).jpeg().toBuffer() }))
      await expect.poll(() => page.getByRole('progressbar', { name: 'ridge.jpg' }).evaluate((bar) => Number(Object(bar).value))).toBeGreaterThan(0.4)
      const taken = await page.screenshot({ animations: 'disabled' })
      await sharp(taken)
        .png({ palette: true, colours: 96, effort: 10 })
        .toFile(join(import.meta.dirname, '../docs/images/direct-upload.png'))
    },
    timeout,
  )
})

const poem = `Über allen Gipfeln
Ist Ruh,
In allen Wipfeln
Spürest du
Kaum einen Hauch;
Die Vögelein schweigen im Walde.
Warte nur, balde
Ruhest du auch.`

/** What there is to see in the picture of the demo. */
async function scenery(): Promise<Record<string, Buffer>> {
  const { buffer } = await upload(undefined)
  const upright = await sharp(buffer).autoOrient().toBuffer()
  const cut = (left: number, top: number, width: number, height: number) => sharp(upright).extract({ left, top, width, height })
  return {
    'birds.jpg': await cut(500, 900, 1200, 800).toBuffer(),
    'evening.jpg': upright,
    'sunset.jpg': await cut(900, 1100, 2100, 1200).toBuffer(),
    'night.jpg': await cut(0, 1500, 3000, 1800).modulate({ brightness: 0.8, hue: 320 }).toBuffer(),
    'woods.jpg': await cut(200, 2500, 2200, 1500).toBuffer(),
  }
}

/** Runs in the page: writes down what its progress bars show, under their labels. */
const noteProgress = `
  globalThis.seen = []
  const note = (changes) => { for (const { target } of changes) seen.push([target.labels[0]?.textContent ?? target.ariaLabel, target.value]) }
  new MutationObserver(note).observe(document.body, { subtree: true, attributeFilter: ['value'] })`

/** A line on which an upload takes its time. */
async function slowLine(page: Page, bytesPerSecond: number): Promise<void> {
  const session = await page.context().newCDPSession(page)
  const limits = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond }
  await session.send('Network.emulateNetworkConditions', limits)
}

/** Runs in the page: sends more bytes than a form was signed for, and then as many. */
const sendingTwice = `
  (async () => {
    const { send } = await import('/client.mjs')
    const body = JSON.stringify({ fileName: 'three.txt', contentType: 'text/plain', size: 3 })
    const asked = await fetch('/documents', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    const { form } = await asked.json()
    const { code, status } = await send(new Blob(['more than three']), form).catch((error) => error)
    await send(new Blob(['abc']), form)
    return { code, status }
  })()`

function itemOf(page: Page, name: string): Locator {
  return page.locator('#files li').filter({ has: page.getByText(name, { exact: true }) })
}

function stateOf(page: Page, name: string): Promise<string | null> {
  return itemOf(page, name).getAttribute('data-state')
}

/** How many pixels wide a file's picture is, once it has come from S3. */
async function shownWidth(page: Page, name: string): Promise<number> {
  const image = page.getByRole('img', { name, exact: true })
  if ((await image.count()) === 0) return 0
  return image.evaluate((shown, from) => {
    const { complete, naturalWidth, currentSrc } = Object(shown)
    return complete && currentSrc.startsWith(from) ? naturalWidth : 0
  }, endpoint)
}

/** Of what a request carries. */
async function bytesOf(request: Request): Promise<number> {
  return Number((await request.allHeaders())['content-length'] ?? 0)
}

async function post({ url }: App, path: string, body: object, headers: Record<string, string> = {}): Promise<number> {
  const answer = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
  return answer.status
}

/** On a disk, as a page gets them. */
async function files(contents: Record<string, Uint8Array>): Promise<string[]> {
  const home = await folder()
  return Promise.all(
    Object.entries(contents).map(async ([name, bytes]) => {
      const path = join(home, name)
      await writeFile(path, bytes)
      return path
    }),
  )
}
