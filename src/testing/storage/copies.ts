import { bytes, digest, info, stored } from '../bodies'
import { holds, same } from '../expect'
import type { StorageCase } from './case'

/** For storages that have `copy`; others pass. They copy at least from themselves, or say that they do not. */
export const copies: StorageCase[] = [
  [
    'copies what it holds, whatever the keys, and keeps what was copied',
    async (storage) => {
      for (const [from, to] of [
        ['a/b', 'c/d'],
        ['me at the sea/100%+Zoë#1?.jpg', 'salt & pepper/50%25/🏖️.jpg'],
      ] as const) {
        await storage.write(from, bytes(70_000), info)
        const copied = await storage.copy?.(storage, from, to, { ...info, size: 70_000 })
        same(await stored(storage, to), copied ? digest(bytes(70_000)) : 'nothing', `what is under '${to}' when copy() from '${from}' gave ${copied}`)
        same(await stored(storage, from), digest(bytes(70_000)), `what is under '${from}', which was copied`)
      }
    },
  ],
  [
    'replaces what was under the key that it copies to',
    async (storage) => {
      await storage.write('a', bytes(10), info)
      await storage.write('b', bytes(5_000, 2), info)
      const copied = await storage.copy?.(storage, 'a', 'b', { ...info, size: 10 })
      same(await stored(storage, 'b'), digest(copied ? bytes(10) : bytes(5_000, 2)), `what is under 'b' when copy() gave ${copied}`)
    },
  ],
  [
    'copies nothing that is not there, and leaves what was there before',
    async (storage) => {
      await storage.write('older', bytes(5_000), info)
      for (const key of ['new', 'older']) {
        const copied = await storage.copy?.(storage, 'never', key, { ...info, size: 10 }).catch(() => false)
        holds(!copied, `copying what is not there: expected false or an error, found ${copied}`)
      }
      same(await storage.stat('new'), undefined, 'what stat() tells of a key to which nothing could be copied')
      same(await stored(storage, 'older'), digest(bytes(5_000)), 'what was there before')
    },
  ],
]
