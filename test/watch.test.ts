import 'reflect-metadata'
import mqtt from 'mqtt'
import { DataSource, Entity, type Logger, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import {
  type Attached,
  Attachment,
  type Attachments,
  diskStorage,
  type FetchHandler,
  inlineBackground,
  type Message,
  memoryStorage,
  mqttNotifier,
  type Notifier,
  ProcessingError,
  postgresNotifier,
  type Signal,
  type WatchState,
} from '../src'
import { watchTokensOf } from '../src/lifecycle/watch-token'
import { postgres } from './support/databases'
import { scribe } from './support/doubles'
import { jpeg } from './support/pictures'
import { warnings } from './support/warnings'
import { addressOf, streamOf, watcherOf } from './support/watching'
import { folder, heldBackground, type WorldOptions, world } from './support/world'

const secret = 'a secret of more than 32 characters'
const pen = scribe()

@Entity()
class User {
  @PrimaryGeneratedColumn() id!: number
  @Attachment({ styles: { large: '80x80>', thumb: '20x20#' }, accept: ['image/*'] })
  avatar!: Attached<'large' | 'thumb'> | null
  @Attachment({ styles: { plain: '1x1' }, accept: 'any', processors: [pen] })
  paper!: Attached<'plain'> | null
}

/** Tells what a test lets it tell. */
function testNotifier({ stop = async () => undefined }: { stop?: () => Promise<void> } = {}) {
  const heard: Array<(message: Message) => void> = []
  const began: Array<() => void> = []
  const notifier: Notifier = {
    notify: async () => undefined,
    listen(hear, beginning) {
      heard.push(hear)
      began.push(beginning)
      return stop
    },
  }
  return { notifier, hear: (message: Message) => heard[0]?.(message), begin: () => began[0]?.() }
}

async function start(options: WorldOptions = {}) {
  pen.reset()
  const background = heldBackground()
  const here = await world([User], { background, secret, ...options })
  return {
    ...here,
    background,
    users: here.dataSource.getRepository(User),
    watch: here.attachments.watch(),
    async saved(user = new User()): Promise<User & { avatar: Attached<'large' | 'thumb'> }> {
      await here.attachments.attach(user, 'avatar', await jpeg(100, 100))
      return (await here.dataSource.manager.save(user)) as never
    },
  }
}

const statesOf = (watcher: { states: WatchState[] }) =>
  watcher.states.map(({ state, progress }) => [state, progress?.done].filter((x) => x !== undefined).join(' '))

async function asked(watch: FetchHandler, tokens: readonly string[]): Promise<WatchState[]> {
  const response = await watch(new Request(addressOf(tokens)))
  expect(response.status).toBe(200)
  return ((await response.json()) as { states: WatchState[] }).states
}

async function refused(watch: FetchHandler, request: Request): Promise<string> {
  const response = await watch(request)
  return `${response.status} ${((await response.json()) as { error: { code: string } }).error.code}`
}

describe('a stream', () => {
  it('begins with how the file is, and tells what happens to it until it is processed', async () => {
    const { saved, watch, background } = await start()
    const { avatar } = await saved()
    const token = avatar.watchToken()
    const page = watcherOf(await watch(streamOf([token])))
    await expect.poll(() => statesOf(page)).toEqual(['processing'])
    const before = page.states[0]?.file as ReturnType<typeof avatar.toJSON>
    expect(before).toEqual(JSON.parse(JSON.stringify(avatar)))
    await background.run()
    await expect.poll(() => statesOf(page)).toEqual(['processing', 'processing 1', 'processing 2', 'processing 3', 'processed'])
    expect(page.states[1]).toEqual({ token, state: 'processing', mark: page.states[0]?.mark, progress: { done: 1, of: 3 } })
    expect(page.states[4]).toEqual({
      token,
      state: 'processed',
      mark: expect.any(String),
      file: { ...before, processing: false, ...urlsAfter(avatar) },
    })
    expect(page.ended).toBe(false)
  })

  it('has the headers that keep proxies from holding it back', async () => {
    const { saved, watch } = await start()
    const { status, headers } = watcherOf(await watch(streamOf([(await saved()).avatar.watchToken()])))
    expect(status).toBe(200)
    expect(Object.fromEntries(headers)).toEqual({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
  })

  it('of a file that is processed already says so at once, and hears what becomes of it later', async () => {
    const { saved, watch, background, users } = await start()
    const user = await saved()
    await background.run()
    const page = watcherOf(await watch(streamOf([user.avatar.watchToken()])))
    await expect.poll(() => statesOf(page)).toEqual(['processed'])
    await users.remove(user)
    await expect.poll(() => statesOf(page)).toEqual(['processed', 'removed'])
    expect(page.states[1]?.file).toBeNull()
  })

  it('tells of a job that gives up, and of another try', async () => {
    const { attachments, watch, background, users } = await start()
    const user = new User()
    pen.before = () => {
      throw new ProcessingError('impossible', 'it cannot be made')
    }
    await attachments.attach(user, 'paper', Buffer.from('text'), { fileName: 'a.txt' })
    await users.save(user)
    const page = watcherOf(await watch(streamOf([user.paper?.watchToken() as string])))
    await background.run()
    await expect.poll(() => statesOf(page).at(-1)).toBe('failed')
    expect(page.states.at(-1)?.file).toMatchObject({ failed: true, processing: false })
    pen.reset()
    const before = page.states.length
    await attachments.retry(user, 'paper')
    await expect.poll(() => statesOf(page).slice(before)).toEqual(['processing'])
    await background.run()
    await expect.poll(() => statesOf(page).at(-1)).toBe('processed')
  })

  it.each(['replaced', 'detached', 'made anew'] as const)('ends with removed for a file that is %s', async (how) => {
    // looks once in 30 seconds
    const { notifier } = testNotifier()
    const { attachments, saved, watch, background, users } = await start({ notifier })
    const user = await saved()
    const page = watcherOf(await watch(streamOf([user.avatar.watchToken()])))
    await background.run()
    await expect.poll(() => statesOf(page).at(-1)).toBe('processed')
    if (how === 'replaced') await saved(user)
    if (how === 'detached') {
      user.avatar = null as never
      await users.save(user)
    }
    if (how === 'made anew') await attachments.reprocess(await users.findOneByOrFail({ id: user.id }), 'avatar')
    await expect.poll(() => statesOf(page).at(-1)).toBe('removed')
  })

  it('of a hundred files costs one query for each attachment', async () => {
    const { notifier } = testNotifier()
    const { saved, watch, attachments, users, queries } = await counted({ notifier })
    const many = await Promise.all(Array.from({ length: 50 }, () => saved()))
    for (const user of many) await attachments.attach(user, 'paper', Buffer.from('text'), { fileName: 'a.txt' })
    await users.save(many)
    const tokens = many.flatMap(({ avatar, paper }) => [avatar.watchToken(), paper?.watchToken() as string])
    queries.length = 0
    const page = watcherOf(await watch(streamOf(tokens)))
    await expect.poll(() => page.states).toHaveLength(100)
    expect(page.states.map(({ token }) => token)).toEqual(tokens)
    expect(queries).toHaveLength(2)
    // what proxies take: nginx 8 KB of a line
    expect(new URL(addressOf(tokens)).search.length).toBeLessThan(8_000)
  })

  it('that nobody reads keeps no more than the last state of each file', async () => {
    const { notifier, hear, begin } = testNotifier()
    const { saved, watch } = await start({ notifier })
    const user = await saved()
    const token = user.avatar.watchToken()
    const response = await watch(streamOf([token]))
    const { version } = user.avatar
    for (let done = 1; done <= 1_000; done++)
      hear({
        from: 'elsewhere',
        entity: 'User',
        id: { id: user.id },
        attachment: 'avatar',
        version: version as string,
        state: 'progress',
        progress: { done, of: 1_000 },
      })
    begin()
    const page = watcherOf(response)
    await expect.poll(() => statesOf(page)).toEqual(['processing', 'processing 1000'])
  })

  it('ends quietly with attachments.close(), with what is known by then', async () => {
    const said = warnings()
    const { saved, watch, attachments } = await start()
    const user = await saved()
    const page = watcherOf(await watch(streamOf([user.avatar.watchToken()])))
    await attachments.close()
    await expect.poll(() => page.ended).toBe(true)
    expect(statesOf(page)).toEqual(['processing'])
    await expect(async () => watch(streamOf([user.avatar.watchToken()]))).rejects.toMatchObject({ code: 'not_connected' })
    expect(said).toEqual([])
  })

  it('ends when the handler is told to, as does each that begins after that, with how its file is', async () => {
    const { saved, attachments } = await start()
    const stopping = new AbortController()
    const watch = attachments.watch({ signal: stopping.signal })
    const token = (await saved()).avatar.watchToken()
    const before = watcherOf(await watch(streamOf([token])))
    await expect.poll(() => before.states.length).toBe(1)
    expect(before.ended).toBe(false)
    stopping.abort()
    const after = watcherOf(await watch(streamOf([token])))
    await expect.poll(() => [before.ended, after.ended]).toEqual([true, true])
    expect(statesOf(after)).toEqual(['processing'])
  })

  it('ends also where it has begun while attachments.close() was at it', async () => {
    let stopped = () => {}
    const stopping = new Promise<void>((resolve) => (stopped = resolve))
    let asked = () => {}
    const atIt = new Promise<void>((resolve) => (asked = resolve))
    const stop = () => {
      asked()
      return stopping
    }
    const { saved, watch, attachments } = await start({ notifier: testNotifier({ stop }).notifier })
    const token = (await saved()).avatar.watchToken()
    const first = watcherOf(await watch(streamOf([token])))
    const closing = attachments.close()
    await atIt
    const second = watcherOf(await watch(streamOf([token])))
    await expect.poll(() => [first.ended, second.ended, second.states.length]).toEqual([true, false, 1])
    stopped()
    await closing
    await expect.poll(() => second.ended).toBe(true)
  })

  it('leaves out progress that comes late, until there is another attempt', async () => {
    const { notifier, hear } = testNotifier()
    const { saved, watch } = await start({ notifier })
    const user = await saved()
    const of = { from: 'elsewhere', entity: 'User', id: { id: user.id }, attachment: 'avatar', version: user.avatar.version as string }
    const page = watcherOf(await watch(streamOf([user.avatar.watchToken()])))
    for (const done of [2, 1, 2, 3]) {
      hear({ ...of, state: 'progress', progress: { done, of: 3 } })
      await new Promise(setImmediate)
    }
    await expect.poll(() => statesOf(page)).toEqual(['processing', 'processing 2', 'processing 3'])
    hear({ ...of, state: 'processing' })
    hear({ ...of, state: 'progress', progress: { done: 1, of: 3 } })
    await expect.poll(() => statesOf(page).at(-1)).toBe('processing 1')
  })

  it('goes on after a look that failed, which is one warning', async () => {
    const said = warnings()
    const { saved, watch, dataSource, background } = await start()
    const tokens = [(await saved()).avatar.watchToken(), (await saved()).avatar.watchToken()]
    const page = watcherOf(await watch(streamOf(tokens)))
    await dataSource.query('ALTER TABLE "user" RENAME TO "moved"')
    await expect.poll(() => said, { timeout: 5_000 }).toHaveLength(1)
    expect(said[0]).toMatch(/could not be looked at, and will be again/)
    await dataSource.query('ALTER TABLE "moved" RENAME TO "user"')
    await background.run()
    await expect.poll(() => statesOf(page).filter((state) => state === 'processed')).toHaveLength(2)
  })
})

describe('show', () => {
  it('says what pages see, of whose file, and may take its time', async () => {
    const { saved, attachments } = await start()
    const user = await saved()
    const watch = attachments.watch({ show: async (file, ref) => ({ thumb: file.url('thumb'), name: file.fileName, ref }) })
    const file = { thumb: user.avatar.url('thumb'), name: user.avatar.fileName, ref: { entity: 'User', id: { id: user.id }, attachment: 'avatar' } }
    const token = user.avatar.watchToken()
    expect(await asked(watch, [token])).toEqual([{ token, state: 'processing', mark: expect.any(String), file }])
    const page = watcherOf(await watch(streamOf([token])))
    await expect.poll(() => page.states[0]?.file).toEqual(file)
  })

  it('that throws is the error of the handler', async () => {
    const { saved, attachments } = await start()
    const token = (await saved()).avatar.watchToken()
    const watch = attachments.watch({ show: (file) => file.url('nothing of ours') })
    await expect(watch(new Request(addressOf([token])))).rejects.toMatchObject({ code: 'unknown_style' })
    await expect(watch(streamOf([token]))).rejects.toMatchObject({ code: 'unknown_style' })
  })

  it('that makes no JSON is the error of the handler, and later a warning that concerns no other file', async () => {
    const said = warnings()
    const { saved, attachments, background } = await start()
    const [one, other] = [await saved(), await saved()]
    const tokens = [one.avatar.watchToken(), other.avatar.watchToken()]
    const never = attachments.watch({ show: () => 1n })
    await expect(never(new Request(addressOf(tokens)))).rejects.toThrow('BigInt')
    await expect(never(streamOf(tokens))).rejects.toThrow('BigInt')
    const watch = attachments.watch({ show: ({ processing }, { id }) => (processing || id['id'] !== one.id ? 'seen' : 1n) })
    const page = watcherOf(await watch(streamOf(tokens)))
    await background.run()
    await expect.poll(() => page.states.at(-1)).toMatchObject({ token: tokens[1], state: 'processed', file: 'seen' })
    await expect.poll(() => said.at(-1)).toMatch(/BigInt/)
    await attachments.close()
    await expect.poll(() => page.ended).toBe(true)
  })
})

describe('without a stream', () => {
  it('the states are told once, in JSON', async () => {
    const { saved, watch, background, users } = await start()
    const [one, other, third] = [await saved(), await saved(), await saved()]
    await background.run()
    const tokens = [one, other, third].map(({ avatar }) => avatar.watchToken())
    await saved(other)
    await users.remove(third)
    const states = await asked(watch, tokens)
    expect(states.map(({ token, state }) => [token, state])).toEqual([
      [tokens[0], 'processed'],
      [tokens[1], 'removed'],
      [tokens[2], 'removed'],
    ])
    expect(states[0]?.file).toMatchObject({ present: true, processing: false, url: expect.stringContaining('https://files.test/') })
  })

  it('a file that is yet to be uploaded is awaiting', async () => {
    const { attachments, watch } = await start()
    const user = new User()
    await attachments.expect(user, 'avatar', { fileName: 'a.jpg', contentType: 'image/jpeg', size: 1000 }, { url: '/uploads' })
    expect(await asked(watch, [user.avatar?.watchToken() as string])).toMatchObject([{ state: 'awaiting' }])
  })

  it('the topic of each file is told where browsers may subscribe', async () => {
    const { notifier } = testNotifier()
    const { saved, watch } = await start({ notifier: { ...notifier, topicOf: (channel) => `files/${channel}` } })
    const { avatar } = await saved()
    const topic = `files/${watchTokensOf([secret]).channelOf(avatar.version as string)}`
    expect(await asked(watch, [avatar.watchToken()])).toMatchObject([{ topic }])
  })
})

it.skipIf(inject('mqtt') === null)('the topic is the one where the broker has the signals of the file', async () => {
  const connected = async () => {
    const client = await mqtt.connectAsync(inject('mqtt') as string)
    onTestFinished(() => client.endAsync(true))
    return client
  }
  const prefix = `test-${Math.random()}`
  const { saved, watch, background } = await start({ notifier: mqttNotifier({ client: await connected(), prefix }) })
  const [{ avatar }] = [await saved(), await saved()]
  const [{ topic }] = (await asked(watch, [avatar.watchToken()])) as [WatchState]
  const browser = await connected()
  const heard: Signal[] = []
  browser.on('message', (_topic, message) => void heard.push(JSON.parse(String(message))))
  await browser.subscribeAsync(topic as string, { qos: 1 })
  await background.run()
  await expect.poll(() => heard.at(-1)?.state).toBe('processed')
  expect(new Set(heard.map(({ version }) => version))).toEqual(new Set([avatar.version]))
})

describe('a request is refused', () => {
  it.each(['application/json', 'text/event-stream'])('for tokens that are none, whoever accepts %s', async (accept) => {
    const { saved, watch, attachments } = await start()
    const user = await saved()
    const good = user.avatar.watchToken()
    const upload = attachments.tokenFor(await attached(attachments), 'avatar')
    const foreign = watchTokensOf(['another secret of more than 32 characters'])
    const claim = { entity: 'User', attachment: 'avatar', version: user.avatar.version as string, until: Date.now() + 1000 }
    const request = (tokens: string[]) => new Request(addressOf(tokens), { headers: { accept } })
    for (const bad of ['', 'a', `${good}a`, good.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A')), upload, foreign.sign(claim)]) {
      expect(await refused(watch, request([good, bad]))).toBe('403 bad_token')
    }
    const expired = watchTokensOf([secret]).sign({ ...claim, until: Date.now() - 1 })
    expect(await refused(watch, request([good, expired]))).toBe('403 token_expired')
    const gone = watchTokensOf([secret]).sign({ ...claim, attachment: 'picture' })
    expect(await refused(watch, request([gone]))).toBe('404 unknown_attachment')
  })

  it('without tokens, with too many, and by another method', async () => {
    const { saved, watch } = await start()
    const users = await Promise.all(Array.from({ length: 101 }, () => saved()))
    const tokens = users.map(({ avatar }) => avatar.watchToken())
    expect(await refused(watch, new Request(addressOf([])))).toBe('400 bad_request')
    expect(await refused(watch, streamOf(tokens))).toBe('400 bad_request')
    expect(await asked(watch, tokens.slice(1))).toHaveLength(100)
    expect(await asked(watch, [tokens[0], tokens[0]] as string[])).toHaveLength(1)
    expect(await refused(watch, new Request(addressOf(tokens.slice(1)), { method: 'POST' }))).toBe('405 method_not_allowed')
  })

  it('no handler is made without a secret', async () => {
    const { attachments } = await world([User])
    expect(() => attachments.watch()).toThrow(expect.objectContaining({ code: 'secret_missing' }))
  })

  it.each([Number.NaN, -1, 0, Number.POSITIVE_INFINITY, 40_000_000])('a token that would be good for %s seconds', async (expiresIn) => {
    const { avatar } = await (await start()).saved()
    expect(() => avatar.watchToken({ expiresIn })).toThrow(expect.objectContaining({ code: 'bad_expiry' }))
  })

  it('a watch token is no token of an upload', async () => {
    const { saved, attachments } = await start()
    const { fromDirectUpload } = await import('../src')
    const token = (await saved()).avatar.watchToken()
    await expect(attachments.attach(new User(), 'avatar', fromDirectUpload(token))).rejects.toMatchObject({ code: 'bad_token' })
  })
})

describe('a job in another process', () => {
  async function webAndWorker(notifierOf: (url: string) => Notifier | undefined) {
    const { url } = (await postgres.create()) as { url: string }
    const common = { staging: diskStorage({ root: await folder() }), storage: memoryStorage({ publicUrl: 'https://files.test' }), secret }
    const open = async (): Promise<DataSource> => {
      const dataSource = await new DataSource({ type: 'postgres', url, entities: [User], synchronize: true }).initialize()
      onTestFinished(() => dataSource.destroy())
      return dataSource
    }
    const web = await start({ ...common, notifier: notifierOf(url), dataSource: await open() })
    const worker = await start({ ...common, notifier: notifierOf(url), dataSource: await open() })
    return { web, perform: () => Promise.all(web.background.jobs.splice(0).map((job) => worker.attachments.perform(job))) }
  }

  it('is seen step by step by NOTIFY', async () => {
    const { web, perform } = await webAndWorker((connection) => postgresNotifier({ connection }))
    const steps = ['processing', 'processing 1', 'processing 2', 'processing 3', 'processed']
    // the first may be over before anybody listens, and of any the row may say so before the steps are heard
    await expect
      .poll(
        async () => {
          const page = watcherOf(await web.watch(streamOf([(await web.saved()).avatar.watchToken()])))
          await perform()
          await expect.poll(() => statesOf(page).at(-1), { timeout: 10_000 }).toBe('processed')
          return statesOf(page)
        },
        { timeout: 20_000 },
      )
      .toEqual(steps)
  })

  it('is seen within a second or so where nobody tells', async () => {
    const { web, perform } = await webAndWorker(() => undefined)
    const page = watcherOf(await web.watch(streamOf([(await web.saved()).avatar.watchToken()])))
    await perform()
    await expect.poll(() => statesOf(page), { timeout: 10_000 }).toEqual(['processing', 'processed'])
  })

  it('that was not heard of is looked for when the notifier hears again, by few queries for a thousand pages', async () => {
    const { notifier, begin } = testNotifier()
    const { saved, watch, dataSource, queries } = await counted({ notifier })
    const users = await Promise.all(Array.from({ length: 20 }, () => saved()))
    const tokens = users.map(({ avatar }) => avatar.watchToken())
    const pages = await Promise.all(Array.from({ length: 1_000 }, async (_, at) => watcherOf(await watch(streamOf([tokens[at % 20] as string])))))
    await expect.poll(() => pages.every(({ states }) => states.length === 1)).toBe(true)
    await dataSource.query('UPDATE "user" SET avatar_processing = false')
    queries.length = 0
    begin()
    await expect.poll(() => pages.every((page) => statesOf(page).at(-1) === 'processed')).toBe(true)
    expect(queries.length).toBe(1)
  })
})

it('a job that is done at once is seen like any other', async () => {
  const { attachments, dataSource } = await world([User], { background: inlineBackground(), secret })
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg(100, 100))
  await dataSource.manager.save(user)
  expect(await asked(attachments.watch(), [user.avatar?.watchToken() as string])).toMatchObject([{ state: 'processed' }])
})

/** A world that remembers the queries on its table. */
async function counted(options: WorldOptions = {}) {
  const queries: string[] = []
  const here = await start(options)
  const logger = { logQuery: (sql: string) => /^SELECT.*FROM "user" WHERE .* IN \(/s.test(sql) && queries.push(sql) } as unknown as Logger
  here.dataSource.setOptions({ logging: ['query'] })
  Object.assign(here.dataSource, { logger })
  return { ...here, queries }
}

async function attached(attachments: Attachments): Promise<User> {
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg(100, 100))
  return user
}

/** The URLs of a file once it is processed. */
function urlsAfter(avatar: Attached<'large' | 'thumb'>) {
  const at = (style: 'original' | 'large' | 'thumb') => `https://files.test/${avatar.path(style)}`
  return { url: at('original'), styles: { large: at('large'), thumb: at('thumb') } }
}
