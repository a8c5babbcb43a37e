import 'reflect-metadata'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DataSource } from 'typeorm'
import { Attachments, type BackgroundAdapter, postgresNotifier, toNodeHandler } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { type StreamMemory, streamMemory } from '../memory/streams'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { Person } from './entities'
import { type Part, quick, runPart } from './part'
import { originals } from './pictures'
import { inPlace, type Place } from './place'
import { rounds, type Timed } from './rounds'

// npm run bench:push [-- --rounds 30 --streams 1000 --quick]: from the upload's last byte to the thumbnail on the page, told or asked for

const streams = Number(optionOf('streams') ?? (quick ? 20 : 1_000))
/** Between two questions of a page that asks. Milliseconds. */
const interval = 1_000

async function measureAll(): Promise<Part> {
  const timed = await inPlace(times)
  const [bare, watching] = [await streamMemory('bare', streams), await streamMemory('watching', streams)]
  return report(timed, { bare, watching })
}

async function times(place: Place): Promise<Record<string, Timed>> {
  const bytes = await readFile((await originals(place.folder, quick ? 0.1 : 1))[0]?.path as string)
  const web = await webOf(place)
  try {
    return await rounds<string>(
      {
        'told by a stream': async () => told(web.origin, await web.save(bytes)),
        'asked every second': async () => asked(web.origin, await web.save(bytes)),
      },
      Number(optionOf('rounds') ?? (quick ? 1 : 30)),
    )
  } finally {
    await web.stop()
  }
}

/** A web process and a worker, which know of each other by the database alone. */
async function webOf(place: Place) {
  const dataSource = await place.database(Person)
  const { url } = dataSource.options as { url: string }
  const { client, bucket } = await place.bucket()
  const [staging, storage] = ['staging/', 'files/'].map((prefix) => s3Storage({ client, bucket, prefix, publicUrl: null })) as [never, never]
  const shared = { staging, storage, secret: 'only for as long as this is measured' }
  const notifier = () => postgresNotifier({ connection: url })
  const nobody: BackgroundAdapter = { enqueue: async () => undefined }
  const worker = new Attachments({ ...shared, background: nobody, notifier: notifier() })
  const toWorker: BackgroundAdapter = { enqueue: async (job) => void worker.perform(job) }
  const attachments = new Attachments({ ...shared, background: toWorker, notifier: notifier() })
  const elsewhere = await new DataSource({ type: 'postgres', url, entities: [Person] }).initialize()
  await Promise.all([attachments.connect(dataSource), worker.connect(elsewhere)])
  const watch = attachments.watch({ show: async (file) => ({ thumb: await file.signedUrl('thumb' as never) }) })
  const server = createServer(toNodeHandler(watch) as RequestListener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** What a page gets. */
    async save(bytes: Buffer): Promise<string> {
      const person = Object.assign(new Person(), { name: 'ada' })
      await attachments.attach(person, 'avatar', bytes, { fileName: 'me.jpg' })
      await dataSource.manager.save(person)
      return person.avatar.watchToken()
    },
    async stop(): Promise<void> {
      await Promise.all([attachments.close(), worker.close()])
      await elsewhere.destroy()
      server.closeAllConnections()
      server.close()
    },
  }
}

interface State {
  readonly state: string
  readonly file?: { readonly thumb: string }
}

async function load({ file }: State): Promise<void> {
  const response = await fetch(file?.thumb as string)
  if (!response.ok) throw new Error(`the thumbnail was answered with ${response.status}`)
  await response.arrayBuffer()
}

async function told(origin: string, token: string): Promise<void> {
  const { body } = await fetch(`${origin}/?token=${token}`, { headers: { accept: 'text/event-stream' } })
  let heard = ''
  for await (const piece of body as unknown as AsyncIterable<Uint8Array>) {
    heard += Buffer.from(piece).toString()
    const [, data] = /data: ?(.*"state":"processed".*)\n\n/.exec(heard) ?? []
    // leaving the loop ends the stream
    if (data) return load(JSON.parse(data))
  }
  throw new Error('the stream ended too early')
}

async function asked(origin: string, token: string): Promise<void> {
  for (;;) {
    const { states } = (await (await fetch(`${origin}/?token=${token}`)).json()) as { states: [State] }
    if (states[0].state === 'processed') return load(states[0])
    await sleep(interval)
  }
}

function report(timed: Record<string, Timed>, memory: Record<'bare' | 'watching', StreamMemory>): Part {
  const times = Object.entries(timed).map(([name, { wall }]) => [name, `${wall.median} ms`, `${wall.min} to ${wall.max} ms`])
  const kibibytes = (bytes: number) => `${(bytes / streams / 1024).toFixed(1)} KiB`
  const held = (name: string, { heap, resident }: StreamMemory) => [name, kibibytes(heap), kibibytes(resident)]
  return {
    name: 'push',
    tables: [
      { caption: 'A picture of 12 megapixels, from its last byte until its thumbnail is loaded', rows: [['', 'median', 'spread'], ...times] },
      {
        caption: `Memory of each of ${streams} streams on which nothing happens`,
        rows: [['', 'heap', 'resident'], held('a response that is just open', memory.bare), held('a page that watches', memory.watching)],
      },
    ],
    figures: { timed, streams, memory },
    charts: {
      '': barChart({
        title: 'Milliseconds from the last byte to the thumbnail',
        unit: 'ms',
        cases: Object.keys(timed),
        contenders: [{ name: 'median', values: Object.values(timed).map(({ wall }) => wall.median) }],
      }),
    },
  }
}

runPart(measureAll)
