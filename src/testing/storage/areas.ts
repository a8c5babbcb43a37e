import { holds, same } from '../expect'
import type { StorageCase } from './case'

/** For storages that have `area`; others pass. */
export const areas: StorageCase[] = [
  [
    'knows which place it is, and always says the same',
    async (storage) => {
      if (!storage.area) return
      const [first, ...others] = await Promise.all(Array.from({ length: 5 }, () => storage.area?.()))
      holds(!!first?.id && !!first.where, `area(): expected an id and where that is, found ${JSON.stringify(first)}`)
      await storage.prepare?.()
      for (const other of [...others, await storage.area()]) same(other?.id, first?.id, 'the id that area() gives again')
    },
  ],
  [
    'holds nothing because it was asked which place it is',
    async (storage) => {
      await storage.area?.()
      for await (const { key } of storage.list?.('') ?? []) holds(false, `the keys of an empty storage: expected none, found '${key}'`)
    },
  ],
]
