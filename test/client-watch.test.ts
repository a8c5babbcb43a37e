import 'reflect-metadata'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Page } from 'playwright-core'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { type Attached, Attachment, type FetchHandler, toNodeHandler, type WatchState } from '../src'
import { lookTogether } from '../src/http/look-together'
import { openStreams } from '../src/http/open-streams'
import { watchHandler } from '../src/http/watch'
import { watchPort } from './http/watch-port'
import { browserPages } from './support/browser'
import { jpeg } from './support/pictures'
import { heldBackground, world } from './support/world'

const built = readFile(join(__dirname, '../dist/client.mjs'))

/** A page that uses the built file as it is, and whose clock goes as fast as `pace` says. */
const html = `<!doctype html><script type="module">
  import { watch } from '/client.mjs'
  const soon = setTimeout.bind(globalThis)
  const aborter = new AbortController()
  const told = []
  Object.assign(globalThis, { aborter, told, pace: 1, outcome: undefined })
  globalThis.setTimeout = (resume, pause) => soon(resume, pause / globalThis.pace)
  globalThis.watching = (tokens) => {
    const onState = (state) => {
      told.push(state)
      if (globalThis.clumsy) throw { code: 'clumsy', status: 500 }
    }
    watch(tokens, { url: '/watch', onState, signal: aborter.signal }).then(
      () => { globalThis.outcome = 'over' },
      (error) => { globalThis.outcome = error === aborter.signal.reason ? 'the reason' : { code: error.code, status: error.status } },
    )
  }
</script>`

/** What stands between: passes all on; keeps a stream for itself, from the beginning or after its first events; or takes no stream. */
type Proxy = 'none' | 'keeps all' | 'keeps the rest' | 'no streams'

