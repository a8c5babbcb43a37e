import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { type Storage, StorageError } from '../../src'

const info = { contentType: 'application/octet-stream' }
const MB = 1024 * 1024

/** Of prime length: no two parts of a body made of it are alike, wherever a storage cuts. */
const pattern = randomBytes(65_521)

/** Bytes in which nothing can be missing, doubled or in the wrong place without being noticed. */
export function bytes(size: number, mark = 0): Buffer {
  return Buffer.alloc(size, pattern).fill(mark, 0, Math.min(size, 1))
}

/** The same as a stream, made while it is read; breaks with `error` where one is given. */
export function streamOf(body: Buffer, error?: Error): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < body.length; at += 64 * 1024) yield body.subarray(at, at + 64 * 1024)
      if (error) throw error
    })(),
    { objectMode: false },
  )
}

/** Short enough to be read in a failure's message. */
export function digest(body: Uint8Array): string {
  return `${body.length} bytes, SHA-256 ${createHash('sha256').update(body).digest('hex')}`
}

/** What lies under a key, as `digest` tells it. */
export async function stored(storage: Storage, key: string): Promise<string> {
  return digest(await buffer(await storage.read(key)))
}

/** A storage may go two ways, depending on whether it knows the size beforehand. */
export const sizes = (size: number): [string, number?][] => [['told', size], ['not told']]

const keys = {
  'with spaces': 'my files/me at the sea.jpg',
  'with percent signs': '100%/50%25/a%2Fb.png',
  'with composed letters (NFC)': 'Zoë/é.jpg'.normalize('NFC'),
  'with decomposed letters (NFD)': 'Zoë/é.jpg'.normalize('NFD'),
  'written from right to left': 'שלום/مرحبا.png',
  'with emoji': 'pictures/🏖️/👩‍👩‍👧.webp',
  'with plus signs': 'a+b/c++.txt',
  'with ampersands': 'salt&pepper/a&amp;b=c.txt',
  'with quotes': `it's/"quoted".txt`,
  'with angle brackets': 'a<b>/<Key>c</Key>.txt',
  'with hashes': 'c#/#1.txt',
  'with question marks': 'why?/a?b=c.txt',
  'with characters that some signatures miss': "!*'()/a;b,c=d@e:f$g~h.txt",
  'with dots': '.hidden/a..b/...c',
  'with one very long segment': `long/${'n'.repeat(200)}`,
}

/**
 * What every storage must do, as tests. `make` gives an empty storage, ready for use; it is called once for each test.
 */
