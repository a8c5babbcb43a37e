import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { lookTogether } from '../../src/http/look-together'
import { openStreams } from '../../src/http/open-streams'
import { watchHandler } from '../../src/http/watch'
import type { WatchPort } from '../../src/http/watch-port'
import { warnings } from '../support/warnings'
import { addressOf, streamOf, watcherOf } from '../support/watching'
import { bare } from './servers'
import { type TestWatchPort, watchPort } from './watch-port'

function handlerOn(port: WatchPort, pause = 60_000) {
  const streams = openStreams(pause)
  onTestFinished(() => streams.close())
  return { watch: watchHandler(port, lookTogether(port.look), streams), streams }
}

const gone = (port: TestWatchPort) => expect.poll(() => port.watchers.size).toBe(0)

describe.each(bare)('%s', (_name, serve) => {
  it('streams events as they come', async () => {
    const port = watchPort('a', 'b')
    const { url } = await serve(handlerOn(port).watch)
    const page = watcherOf(await fetch(streamOf(['a', 'b'], { base: `${url}/watch` })))
    await expect.poll(() => page.states).toHaveLength(2)
    port.rows.set('a', 'processed')
    port.wakeAll()
    await expect.poll(() => page.states.at(-1)).toMatchObject({ token: 'a', state: 'processed' })
    expect(page.headers.get('content-type')).toBe('text/event-stream')
    expect(page.headers.get('x-accel-buffering')).toBe('no')
  })

  it('forgets a browser that goes, also in the middle of the first look', async () => {
    const port = watchPort('a', 'b')
    const { url } = await serve(handlerOn(port).watch)
    const aborter = new AbortController()
    const page = watcherOf(await fetch(streamOf(['a', 'b'], { base: url, signal: aborter.signal })))
    await expect.poll(() => page.states).toHaveLength(2)
    expect(port.watchers.size).toBe(2)
    aborter.abort()
    await gone(port)

    let look = () => {}
    port.beforeAnswer = () => new Promise<void>((resolve) => (look = resolve))
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write('GET /?token=a HTTP/1.1\r\nHost: app.test\r\nAccept: text/event-stream\r\n\r\n')
    await expect.poll(() => port.looks).toHaveLength(2)
    expect(port.watchers.size).toBe(1)
    socket.destroy()
    await gone(port)
    look()
  })

  it('ends a stream that the handler ends', async () => {
    const port = watchPort('a')
    const { watch, streams } = handlerOn(port)
    const { url } = await serve(watch)
    const page = watcherOf(await fetch(streamOf(['a'], { base: url })))
    await expect.poll(() => page.states).toHaveLength(1)
    streams.close()
    await expect.poll(() => page.ended).toBe(true)
    expect(port.watchers.size).toBe(0)
  })

  it('answers JSON and refusals', async () => {
    const { url } = await serve(handlerOn(watchPort('a')).watch)
    const response = await fetch(addressOf(['a', 'c'], url))
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(await response.json()).toMatchObject({
      states: [
        { token: 'a', state: 'processing', file: { version: 'a', processing: true } },
        { token: 'c', state: 'removed', file: null },
      ],
    })
    const refused = await fetch(streamOf(['a', 'forged'], { base: url }))
    expect([refused.status, await refused.json()]).toEqual([403, { error: { code: 'bad_token', message: 'this is no token of ours' } }])
  })

  it('holds next to nothing for a page that does not read, and tells it what is true when it does', async () => {
    const port = watchPort('a')
    const { streams } = handlerOn(port)
    let told = 0
    const show = () => ({ told: ++told, padding: 'x'.repeat(100_000) })
    const { url } = await serve(watchHandler(port, lookTogether(port.look), streams, { show }))
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.pause().write('GET /?token=a HTTP/1.1\r\nHost: app.test\r\nAccept: text/event-stream\r\n\r\n')
    await expect.poll(() => told).toBe(1)
    const before = process.memoryUsage().arrayBuffers
    for (let change = 2; change <= 1_000; change++) {
      port.rows.set('a', change % 2 ? 'processing' : 'processed')
      port.wakeAll()
      await expect.poll(() => told, { interval: 0 }).toBe(change)
    }
    // what is on its way is in the buffers of the two sockets, and of 100 MB that were told
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000)
    let text = ''
    socket.on('data', (data) => {
      text = (text + data).slice(-300_000)
    })
    socket.resume()
    await expect.poll(() => text).toContain('"told":1000')
  })
})

