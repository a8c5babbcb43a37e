import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { Queue } from 'bullmq'
import sharp, { type Metadata } from 'sharp'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { type App, deploy, serversFor } from './support/app'
import { startFaultProxy } from './support/fault-proxy'
import { jpeg, png } from './support/pictures'
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
      expect(await textOf(page)).toContain('http-equiv="refresh"')
      expect(await textOf(app.url)).toContain('processing')

      uploaded = true
      const victim = await app.work()
      await expect.poll(() => halfWay, patience).toBe(true)
      await victim.end('SIGKILL')
      expect(await stateOf(page)).toBe('processing')

      const worker = await app.work()
      await expect.poll(() => stateOf(page), patience).toBe('done')
      expect(await textOf(page)).not.toContain('http-equiv="refresh"')
      expect(await shown(await linkOf(page, 'large'))).toMatchObject({ format: 'webp', width: 1200, height: 675 })
      expect(await shown(await linkOf(page, 'thumb'))).toMatchObject({ format: 'webp', width: 300, height: 300 })
      const original = await fetch(await linkOf(page, 'original'))
      expect(digestOf(await original.arrayBuffer())).toBe(digestOf(picture))
      if (inject('s3').faithful) {
        expect(original.headers.get('content-disposition')).toContain("filename*=UTF-8''K%C3%A4se%20%26%20%3CBrot%3E.jpg")
        const [address] = (await linkOf(page, 'thumb')).split('?')
        expect((await fetch(address as string)).status).toBe(403)
      }
      // nothing is left in the staging, nor on the disks, of which each process has its own
      await expect.poll(keys, patience).toSatisfy((all: string[]) => all.length === 3 && all.every((key) => key.startsWith('photos/')))
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
    expect([text.status, stateIn(await text.text())]).toEqual([415, 'refused'])
    const nothing = await send(app, Buffer.alloc(0), '')
    expect([nothing.status, nothing.headers.get('location')]).toEqual([303, '/'])
    const empty = await send(app, Buffer.alloc(0), 'me.jpg')
    expect([empty.status, stateIn(await empty.text())]).toEqual([400, 'refused'])
    expect((await fetch(`${app.url}photos/1`)).status).toBe(404)

    const whole = await png()
    const page = await upload(app, whole.subarray(0, whole.length / 2), 'half.png')
    await app.work()
    await expect.poll(() => stateOf(page), patience).toBe('failed')
    expect(await textOf(page)).toContain('corrupt_image')
    expect(await textOf(app.url)).toContain('failed')
  },
  timeout,
)

/** Sends a picture as the form does; the address of the page that it leads to. */
async function upload(app: App, picture: Uint8Array, name: string): Promise<string> {
  const answer = await send(app, picture, name)
  expect(answer.status).toBe(303)
  return new URL(answer.headers.get('location') as string, app.url).href
}

function send(app: App, picture: Uint8Array, name: string): Promise<Response> {
  const body = new FormData()
  body.set('picture', new File([new Uint8Array(picture)], name, { type: 'image/jpeg' }))
  return fetch(`${app.url}photos`, { method: 'POST', body, redirect: 'manual' })
}

async function textOf(page: string): Promise<string> {
  return (await fetch(page)).text()
}

async function stateOf(page: string): Promise<string | undefined> {
  return stateIn(await textOf(page))
}

function stateIn(html: string): string | undefined {
  return /id="state" data-state="(\w+)"/.exec(html)?.[1]
}

/** Where an element of a page points to. */
async function linkOf(page: string, id: string): Promise<string> {
  const [, address = ''] = new RegExp(`id="${id}" (?:src|href)="([^"]+)"`).exec(await textOf(page)) ?? []
  return address.replaceAll('&#38;', '&')
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
