import { buffer } from 'node:stream/consumers'
import type { Storage } from '../../storage/storage'
import { bytes, digest, info, MB, stored } from '../bodies'
import { failing, same } from '../expect'
import type { StorageCase } from './case'

async function beginning(storage: Storage, key: string, length: number): Promise<string> {
  return digest(await buffer(await storage.read(key, { length })))
}

/** Reading the beginning; and, for storages whose `stat` tells an `etag`, reading and copying just what was looked at. */
export const pins: StorageCase[] = [
  [
    'reads only the beginning, where that is asked for',
    async (storage) => {
      const body = bytes(2 * MB)
      await storage.write('a/b', body, info)
      for (const length of [1, 70_000, 2 * MB - 1, 2 * MB, 2 * MB + 1, 100 * MB]) {
        same(await beginning(storage, 'a/b', length), digest(body.subarray(0, length)), `what read(key, { length: ${length} }) gives of 2 MB`)
      }
      await storage.write('empty', bytes(0), info)
      same(await beginning(storage, 'empty', 100), digest(bytes(0)), 'what read(key, { length: 100 }) gives of an empty object')
      same((await failing(storage.read('never', { length: 10 }), 'reading the beginning of nothing')).code, 'object_missing', 'the code of the error')
    },
  ],
  pinned('tells the same bytes apart from others by their etag', async (storage, etag) => {
    same(await etagOf(storage, 'a'), etag, 'the etag of what nobody has written to')
    const bodies = [bytes(1_001), bytes(1_000, 1), bytes(0), bytes(9 * MB), bytes(9 * MB, 1)]
    const etags: (string | undefined)[] = [etag]
    for (const body of bodies) {
      await storage.write('a', body, info)
      etags.push(await etagOf(storage, 'a'))
    }
    same(new Set(etags).size, etags.length, `how many etags ${etags.length} different bodies have (${etags})`)
  }),
  pinned('reads what has the etag that is asked for, and refuses what has another', async (storage, etag) => {
    for (const length of [undefined, 100, 5_000]) {
      const found = await buffer(await storage.read('a', { etag, length }))
      same(digest(found), digest(bytes(1_000).subarray(0, length)), `what read(key, { etag, length: ${length} }) gives`)
    }
    for (const body of [bytes(1_000, 1), bytes(0)]) {
      await storage.write('a', body, info)
      for (const length of [undefined, 100]) {
        const error = await failing(storage.read('a', { etag, length }), 'reading by the etag of what was there before')
        same(error.code, 'object_changed', 'the code of the error')
      }
    }
    await storage.delete(['a'])
    same((await failing(storage.read('a', { etag }), 'reading nothing by an etag')).code, 'object_missing', 'the code of the error')
  }),
  pinned('reads nothing by the etag of what it holds, where nothing is in it', async (storage) => {
    await storage.write('a', bytes(0), info)
    const read = await storage.read('a', { etag: await etagOf(storage, 'a'), length: 10 })
    same(digest(await buffer(read)), digest(bytes(0)), 'what is read of an empty object')
  }),
  pinned('copies what has the etag that is asked for, and refuses what has another', async (storage, etag) => {
    if (!storage.copy) return
    await storage.write('older', bytes(5_000), info)
    const copied = await storage.copy(storage, 'a', 'b', { ...info, size: 1_000, etag })
    same(await stored(storage, 'b'), copied ? digest(bytes(1_000)) : 'nothing', `what is under 'b' when copy() by the etag gave ${copied}`)
    await storage.write('a', bytes(1_000, 1), info)
    for (const key of ['c', 'older']) {
      const code = await storage.copy(storage, 'a', key, { ...info, size: 1_000, etag }).catch((error) => error.code)
      same(code, copied ? 'object_changed' : false, 'the code of the error when what is to be copied has another etag')
    }
    same(await stored(storage, 'c'), 'nothing', 'what is under the key to which nothing could be copied')
    same(await stored(storage, 'older'), digest(bytes(5_000)), 'what was there before')
  }),
]

async function etagOf(storage: Storage, key: string): Promise<string | undefined> {
  return (await storage.stat(key))?.etag
}

/** Where 1,000 bytes under `a` have an etag. */
function pinned(name: string, check: (storage: Storage, etag: string) => Promise<void>): StorageCase {
  return [
    name,
    async (storage) => {
      await storage.write('a', bytes(1_000), info)
      const etag = await etagOf(storage, 'a')
      if (etag !== undefined) await check(storage, etag)
    },
  ]
}