/** An application with that page, whose handler can be away. */
async function application(handler: FetchHandler) {
  const seen = { streams: 0, asked: 0, open: 0 }
  const app = { origin: '', seen, proxy: 'none' as Proxy, goAway, comeBack }
  const client = await built
  const watch = toNodeHandler(handler)

  function listener(incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (incoming.url === '/client.mjs') return void outgoing.setHeader('content-type', 'text/javascript').end(client)
    if (!incoming.url?.startsWith('/watch')) return void outgoing.setHeader('content-type', 'text/html').end(html)
    const streams = incoming.headers.accept === 'text/event-stream'
    seen[streams ? 'streams' : 'asked']++
    if (!streams) return void watch(incoming, outgoing)
    if (app.proxy === 'no streams') return void outgoing.writeHead(502).end()
    seen.open++
    outgoing.once('close', () => seen.open--)
    if (app.proxy !== 'none') hold(outgoing, app.proxy === 'keeps all' ? 0 : 1)
    void watch(incoming, outgoing)
  }

  let server: Server
  async function comeBack(): Promise<void> {
    server = createServer(listener as RequestListener).listen(Number(new URL(app.origin || 'http://a:0').port), '127.0.0.1')
    await once(server, 'listening')
    app.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  function goAway(): void {
    server.closeAllConnections()
    server.close()
  }
  await comeBack()
  onTestFinished(goAway)
  return app
}

/** Passes on the headers and so many pieces of an answer, and keeps the rest. */
function hold(outgoing: ServerResponse, pieces: number): void {
  const write = outgoing.write.bind(outgoing)
  const kept = new PassThrough().resume()
  let left = pieces
  outgoing.write = ((piece: Uint8Array) => {
    if (left-- > 0) return write(piece)
    outgoing.flushHeaders()
    return kept.write(piece)
  }) as ServerResponse['write']
}

describe.skipIf(inject('chromium') === null)('in Chromium', () => {
  const newPage = browserPages()

  async function open(handler: FetchHandler) {
    const app = await application(handler)
    const page = await newPage()
    await page.goto(app.origin)
    return { app, page, ...insideOf(page) }
  }

  function insideOf(page: Page) {
    const told = () => page.evaluate('told') as Promise<WatchState[]>
    return {
      told,
      states: async () => (await told()).map(({ token, state, progress }) => `${token} ${state}${progress ? ` ${progress.done}` : ''}`),
      outcome: () => page.evaluate('outcome'),
      watching: (tokens: readonly string[]) => page.evaluate(`watching(${JSON.stringify(tokens)})`),
      hurry: (pace: number) => page.evaluate(`pace = ${pace}`),
    }
  }

  async function withPort(...versions: string[]) {
    const port = watchPort(...versions)
    const streams = openStreams(60_000, 20)
    onTestFinished(() => streams.close())
    const finish = (version: string) => {
      port.rows.set(version, 'processed')
      port.wakeAll()
    }
    return { ...(await open(watchHandler(port, lookTogether(port.look), streams))), port, streams, finish }
  }

  it('one stream tells of all files, and is closed when there is nothing more to wait for', async () => {
    const { app, watching, states, told, outcome, finish, port } = await withPort('a', 'b')
    await watching(['a', 'b', 'gone'])
    await expect.poll(states).toEqual(['a processing', 'b processing', 'gone removed'])
    finish('b')
    await expect.poll(states).toHaveLength(4)
    expect(await outcome()).toBeUndefined()
    finish('a')
    await expect.poll(outcome).toBe('over')
    expect((await states()).slice(3)).toEqual(['b processed', 'a processed'])
    expect((await told()).at(-1)).toMatchObject({ token: 'a', file: { version: 'a', processing: false } })
    expect(app.seen).toMatchObject({ streams: 1, asked: 0 })
    await expect.poll(() => [port.watchers.size, app.seen.open]).toEqual([0, 0])
  })

  it.each(['keeps all', 'keeps the rest', 'no streams'] as const)('a proxy that %s: it asks instead, and tells the same once', async (proxy) => {
    const { app, watching, states, outcome, finish, hurry } = await withPort('a', 'b')
    app.proxy = proxy
    await hurry(50)
    await watching(['a', 'b'])
    await expect.poll(() => app.seen.asked, { timeout: 10_000 }).toBeGreaterThan(3)
    expect(await states()).toEqual(['a processing', 'b processing'])
    finish('a')
    await expect.poll(states).toEqual(['a processing', 'b processing', 'a processed'])
    finish('b')
    await expect.poll(outcome).toBe('over')
    expect(app.seen).toMatchObject({ streams: 1, open: 0 })
  })

  it('a server that goes and comes back: a new stream, and what happened meanwhile', async () => {
    const { app, page, watching, states, outcome, finish, hurry, streams } = await withPort('a', 'b')
    await watching(['a', 'b'])
    await expect.poll(states).toHaveLength(2)
    await hurry(10)
    let failed = 0
    page.on('requestfailed', (request) => {
      if (request.resourceType() === 'eventsource') failed += 1
    })
    streams.close()
    app.goAway()
    finish('a')
    // the stream that ended, and others that could not begin
    await expect.poll(() => failed, { timeout: 10_000 }).toBeGreaterThan(2)
    await app.comeBack()
    await expect.poll(states).toContain('a processed')
    await expect.poll(() => app.seen, { timeout: 10_000 }).toMatchObject({ open: 1 })
    expect(app.seen.streams).toBeGreaterThan(1)
    finish('b')
    await expect.poll(outcome).toBe('over')
    expect(await states()).toEqual(['a processing', 'b processing', 'a processed', 'b processed'])
  })

  it('signs of life keep a stream in use of which nothing is heard', async () => {
    const { app, watching, states, outcome, finish, hurry } = await withPort('a')
    await watching(['a'])
    await expect.poll(states).toEqual(['a processing'])
    await hurry(50)
    const beats = beatsOf(await fetch(`${app.origin}/watch?token=a`, { headers: { accept: 'text/event-stream' } }))
    // far beyond the 40 seconds
    for (let beat = 0; beat < 100; beat++) await beats.next()
    finish('a')
    await expect.poll(outcome).toBe('over')
    expect(app.seen).toMatchObject({ streams: 2, asked: 0 })
  })

  it('what is refused is not tried again', async () => {
    const { app, watching, states, outcome } = await withPort('a')
    await watching(['a', 'forged'])
    await expect.poll(outcome).toEqual({ code: 'bad_token', status: 403 })
    expect(await states()).toEqual([])
    expect(app.seen).toMatchObject({ streams: 1, asked: 1 })
  })

  it.each(['none', 'no streams'] as const)('is given up, where the proxy is: %s', async (proxy) => {
    const { app, page, watching, states, outcome, port } = await withPort('a')
    app.proxy = proxy
    await watching(['a'])
    await expect.poll(states).toEqual(['a processing'])
    await page.evaluate('aborter.abort(new Error("enough"))')
    await expect.poll(outcome).toBe('the reason')
    await expect.poll(() => [port.watchers.size, app.seen.open]).toEqual([0, 0])
  })

  it.each(['none', 'no streams'] as const)('what onState throws ends it, where the proxy is: %s', async (proxy) => {
    const { app, page, watching, outcome, port } = await withPort('a')
    app.proxy = proxy
    await page.evaluate('globalThis.clumsy = true')
    await watching(['a'])
    await expect.poll(outcome).toEqual({ code: 'clumsy', status: 500 })
    await expect.poll(() => [port.watchers.size, app.seen.open]).toEqual([0, 0])
  })

  it('nothing to watch is over', async () => {
    const { app, watching, outcome } = await withPort()
    await watching([])
    await expect.poll(outcome).toBe('over')
    expect(app.seen).toMatchObject({ streams: 0, asked: 0 })
  })

  it('a picture is seen being processed', async () => {
    const background = heldBackground()
    const { attachments, dataSource } = await world([User], { background, secret: 'a secret of more than 32 characters' })
    const user = new User()
    await attachments.attach(user, 'avatar', await jpeg(100, 100))
    await dataSource.manager.save(user)
    const { watching, told, outcome } = await open(attachments.watch())
    const token = user.avatar.watchToken()
    await watching([token])
    await expect.poll(told).toHaveLength(1)
    await background.run()
    await expect.poll(outcome).toBe('over')
    const all = await told()
    expect(all.map(({ state, progress }) => [state, progress?.done])).toEqual([
      ['processing', undefined],
      ['processing', 1],
      ['processing', 2],
      ['processed', undefined],
    ])
    // with mere progress the file is as it was told before
    expect(all[1]?.file).toEqual(all[0]?.file)
    expect(all[3]?.file).toMatchObject({ processing: false, styles: { thumb: `https://files.test/${user.avatar.path('thumb')}` } })
  })
})

/** The signs of life of a stream. */
async function* beatsOf({ body }: Response): AsyncGenerator<string> {
  const pieces = (body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())
  for await (const piece of pieces as unknown as AsyncIterable<string>) for (const [beat] of piece.matchAll(/^event:alive$/gm)) yield beat
}

@Entity()
class User {
  @PrimaryGeneratedColumn() id!: number
  @Attachment({ styles: { thumb: '20x20#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'>
}