it('a stream whose browser has gone before it begins is none', async () => {
  const port = watchPort('a')
  const { watch } = handlerOn(port)
  await expect(watch(streamOf(['a'], { signal: AbortSignal.abort('gone') }))).rejects.toBe('gone')
  expect(port.watchers.size).toBe(0)
})

it('a first look that fails is the error of the handler, and leaves nobody watching', async () => {
  const port = watchPort('a', 'b')
  port.beforeAnswer = () => {
    throw new Error('the database is away')
  }
  await expect(handlerOn(port).watch(streamOf(['a', 'b']))).rejects.toThrow('the database is away')
  expect(port.watchers.size).toBe(0)
})

it('what happens during the first look is not missed', async () => {
  const port = watchPort('a')
  port.beforeAnswer = () => {
    port.beforeAnswer = () => undefined
    port.rows.set('a', 'processed')
    port.wakeAll()
  }
  const page = watcherOf(await handlerOn(port).watch(streamOf(['a'])))
  await expect.poll(() => page.states.at(-1)).toMatchObject({ state: 'processed' })
})

it('a stream that is ended says before what is still to be told', async () => {
  const port = watchPort('a')
  const { watch, streams } = handlerOn(port)
  const response = await watch(streamOf(['a']))
  port.rows.set('a', 'processed')
  port.wakeAll()
  await expect.poll(() => port.looks).toHaveLength(2)
  await new Promise(setImmediate)
  streams.close()
  const page = watcherOf(response)
  await expect.poll(() => page.ended).toBe(true)
  expect(page.states.map(({ state }) => state)).toEqual(['processing', 'processed'])
})

it('all streams have two timers, and none when there is none', () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const streams = openStreams(60_000)
  const stream = () => ({ lookAgain() {}, beat() {}, end() {} })
  const [one, other] = [stream(), stream()]
  const before = timers()
  streams.add(one)
  streams.add(other)
  expect(timers()).toBe(before + 2)
  streams.delete(one)
  streams.delete(one)
  expect(timers()).toBe(before + 2)
  streams.delete(other)
  expect(timers()).toBe(before)
})

it('what goes on failing is a warning now and then', async () => {
  const said = warnings()
  const port = watchPort('a')
  watcherOf(await handlerOn(port, 5).watch(streamOf(['a'])))
  port.beforeAnswer = () => {
    throw new Error('the database is away')
  }
  const looks = port.looks.length
  await expect.poll(() => port.looks.length).toBeGreaterThan(looks + 10)
  expect(said).toEqual([expect.stringContaining('the database is away')])
})

it('who asks while a query is under way is answered by the next, in hundreds', async () => {
  const port = watchPort()
  const look = lookTogether(port.look)
  let go = () => {}
  port.beforeAnswer = () => new Promise<void>((resolve) => (go = resolve))
  const first = look({ entity: 'User', attachment: 'avatar', version: 'first' })
  await expect.poll(() => port.looks).toHaveLength(1)
  const rest = Array.from({ length: 1_200 }, (_, at) => look({ entity: 'User', attachment: 'avatar', version: String(at % 600) }))
  port.beforeAnswer = () => undefined
  await new Promise(setImmediate)
  expect(port.looks).toHaveLength(1)
  go()
  expect(await Promise.all([first, ...rest])).toEqual(Array(1_201).fill(null))
  expect(port.looks.map(({ length }) => length)).toEqual([1, 500, 100])
})

it('looks now and then where nothing is heard, and not after the last page has gone', async () => {
  const port = watchPort('a')
  const page = watcherOf(await handlerOn(port, 10).watch(streamOf(['a'])))
  port.rows.set('a', 'processed')
  await expect.poll(() => page.states.map(({ state }) => state)).toEqual(['processing', 'processed'])
  await page.leave()
  const looks = port.looks.length
  const other = watchPort('b')
  watcherOf(await handlerOn(other, 10).watch(streamOf(['b'])))
  await expect.poll(() => other.looks.length).toBeGreaterThan(10)
  expect(port.looks.length).toBe(looks)
})
