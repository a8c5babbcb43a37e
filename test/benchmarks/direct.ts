import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import type { UploadForm } from '../../src'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { type Part, quick, runPart } from './part'
import { originals } from './pictures'
import { inPlace } from './place'
import { rounds, type Timed } from './rounds'

// npm run bench:direct [-- --clients 50 --megabytes 100 --rounds 15 --quick]: straight to S3 against through the web process

const clients = Number(optionOf('clients') ?? (quick ? 2 : 50))
const megabytes = Number(optionOf('megabytes') ?? (quick ? 1 : 100))

type Form = UploadForm & { token: string }

/** A browser's requests. */
function browser(origin: string) {
  async function post<T>(path: string, body: object | Blob): Promise<T> {
    const isBlob = body instanceof Blob
    const headers = { 'content-type': isBlob ? 'application/octet-stream' : 'application/json' }
    const response = await fetch(origin + path, { method: 'POST', headers, body: isBlob ? body : JSON.stringify(body) })
    if (!response.ok) throw new Error(`${path} was answered with ${response.status}: ${await response.text()}`)
    return (await response.json()) as T
  }

  return {
    post,
    through: (file: Blob) => post<{ id: number }>('/through', file),

    async direct(file: Blob): Promise<{ id: number }> {
      const asked = { entity: 'Upload', property: 'file', fileName: 'a.jpg', contentType: 'image/jpeg', size: file.size }
      const { url, fields, token } = await post<Form>('/uploads', asked)
      const form = new FormData()
      for (const [name, value] of Object.entries(fields)) form.append(name, value)
      form.append('file', file)
      const response = await fetch(url, { method: 'POST', body: form })
      if (!response.ok) throw new Error(`S3 answered ${response.status}: ${await response.text()}`)
      return post('/token', { token })
    },

    /** Looks until the thumbnail is there, and loads it. */
    async shown(id: number): Promise<void> {
      for (;;) {
        const { url } = await post<{ url: string | null }>('/shown', { id })
        if (url) return void (await (await fetch(url)).arrayBuffer())
        await sleep(5)
      }
    },
  }
}

interface Web extends ReturnType<typeof browser> {
  stop(): Promise<void>
}

async function measureAll(): Promise<Part> {
  return inPlace(async (place) => {
    const postgres = await startPostgres()
    async function web(works: boolean): Promise<Web> {
      const name = `direct_${randomBytes(4).toString('hex')}`
      await createDatabase(postgres.url('postgres'), name)
      const { bucket } = await place.bucket()
      const given = { database: postgres.url(name), s3: place.s3, bucket, works }
      const program = join(__dirname, '../memory/web.ts')
      const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(given)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const [port] = await once(child.stdout as NodeJS.ReadableStream, 'data')
      const stop = async () => {
        child.kill()
        await once(child, 'exit')
      }
      return { ...browser(`http://127.0.0.1:${String(port).trim()}`), stop }
    }
    try {
      const timed = await timesOf(await web(true), new Blob([await readFile((await originals(place.folder, quick ? 0.1 : 1))[0]?.path as string)]))
      const file = new Blob([randomBytes(megabytes * 1024 * 1024)])
      const direct = await memoryOf(await web(false), (browser) => browser.direct(file))
      const through = await memoryOf(await web(false), (browser) => browser.through(file))
      return report(timed, { direct, through })
    } finally {
      await postgres.stop()
    }
  })
}

async function timesOf(web: Web, picture: Blob): Promise<Record<string, Timed>> {
  try {
    return await rounds<string>(
      {
        'through the web process': async () => web.shown((await web.through(picture)).id),
        'straight to S3': async () => web.shown((await web.direct(picture)).id),
      },
      Number(optionOf('rounds') ?? (quick ? 1 : 15)),
    )
  } finally {
    await web.stop()
  }
}

interface Held {
  /** MiB, with one upload done. */
  readonly before: number
  readonly peak: number
  /** Until the last was saved. */
  readonly seconds: number
}

async function memoryOf(web: Web, upload: (web: Web) => Promise<unknown>): Promise<Held> {
  const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20)
  try {
    await upload(web)
    const { now } = await web.post<{ now: number }>('/memory', {})
    const began = performance.now()
    await Promise.all(Array.from({ length: clients }, () => upload(web)))
    const seconds = Number(((performance.now() - began) / 1000).toPrecision(3))
    const { peak } = await web.post<{ peak: number }>('/memory', {})
    return { before: mebibytes(now), peak: mebibytes(peak), seconds }
  } finally {
    await web.stop()
  }
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