export function storageContract(name: string, make: () => Promise<Storage>): void {
  describe(name, () => {
    it('gives back a Buffer byte for byte', async () => {
      const storage = await make()
      await storage.write('a/b', bytes(300_000), info)
      expect(await stored(storage, 'a/b')).toBe(digest(bytes(300_000)))
    })

    it('takes a Uint8Array that shows a part of its memory', async () => {
      const storage = await make()
      const memory = bytes(1_000)
      await storage.write('a', new Uint8Array(memory.buffer, memory.byteOffset + 100, 500), info)
      expect(await stored(storage, 'a')).toBe(digest(memory.subarray(100, 600)))
    })

    it.each(sizes(300_000))('gives back a stream whose size is %s byte for byte', async (_, size) => {
      const storage = await make()
      await storage.write('a/b', streamOf(bytes(300_000)), { ...info, size })
      expect(await stored(storage, 'a/b')).toBe(digest(bytes(300_000)))
    })

    it.each(sizes(20 * MB))('gives back 20 MB whose size is %s byte for byte', async (_, size) => {
      const storage = await make()
      const body = bytes(20 * MB)
      await storage.write('large', streamOf(body), { ...info, size })
      expect(await stored(storage, 'large')).toBe(digest(body))
      expect(await storage.stat('large')).toMatchObject({ size: 20 * MB })
    })

    it('keeps what it was given, whatever happens to the Buffer afterwards', async () => {
      const storage = await make()
      const body = bytes(1_000)
      await storage.write('a', body, info)
      body.fill(0)
      expect(await stored(storage, 'a')).toBe(digest(bytes(1_000)))
    })

    it('keeps objects without a single byte', async () => {
      const storage = await make()
      await storage.write('buffer', Buffer.alloc(0), info)
      await storage.write('stream', Readable.from([]), info)
      await storage.write('sized', Readable.from([]), { ...info, size: 0 })
      for (const key of ['buffer', 'stream', 'sized']) {
        expect(await storage.stat(key), key).toMatchObject({ size: 0 })
        expect(await stored(storage, key), key).toBe(digest(Buffer.alloc(0)))
      }
    })

    it('tells the size of what is there, and undefined of what is not', async () => {
      const storage = await make()
      await storage.write('a/b', bytes(12_345), info)
      expect(await storage.stat('a/b')).toMatchObject({ size: 12_345 })
      expect(await storage.stat('a/c')).toBeUndefined()
      expect(await storage.stat('c')).toBeUndefined()
    })

    it('replaces what was under a key, be it longer or shorter', async () => {
      const storage = await make()
      for (const size of [1_000, 200_000, 10]) {
        await storage.write('a', bytes(size), info)
        expect(await storage.stat('a')).toMatchObject({ size })
        expect(await stored(storage, 'a')).toBe(digest(bytes(size)))
      }
    })

    it('deletes many keys at once and leaves the others', async () => {
      const storage = await make()
      const doomed = Array.from({ length: 20 }, (_, number) => `a/${number % 3}/${number}`)
      await Promise.all([...doomed, 'a/0/kept', 'kept'].map((key) => storage.write(key, bytes(10), info)))
      await storage.delete(doomed)
      expect((await Promise.all(doomed.map((key) => storage.stat(key)))).filter(Boolean)).toEqual([])
      expect(await stored(storage, 'a/0/kept')).toBe(digest(bytes(10)))
      expect(await stored(storage, 'kept')).toBe(digest(bytes(10)))
    })

    it('does not mind deleting what is not there, or nothing', async () => {
      const storage = await make()
      await storage.write('a/b', bytes(10), info)
      await storage.delete([])
      await storage.delete(['never', 'a/never', 'a/b', 'never/was/there'])
      await storage.delete(['a/b'])
      expect(await storage.stat('a/b')).toBeUndefined()
    })

    it('rejects to read what is not there', async () => {
      const storage = await make()
      const reading = storage.read('a/never')
      await expect(reading).rejects.toBeInstanceOf(StorageError)
      await expect(reading).rejects.toMatchObject({ code: 'object_missing' })
    })

    it('holds nothing under a key that is only the beginning of others', async () => {
      const storage = await make()
      await storage.write('a/b/c', bytes(10), info)
      expect(await storage.stat('a/b')).toBeUndefined()
      await expect(storage.read('a/b').then(buffer)).rejects.toMatchObject({ code: 'object_missing' })
      await storage.delete(['a/b', 'a'])
      expect(await stored(storage, 'a/b/c')).toBe(digest(bytes(10)))
    })

    it('holds nothing under a key that goes on below an object', async () => {
      const storage = await make()
      await storage.write('a/b', bytes(10), info)
      expect(await storage.stat('a/b/c')).toBeUndefined()
      await expect(storage.read('a/b/c')).rejects.toMatchObject({ code: 'object_missing' })
      await storage.delete(['a/b/c'])
      expect(await stored(storage, 'a/b')).toBe(digest(bytes(10)))
    })

    it.each(Object.entries(keys))('takes keys %s', async (_, key) => {
      const storage = await make()
      await storage.write(key, bytes(100), info)
      expect(await storage.stat(key)).toMatchObject({ size: 100 })
      expect(await stored(storage, key)).toBe(digest(bytes(100)))
      await storage.delete([key])
      expect(await storage.stat(key)).toBeUndefined()
    })

    it('shows one of the bodies whole, however many are written to one key at a time', async () => {
      const storage = await make()
      const bodies = Array.from({ length: 6 }, (_, number) => bytes((number + 1) * 150_000, number))
      const whole = bodies.map(digest)
      await storage.write('contested', bodies[0] as Buffer, info)
      let writing = true
      const written = Promise.all(bodies.map((body, number) => storage.write('contested', number % 2 ? body : streamOf(body), info)))
      const settled = written.finally(() => (writing = false))
      do expect(whole).toContain(await stored(storage, 'contested'))
      while (writing)
      await settled
      expect(whole).toContain(await stored(storage, 'contested'))
      expect(bodies.map(({ length }) => length)).toContain((await storage.stat('contested'))?.size)
    })

    describe.each([
      ['soon', 100_000],
      ['late', 12 * MB],
    ])('given a stream that breaks %s', (_, size) => {
      const broken = new Error('the source broke')
      const breaks: [string, () => Readable, number?][] = [
        ['with an error', () => streamOf(bytes(size), broken)],
        ['with an error, its size told', () => streamOf(bytes(size), broken), size * 2],
        ['without a word', () => cutOff(bytes(size))],
        ['without a word, its size told', () => cutOff(bytes(size)), size * 2],
      ]

      it.each(breaks)('%s, leaves nothing', async (_, source, size) => {
        const storage = await make()
        const stream = source()
        const error = await storage.write('a/b', stream, { ...info, size }).catch((error) => error)
        if (error !== broken && error?.code !== 'ERR_STREAM_PREMATURE_CLOSE') expect(error).toBeInstanceOf(StorageError)
        expect(stream.destroyed).toBe(true)
        expect(await storage.stat('a/b')).toBeUndefined()
        await expect(storage.read('a/b')).rejects.toMatchObject({ code: 'object_missing' })
      })

      it.each(breaks)('%s, keeps what was under the key before', async (_, source, size) => {
        const storage = await make()
        await storage.write('a/b', bytes(5_000), info)
        await expect(storage.write('a/b', source(), { ...info, size })).rejects.toThrow()
        expect(await storage.stat('a/b')).toMatchObject({ size: 5_000 })
        expect(await stored(storage, 'a/b')).toBe(digest(bytes(5_000)))
      })
    })

    it('is not disturbed by readers that go away half-way', async () => {
      const storage = await make()
      await storage.write('a', bytes(2 * MB), info)
      for (let reader = 0; reader < 5; reader++) {
        const stream = await storage.read('a')
        for await (const _ of stream) break
        await expect.poll(() => stream.destroyed).toBe(true)
      }
      expect(await stored(storage, 'a')).toBe(digest(bytes(2 * MB)))
    })

    it('has an address for a key, or null, without waiting', async () => {
      const storage = await make()
      const url = storage.url('a b/c')
      if (url !== null) expect(url).toMatch(/\/a%20b\/c$/)
    })
  })
}

/** A stream that is destroyed when all of `body` was read, and never ends: a client that went away. */
function cutOff(body: Buffer): Readable {
  let at = 0
  return new Readable({
    read() {
      if (at < body.length) this.push(body.subarray(at, at + 64 * 1024))
      else this.destroy()
      at += 64 * 1024
    },
  })
}
