import { Readable } from 'node:stream'
import { bytes, digest, info, MB, sizes, stored, streamOf } from '../bodies'
import { holds, same, until } from '../expect'
import type { StorageCase } from './case'

/** What goes in comes out. */
export const keeps: StorageCase[] = [
  [
    'can be prepared again, as every process does, and keeps what it holds',
    async (storage) => {
      await storage.write('a/b', bytes(1_000), info)
      await storage.prepare?.()
      same(await stored(storage, 'a/b'), digest(bytes(1_000)), 'what was written before another prepare()')
    },
  ],
  [
    'gives back a Buffer byte for byte',
    async (storage) => {
      await storage.write('a/b', bytes(300_000), info)
      same(await stored(storage, 'a/b'), digest(bytes(300_000)), 'what was written from a Buffer')
    },
  ],
  [
    'takes a Uint8Array that shows a part of its memory',
    async (storage) => {
      const memory = bytes(1_000)
      await storage.write('a', new Uint8Array(memory.buffer, memory.byteOffset + 100, 500), info)
      same(await stored(storage, 'a'), digest(memory.subarray(100, 600)), 'the part that the Uint8Array shows')
    },
  ],
  ...[300_000, 20 * MB].flatMap((length) =>
    sizes(length).map(
      ([told, size]): StorageCase => [
        `gives back a stream of ${length === 300_000 ? '300 kB' : '20 MB'} whose size is ${told} byte for byte`,
        async (storage) => {
          const body = bytes(length)
          await storage.write('a/b', streamOf(body), { ...info, size })
          same(await stored(storage, 'a/b'), digest(body), 'what was written from a stream')
          same((await storage.stat('a/b'))?.size, length, 'its size')
        },
      ],
    ),
  ),
  [
    'keeps what it was given, whatever happens to the Buffer afterwards',
    async (storage) => {
      const body = bytes(1_000)
      await storage.write('a', body, info)
      body.fill(0)
      same(await stored(storage, 'a'), digest(bytes(1_000)), 'what the Buffer held when it was written')
    },
  ],
  [
    'keeps objects without a single byte',
    async (storage) => {
      await storage.write('buffer', Buffer.alloc(0), info)
      await storage.write('stream', Readable.from([]), info)
      await storage.write('sized', Readable.from([]), { ...info, size: 0 })
      for (const key of ['buffer', 'stream', 'sized']) {
        same((await storage.stat(key))?.size, 0, `the size of the empty '${key}'`)
        same(await stored(storage, key), digest(Buffer.alloc(0)), `what is under the empty '${key}'`)
      }
    },
  ],
  [
    'replaces what was under a key, be it longer or shorter',
    async (storage) => {
      for (const size of [1_000, 200_000, 10]) {
        await storage.write('a', bytes(size), info)
        same((await storage.stat('a'))?.size, size, 'the size of what was written last')
        same(await stored(storage, 'a'), digest(bytes(size)), 'what was written last')
      }
    },
  ],
  [
    'shows one of the bodies whole, however many are written to one key at a time',
    async (storage) => {
      const bodies = Array.from({ length: 6 }, (_, number) => bytes((number + 1) * 150_000, number))
      const whole = bodies.map(digest)
      const look = async () => {
        const found = await stored(storage, 'contested')
        holds(whole.includes(found), `a key that six bodies are written to at a time: expected one of them whole, found ${found}`)
      }
      await storage.write('contested', bodies[0] as Buffer, info)
      let writing = true
      const written = Promise.all(bodies.map((body, number) => storage.write('contested', number % 2 ? body : streamOf(body), info)))
      const settled = written.finally(() => {
        writing = false
      })
      do await look()
      while (writing)
      await settled
      await look()
    },
  ],
  [
    'is not disturbed by readers that go away half-way',
    async (storage) => {
      await storage.write('a', bytes(2 * MB), info)
      for (let reader = 0; reader < 5; reader++) {
        const stream = await storage.read('a')
        for await (const _ of stream) break
        await until('a stream that nobody reads any more should be destroyed', () => stream.destroyed, 5_000)
      }
      same(await stored(storage, 'a'), digest(bytes(2 * MB)), 'what the next reader gets')
    },
  ],
]
