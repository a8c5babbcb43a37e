import 'reflect-metadata'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { Redis } from 'ioredis'
import mqtt from 'mqtt'
import { DataSource, Entity, type EntityManager, PrimaryColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import {
  type Attached,
  Attachment,
  type Attachments,
  type BackgroundAdapter,
  inlineBackground,
  memoryNotifier,
  memoryStorage,
  mqttNotifier,
  type Notifier,
  postgresNotifier,
  redisNotifier,
  type Signal,
  type State,
  type Storage,
} from '../src'
import { sqlite } from './support/databases'
import { type Line, line } from './support/line'
import { jpeg } from './support/pictures'
import { warnings } from './support/warnings'
import { newDatabase, world } from './support/world'

@Entity()
class Photo {
  @PrimaryColumn('text') id!: string
  @Attachment({ styles: { thumb: '20x20#' }, accept: ['image/*'] }) file!: Attached<'thumb'>
}

/** Counts further than a number does. */
@Entity()
class Counted {
  @PrimaryColumn('bigint', { transformer: { to: String, from: BigInt } }) id!: bigint
  @Attachment({ styles: { thumb: '20x20#' }, accept: ['image/*'] }) file!: Attached<'thumb'>
}

/** What a notifier needs, and the line to its server. */
interface Way {
  /** Of a process of its own. */
  notifier(): Notifier
  readonly line?: Line
}

async function lineTo(address: string): Promise<Line> {
  const { hostname, port } = new URL(address)
  return line(hostname, Number(port))
}

const ways: Record<string, { there: boolean; begin(database: string): Promise<Way> }> = {
  memory: {
    there: true,
    async begin() {
      const one = memoryNotifier()
      return { notifier: () => one }
    },
  },
  PostgreSQL: {
    there: true,
    async begin(database) {
      const wire = await lineTo(database)
      const connection = database.replace(/:\d+\//, `:${wire.port}/`)
      return { line: wire, notifier: () => postgresNotifier({ connection }) }
    },
  },
  Redis: {
    there: inject('redis') !== null,
    async begin() {
      const wire = await lineTo(inject('redis') as string)
      const channel = `test-${Math.random()}`
      return {
        line: wire,
        notifier() {
          const client = new Redis(wire.port, '127.0.0.1', { retryStrategy: () => 20 })
          client.on('error', () => undefined)
          onTestFinished(() => client.disconnect())
          return redisNotifier({ client, channel })
        },
      }
    },
  },
  Mosquitto: {
    there: inject('mqtt') !== null,
    begin: () => overMqtt(inject('mqtt') as string),
  },
  'aedes in this process': {
    there: true,
    async begin() {
      const broker = await Aedes.createBroker()
      const server = createServer(broker.handle)
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
      onTestFinished(async () => {
        await new Promise<void>((closed) => broker.close(closed))
        server.close()
      })
      return overMqtt(`mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`)
    },
  },
}

async function overMqtt(url: string): Promise<Way> {
  const wire = await lineTo(url)
  const prefix = `test/${Math.random()}`
  return {
    line: wire,
    notifier() {
      const client = mqtt.connect(`mqtt://127.0.0.1:${wire.port}`, { reconnectPeriod: 20 })
      client.on('error', () => undefined)
      onTestFinished(() => client.endAsync(true))
      return mqttNotifier({ client, prefix })
    },
  }
}

interface Side {
  readonly attachments: Attachments
  readonly dataSource: DataSource
  readonly signals: Signal[]
}

const states: readonly State[] = ['attached', 'processing', 'progress', 'processed', 'failed', 'removed']

/** Takes jobs and does none. */
const nobody: BackgroundAdapter = { enqueue: async () => undefined }

/** Where the files of a test lie, for all of its processes. */
const shared = new Map<string, { staging: Storage; storage: Storage }>()

/** One of several processes, as far as the library can tell. */
async function side(url: string, notifier: Notifier, background: BackgroundAdapter = inlineBackground()): Promise<Side> {
  const storages = shared.get(url) ?? { staging: memoryStorage(), storage: memoryStorage({ publicUrl: 'https://files.test' }) }
  shared.set(url, storages)
  const dataSource = await new DataSource({ type: 'postgres', url, entities: [Photo, Counted], synchronize: true }).initialize()
  onTestFinished(() => dataSource.destroy())
  const { attachments } = await world([Photo, Counted], { dataSource, notifier, background, ...storages })
  const signals: Signal[] = []
  return { attachments, dataSource, signals }
}

function listen({ attachments, signals }: Side): void {
  for (const state of states) attachments.events.on(state, (signal) => signals.push(signal))
}

async function save({ attachments, dataSource }: Side, id: string): Promise<Photo> {
  const photo = Object.assign(new Photo(), { id })
  await attachments.attach(photo, 'file', await jpeg(40, 40))
  await dataSource.manager.save(photo)
  return photo
}

/** Saves until the other side has heard of one, to its end: it listens from then on. */
async function untilHeard(from: Side, to: Side): Promise<void> {
  await vi.waitFor(
    async () => {
      const probe = await save(from, `probe ${Math.random()}`)
      const { id } = probe
      await from.dataSource.manager.remove(probe)
      await vi.waitFor(() => expect(to.signals).toContainEqual(expect.objectContaining({ id: { id }, state: 'removed' })), {
        timeout: 200,
        interval: 10,
      })
    },
    { timeout: 15_000, interval: 10 },
  )
}

for (const [name, { there, begin }] of Object.entries(ways)) {
  describe.skipIf(!there)(name, () => {
    it('another process hears what happened, in its order, and nobody hears himself', async () => {
      const url = await newDatabase()
      const { notifier } = await begin(url)
      const web = await side(url, notifier())
      const page = await side(url, notifier())
      listen(page)
      listen(web)
      await untilHeard(web, page)
      for (const { signals } of [web, page]) signals.length = 0
      const photo = await save(web, 'one')
      await web.dataSource.manager.remove(photo)
      const told = ['attached', 'processing', 'progress', 'progress', 'processed', 'removed']
      await vi.waitFor(() => expect(page.signals.filter(({ id }) => id['id'] === 'one').map(({ state }) => state)).toEqual(told))
      expect(page.signals).toEqual(
        expect.arrayContaining([
          { entity: 'Photo', id: { id: 'one' }, attachment: 'file', version: photo.file.version ?? expect.any(String), state: 'attached' },
        ]),
      )
      expect(web.signals.map(({ state }) => state)).toEqual(told)
    })

    it('ready() hears what another process does', async () => {
      const url = await newDatabase()
      const { notifier } = await begin(url)
      const [web, worker] = [await side(url, notifier(), nobody), await side(url, notifier())]
      listen(web)
      await untilHeard(worker, web)
      const photo = await save(web, 'one')
      const shown = photo.file.ready('thumb')
      // the only job is what this finds, and only a signal can tell before the next look, which is half a minute off
      expect(await worker.attachments.requeueLost({ olderThan: -1000 })).toBe(1)
      expect((await shown).url('thumb')).toMatch(/thumb/)
    })

    it.skipIf(name === 'memory')('what was missed while the server was away is looked for when it is back', async () => {
      const url = await newDatabase()
      const { notifier, line } = await begin(url)
      const [web, worker] = [await side(url, notifier(), nobody), await side(url, memoryNotifier())]
      listen(web)
      const photo = await save(web, 'one')
      const looked = vi.fn()
      const shown = photo.file.ready('thumb').finally(looked)
      await line?.cut()
      // told to nobody
      expect(await worker.attachments.requeueLost({ olderThan: -1000 })).toBe(1)
      expect(looked).not.toHaveBeenCalled()
      await line?.mend()
      expect((await shown).processing).toBe(false)
    })

    it.skipIf(name === 'memory')('a server that is away keeps nobody from saving', async () => {
      const url = await newDatabase()
      const { notifier, line } = await begin(url)
      const web = await side(url, notifier())
      listen(web)
      await line?.cut()
      const photo = await save(web, 'one')
      expect(photo.file.processing).toBe(false)
      expect(web.signals.at(-1)).toMatchObject({ state: 'processed' })
    })

    it.skipIf(name === 'memory')('a server that has fallen silent keeps neither a save nor close()', async () => {
      const url = await newDatabase()
      const { notifier, line } = await begin(url)
      const [web, page] = [await side(url, notifier()), await side(url, notifier())]
      listen(page)
      await untilHeard(web, page)
      line?.silence()
      expect((await save(page, 'one')).file.processing).toBe(false)
      await page.attachments.close()
    })

    it('what begins to listen can be closed at once', async () => {
      const url = await newDatabase()
      const { notifier } = await begin(url)
      const page = await side(url, notifier())
      listen(page)
      await page.attachments.close()
    })
  })
}

describe('PostgreSQL tells with the transaction', () => {
  it('what was rolled back, be it to a savepoint, is told to nobody', async () => {
    const url = await newDatabase()
    const [web, page] = [await side(url, postgresNotifier({ connection: url })), await side(url, postgresNotifier({ connection: url }))]
    listen(page)
    await untilHeard(web, page)
    page.signals.length = 0
    const attach = async (manager: EntityManager, id: string) => {
      const photo = Object.assign(new Photo(), { id })
      await web.attachments.attach(photo, 'file', await jpeg(40, 40))
      await manager.save(photo)
    }
    const undone = new Error('undone')
    await expect(
      web.dataSource.transaction(async (manager) => {
        await attach(manager, 'all')
        throw undone
      }),
    ).rejects.toBe(undone)
    await web.dataSource.transaction(async (manager) => {
      await attach(manager, 'outer')
      const inner = manager.transaction(async (nested) => {
        await attach(nested, 'inner')
        throw undone
      })
      await expect(inner).rejects.toBe(undone)
    })
    await vi.waitFor(() => expect(page.signals.at(-1)).toMatchObject({ id: { id: 'outer' }, state: 'processed' }))
    const ids = new Set(page.signals.map(({ id }) => `${id['id']}`))
    expect([...ids].filter((id) => !id.startsWith('probe'))).toEqual(['outer'])
  })

  it('whoever hears that a file is processed finds it so', async () => {
    const url = await newDatabase()
    const [web, page] = [await side(url, postgresNotifier({ connection: url })), await side(url, postgresNotifier({ connection: url }))]
    const found: unknown[] = []
    page.attachments.events.on('processed', ({ id }) => {
      found.push(page.dataSource.manager.findOneBy(Photo, { id: id['id'] as string }).then((photo) => photo?.file.processing))
    })
    listen(page)
    await untilHeard(web, page)
    for (let n = 0; n < 10; n++) await save(web, `${n}`)
    await vi.waitFor(() => expect(found.length).toBeGreaterThan(10))
    expect(new Set(await Promise.all(found))).toEqual(new Set([false]))
  })

  it('an id that is too long for a payload is left out', async () => {
    const url = await newDatabase()
    const [web, page] = [await side(url, postgresNotifier({ connection: url })), await side(url, postgresNotifier({ connection: url }))]
    listen(page)
    await untilHeard(web, page)
    const { file } = await save(web, 'long '.repeat(2_000))
    await vi.waitFor(() => expect(page.signals.at(-1)).toMatchObject({ version: file.version, id: {}, state: 'processed' }))
  })

  it('a server that does not answer at all does not keep close()', async () => {
    const url = await newDatabase()
    const wire = await lineTo(url)
    wire.silence()
    const page = await side(url, postgresNotifier({ connection: url.replace(/:\d+\//, `:${wire.port}/`) }))
    listen(page)
    await vi.waitFor(() => expect(wire.taken).toBeGreaterThan(0))
    await page.attachments.close()
  })

  it.each(["it's $1", 'x'.repeat(63)])('a channel may be called %s', async (channel) => {
    const url = await newDatabase()
    const [web, page] = [
      await side(url, postgresNotifier({ connection: url, channel })),
      await side(url, postgresNotifier({ connection: url, channel })),
    ]
    listen(page)
    await untilHeard(web, page)
  })

  it.each(['', 'x'.repeat(64)])('a channel that PostgreSQL cannot have is refused: %s', (channel) => {
    expect(() => postgresNotifier({ connection: 'postgres://nowhere', channel })).toThrow(expect.objectContaining({ code: 'bad_channel' }))
  })

  it('of as many files as one transaction saves', async () => {
    const url = await newDatabase()
    const said = warnings()
    const [web, page] = [await side(url, postgresNotifier({ connection: url }), nobody), await side(url, postgresNotifier({ connection: url }))]
    listen(page)
    await untilHeard(web, page)
    const picture = await jpeg(4, 4)
    const photos = await Promise.all(
      Array.from({ length: 1_700 }, async (_, at) => {
        const photo = Object.assign(new Photo(), { id: `${at}` })
        await web.attachments.attach(photo, 'file', picture)
        return photo
      }),
    )
    await web.dataSource.manager.save(photos)
    await vi.waitFor(() => expect(new Set(page.signals.map(({ id }) => id['id']))).toContain('1699'), { timeout: 10_000 })
    expect(new Set(page.signals.flatMap(({ id }) => (`${id['id']}`.startsWith('probe') ? [] : [id['id']]))).size).toBe(1_700)
    expect(said).toEqual([])
  })

  it('or after it, where it could not', async () => {
    const url = await newDatabase()
    const broken: Notifier = {
      ...postgresNotifier({ connection: url }),
      along: () => ({ sql: (parameter) => `nothing_of_ours(${parameter})`, value: '' }),
    }
    const [web, page] = [await side(url, broken, nobody), await side(url, postgresNotifier({ connection: url }))]
    listen(page)
    await untilHeard(web, page)
    const photos = ['one', 'two', 'three'].map((id) => Object.assign(new Photo(), { id }))
    for (const photo of photos) await web.attachments.attach(photo, 'file', await jpeg(40, 40))
    await web.dataSource.manager.save(photos)
    await vi.waitFor(() => expect(page.signals.slice(-3).map(({ id }) => id['id'])).toEqual(['one', 'two', 'three']))
  })

  it('another kind of database is refused by connect()', async () => {
    const refused = world([Photo], { on: sqlite, notifier: postgresNotifier({ connection: 'postgres://nowhere' }) })
    await expect(refused).rejects.toMatchObject({ name: 'UsageError', code: 'wrong_database' })
  })
})

describe('a function, which may be frozen after its job,', () => {
  /** A notifier that takes its time, and a job. */
  async function job(notify: () => Promise<void>) {
    const url = await newDatabase()
    const web = await side(url, memoryNotifier(), nobody)
    const photo = await save(web, 'one')
    const { attachments } = await side(url, { ...memoryNotifier(), notify })
    const { version } = photo.file
    const of = { entity: 'Photo', id: { id: 'one' }, attachment: 'file', version, storage: 'default' }
    return { attachments, given: { kind: 'process', ...of, keys: [], staged: [] } }
  }

  it('has told others by then', async () => {
    const telling: Array<() => void> = []
    const { attachments, given } = await job(() => new Promise((told) => telling.push(told)))
    let ended = false
    const performed = attachments.perform(given).finally(() => {
      ended = true
    })
    // begun, two in the storage, done
    await vi.waitFor(() => expect(telling).toHaveLength(4))
    for (const told of telling.slice(1)) told()
    await new Promise((later) => setImmediate(later))
    expect(ended).toBe(false)
    telling[0]?.()
    expect(await performed).toMatchObject({ result: 'done' })
  })

  it('is not kept by a notifier that does not answer', async () => {
    const warned = warnings()
    const { attachments, given } = await job(() => new Promise(() => undefined))
    expect(await attachments.perform(given)).toMatchObject({ result: 'done' })
    await vi.waitFor(() => expect(warned).toContainEqual(expect.stringContaining('the notifier did not answer')))
  })
})

describe('who hears nothing is warned of it', () => {
  const warned = async (notifier: Notifier) => {
    const said = warnings()
    const page = await side(await newDatabase(), notifier)
    listen(page)
    await vi.waitFor(() => expect(said).toHaveLength(1), { timeout: 5_000 })
    return said
  }

  it('by PostgreSQL, once until it hears again', async () => {
    const url = await newDatabase()
    const wire = await lineTo(url)
    const nowhere = Object.assign(new URL(url), { pathname: '/nowhere', port: wire.port })
    const said = await warned(postgresNotifier({ connection: nowhere.href }))
    expect(said[0]).toMatch(/is not heard, and is tried again: database "nowhere" does not exist/)
    await vi.waitFor(() => expect(wire.taken).toBeGreaterThan(2), { timeout: 5_000 })
    expect(said).toHaveLength(1)
  })

  it.skipIf(inject('redis') === null)('by Redis', async () => {
    const { hostname, port } = new URL(inject('redis') as string)
    const admin = new Redis(Number(port), hostname)
    const name = `test-${Math.random()}`
    await admin.acl('SETUSER', name, 'on', '>pass', '+@all', '-subscribe', 'allchannels')
    onTestFinished(async () => {
      await admin.acl('DELUSER', name)
      admin.disconnect()
    })
    const client = new Redis(Number(port), hostname, { username: name, password: 'pass' })
    onTestFinished(() => client.disconnect())
    expect((await warned(redisNotifier({ client })))[0]).toMatch(/is not heard, and is tried again: NOPERM/)
  })

  it('by MQTT', async () => {
    const broker = await Aedes.createBroker({ authorizeSubscribe: (_client, _subscription, answer) => answer(null, null) })
    const server = createServer(broker.handle)
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    onTestFinished(async () => {
      await new Promise<void>((closed) => broker.close(closed))
      server.close()
    })
    const client = mqtt.connect(`mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => client.endAsync(true))
    expect((await warned(mqttNotifier({ client })))[0]).toMatch(/is not heard, and is tried again/)
  })
})

it.each(Object.entries(ways).filter(([, { there }]) => there))('an id may be a bigint: %s', async (_, { begin }) => {
  const url = await newDatabase()
  const { notifier } = await begin(url)
  const [web, page] = [await side(url, notifier()), await side(url, notifier())]
  listen(page)
  await untilHeard(web, page)
  const id = 9_007_199_254_740_993n
  const counted = Object.assign(new Counted(), { id })
  await web.attachments.attach(counted, 'file', await jpeg(40, 40))
  await web.dataSource.manager.save(counted)
  expect(counted.file.processing).toBe(false)
  await vi.waitFor(() => expect(page.signals.at(-1)).toMatchObject({ entity: 'Counted', state: 'processed' }))
  expect(`${page.signals.at(-1)?.id['id']}`).toBe(`${id}`)
})

it('what cannot be told along with a statement keeps no file from being saved and processed', async () => {
  const url = await newDatabase()
  const broken = {
    ...postgresNotifier({ connection: url }),
    along() {
      throw new Error('out of order')
    },
  }
  const [web, page] = [await side(url, broken), await side(url, postgresNotifier({ connection: url }))]
  listen(page)
  await untilHeard(web, page)
  expect((await save(web, 'one')).file.processing).toBe(false)
})

it('Redis that does not answer is waited for with a thousand messages, and no more', async () => {
  const silent = createServer()
  await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening))
  onTestFinished(() => void silent.close())
  const client = new Redis((silent.address() as AddressInfo).port, '127.0.0.1', { enableReadyCheck: false })
  client.on('error', () => undefined)
  onTestFinished(() => client.disconnect())
  const notifier = redisNotifier({ client })
  const message = { entity: 'Photo', id: {}, attachment: 'file', version: 'v', state: 'attached', from: 'here' } as const
  for (let n = 0; n < 1_000; n++) notifier.notify(message, async () => undefined).catch(() => undefined)
  await expect(notifier.notify(message, async () => undefined)).rejects.toThrow('1000 messages wait')
})

it('an MQTT broker that stays away is waited for with a thousand messages, and no more', async () => {
  const client = mqtt.connect('mqtt://127.0.0.1:1', { reconnectPeriod: 60_000 })
  client.on('error', () => undefined)
  onTestFinished(() => client.endAsync(true))
  const notifier = mqttNotifier({ client })
  const message = { entity: 'Photo', id: {}, attachment: 'file', version: 'v', state: 'attached', from: 'here' } as const
  for (let n = 0; n < 1_000; n++) notifier.notify(message, async () => undefined).catch(() => undefined)
  await expect(notifier.notify(message, async () => undefined)).rejects.toThrow('1000 messages wait')
})
