import { buffer } from 'node:stream/consumers'
import { StorageError } from '../../errors'
import { bytes, digest, info, stored } from '../bodies'
import { failing, holds, same } from '../expect'
import type { StorageCase } from './case'
import { listed } from './lists'

const odd: Record<string, string> = {
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

/** What a key may be, and what is under one. */
export const keys: StorageCase[] = [
  ...Object.entries(odd).map(
    ([name, key]): StorageCase => [
      `takes keys ${name}`,
      async (storage) => {
        await storage.write(key, bytes(100), info)
        same((await storage.stat(key))?.size, 100, `the size of what is under '${key}'`)
        same(await stored(storage, key), digest(bytes(100)), `what is under '${key}'`)
        if (storage.list) same(await listed(storage), [key], 'the keys that are listed')
        await storage.delete([key])
        same(await storage.stat(key), undefined, `what stat() tells of '${key}' when it is deleted`)
      },
    ],
  ),
  [
    'tells the size of what is there, and undefined of what is not',
    async (storage) => {
      await storage.write('a/b', bytes(12_345), info)
      same((await storage.stat('a/b'))?.size, 12_345, 'the size of what is there')
      for (const key of ['a/c', 'c']) same(await storage.stat(key), undefined, `what stat() tells of '${key}', which was never written`)
    },
  ],
  [
    'rejects to read what is not there',
    async (storage) => {
      const error = await failing(storage.read('a/never'), 'reading what is not there')
      same(error.code, 'object_missing', 'the code of the error')
      holds(error instanceof StorageError, `reading what is not there: expected a StorageError, found ${error}`)
    },
  ],
  [
    'holds nothing under a key that is only the beginning of others',
    async (storage) => {
      await storage.write('a/b/c', bytes(10), info)
      same(await storage.stat('a/b'), undefined, `what stat() tells of 'a/b' where only 'a/b/c' was written`)
      const error = await failing(storage.read('a/b').then(buffer), `reading 'a/b' where only 'a/b/c' was written`)
      same(error.code, 'object_missing', 'the code of the error')
      await storage.delete(['a/b', 'a'])
      same(await stored(storage, 'a/b/c'), digest(bytes(10)), `what is under 'a/b/c' when 'a/b' and 'a' were deleted`)
    },
  ],
  [
    'holds nothing under a key that goes on below an object',
    async (storage) => {
      await storage.write('a/b', bytes(10), info)
      same(await storage.stat('a/b/c'), undefined, `what stat() tells of 'a/b/c' where only 'a/b' was written`)
      const error = await failing(storage.read('a/b/c').then(buffer), `reading 'a/b/c' where only 'a/b' was written`)
      same(error.code, 'object_missing', 'the code of the error')
      await storage.delete(['a/b/c'])
      same(await stored(storage, 'a/b'), digest(bytes(10)), `what is under 'a/b' when 'a/b/c' was deleted`)
    },
  ],
  [
    'has an address for a key, or null, without waiting',
    async (storage) => {
      const url = storage.url('a b/c')
      if (url !== null) holds(/\/a%20b\/c$/.test(url), `the address of 'a b/c': expected it to end in /a%20b/c, found ${url}`)
    },
  ],
]
