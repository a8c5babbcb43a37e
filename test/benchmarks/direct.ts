import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { UploadForm } from '../../src'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { type Part, quick, runPart } from './part'
import { originals } from './pictures'
import { inPlace, type Place } from './place'
import { rounds, type Timed } from './rounds'

// npm run bench:direct [-- --clients 50 --megabytes 100 --rounds 15 --quick]: straight to S3 against through the web process

const clients = Number(optionOf('clients') ?? (quick ? 2 : 50))
const megabytes = Number(optionOf('megabytes') ?? (quick ? 1 : 100))

type Form = UploadForm & { token: string }

/** Sends without holding more than a piece: fetch() reads a Blob to its end, however slowly the other side takes it. */
async function send(url: string, headers: Record<string, string>, pieces: Buffer[]): Promise<string> {
  const length = pieces.reduce((sum, { length }) => sum + length, 0)
  const outgoing = request(url, { method: 'POST', headers: { ...headers, 'content-length': length }, agent: false })
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
  await Promise.all([pipeline(pieces.flatMap(inChunks), outgoing), answered])
  const [response] = await answered
  const body = await text(response)
  if (!/^2/.test(`${response.statusCode}`)) throw new Error(`${url} was answered with ${response.statusCode}: ${body}`)
  return body
}

function inChunks(piece: Buffer): Buffer[] {
  const size = 64 * 1024
  return Array.from({ length: Math.ceil(piece.length / size) }, (_, n) => piece.subarray(n * size, (n + 1) * size))
}

function formData(fields: Readonly<Record<string, string>>, boundary: string, file: Buffer): Buffer[] {
  const named = (name: string) => `--${boundary}\r\ncontent-disposition: form-data; name="${name}"`
  const head = Object.entries(fields).map(([name, value]) => `${named(name)}\r\n\r\n${value}\r\n`)
  return [Buffer.from(`${head.join('')}${named('file')}; filename="a.jpg"\r\n\r\n`), file, Buffer.from(`\r\n--${boundary}--\r\n`)]
}

/** A browser's requests. */
function browser(origin: string) {
  const post = async <T>(path: string, type: string, body: Buffer): Promise<T> =>
    JSON.parse(await send(origin + path, { 'content-type': type }, [body])) as T
  const ask = <T>(path: string, body: object) => post<T>(path, 'application/json', Buffer.from(JSON.stringify(body)))

  return {
    ask,
    through: (file: Buffer) => post<{ id: number }>('/through', 'application/octet-stream', file),

    async direct(file: Buffer): Promise<{ id: number }> {
      const asked = { entity: 'Upload', property: 'file', fileName: 'a.jpg', contentType: 'image/jpeg', size: file.length }
      const { url, fields, token } = await ask<Form>('/uploads', asked)
      const boundary = randomBytes(16).toString('hex')
      await send(url, { 'content-type': `multipart/form-data; boundary=${boundary}` }, formData(fields, boundary, file))
      return ask('/token', { token })
    },

    /** Looks until the thumbnail is there, and loads it. */
    async shown(id: number): Promise<void> {
      for (;;) {
        const { url } = await ask<{ url: string | null }>('/shown', { id })
        if (url) return void (await (await fetch(url)).arrayBuffer())
        await sleep(5)
      }
    },
  }
}

type Browser = ReturnType<typeof browser>

/** Starts the web process on servers of its own: what thousands of megabytes leave behind ends with them. */
async function withWeb<T>(works: boolean, use: (browser: Browser, place: Place) => Promise<T>): Promise<T> {
  return inPlace(async (place) => {
    const [{ options }, { bucket }] = await Promise.all([place.database(), place.bucket()])
    const given = { database: Object(options).url, s3: place.s3, bucket, works }
    const args = ['--import', 'tsx', join(__dirname, '../memory/web.ts'), JSON.stringify(given)]
    const web = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [port] = await once(web.stdout, 'data')
      return await use(browser(`http://127.0.0.1:${String(port).trim()}`), place)
    } finally {
      web.kill()
      await once(web, 'exit')
    }
  })
}

async function measureAll(): Promise<Part> {
  const timed = await withWeb(true, async (browser, { folder }) => {
    const [picture] = await originals(folder, quick ? 0.1 : 1)
    return timesOf(browser, await readFile(picture?.path as string))
  })
  const file = randomBytes(megabytes * 1024 * 1024)
  const direct = await withWeb(false, (browser) => memoryOf(browser, () => browser.direct(file)))
  const through = await withWeb(false, (browser) => memoryOf(browser, () => browser.through(file)))
  return report(timed, { direct, through })
}

function timesOf({ through, direct, shown }: Browser, picture: Buffer): Promise<Record<string, Timed>> {
  return rounds<string>(
    {
      'through the web process': async () => shown((await through(picture)).id),
      'straight to S3': async () => shown((await direct(picture)).id),
    },
    Number(optionOf('rounds') ?? (quick ? 1 : 15)),
  )
}

interface Held {
  /** MiB, with one upload done. */
  readonly before: number
  readonly peak: number
  /** Until the last was saved. */
  readonly seconds: number
}

async function memoryOf({ ask }: Browser, upload: () => Promise<unknown>): Promise<Held> {
  const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20)
  await upload()
  const { now } = await ask<{ now: number }>('/memory', {})
  const began = performance.now()
  await Promise.all(Array.from({ length: clients }, upload))
  const seconds = Number(((performance.now() - began) / 1000).toPrecision(3))
  const { peak } = await ask<{ peak: number }>('/memory', {})
  return { before: mebibytes(now), peak: mebibytes(peak), seconds }
}

function report(timed: Record<string, Timed>, held: { direct: Held; through: Held }): Part {
  const times = Object.entries(timed).map(([name, { wall, ratio }]) => [
    name,
    `${wall.median} ms`,
    `${wall.min} to ${wall.max} ms`,
    `× ${ratio.median}`,
  ])
  const ways = { 'through the web process': held.through, 'straight to S3': held.direct }
  const memory = Object.entries(ways).map(([name, { before, peak, seconds }]) => [name, before, peak, peak - before, `${seconds} s`])
  return {
    name: 'direct',
    tables: [
      { caption: 'A picture of 12 megapixels, from the first byte until its thumbnail is loaded', rows: [['', 'median', 'spread', ''], ...times] },
      {
        caption: `MiB that the web process holds while ${clients} clients upload ${megabytes} MB each`,
        rows: [['', 'before', 'at the most', 'more', 'all saved after'], ...memory],
      },
    ],
    figures: { timed, clients, megabytes, held },
    charts: {
      '': barChart({
        title: `MiB of the web process, ${clients} clients with ${megabytes} MB each`,
        unit: 'MiB',
        cases: Object.keys(ways),
        contenders: [
          { name: 'before', values: Object.values(ways).map(({ before }) => before) },
          { name: 'at the most', values: Object.values(ways).map(({ peak }) => peak) },
        ],
      }),
    },
  }
}

runPart(measureAll)
