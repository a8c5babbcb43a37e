import { isDate } from 'node:util/types'
import type { Storage } from '../../storage/storage'
import { bytes, info } from '../bodies'
import { holds, same } from '../expect'
import type { StorageCase } from './case'

const day = 24 * 3600_000

/** More than what services list at a time. */
const many = 1_100

/** The keys below a prefix, sorted. */
export async function listed(storage: Storage, prefix = ''): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of storage.list?.(prefix) ?? []) found.push(key)
  return found.sort()
}

async function writeAll(storage: Storage, keys: readonly string[]): Promise<void> {
  const left = [...keys]
  const next = async () => {
    for (let key = left.pop(); key !== undefined; key = left.pop()) await storage.write(key, bytes(10), info)
  }
  await Promise.all(Array.from({ length: 20 }, next))
}

/** For storages that have `list`; others pass. */
export const lists: StorageCase[] = cases([
  [
    'lists size and time of what is stored',
    async (storage) => {
      await storage.write('a/b', bytes(12_345), info)
      for await (const { key, size, modified } of storage.list?.('') ?? []) {
        same([key, size], ['a/b', 12_345], 'the key and the size of the only object')
        const age = isDate(modified) ? Math.abs(Date.now() - modified.getTime()) : Number.NaN
        holds(age < day, `when it was written: expected a Date of today, found ${modified}`)
      }
      same(await listed(storage), ['a/b'], 'the keys that are listed')
    },
  ],
  [
    'lists nothing where nothing is, and nothing that was deleted',
    async (storage) => {
      same(await listed(storage), [], 'the keys of an empty storage')
      await writeAll(storage, ['a/b', 'a/c'])
      await storage.delete(['a/b', 'a/c'])
      same(await listed(storage), [], 'the keys when all was deleted')
    },
  ],
  [
    'lists what begins with a prefix, be it of whole segments or not',
    async (storage) => {
      await writeAll(storage, ['a/b/1', 'a/b/c/2', 'a/bc/3', 'a/bd', 'a/c', 'ab', 'b'])
      const below = async (prefix: string, expected: string[]) => same(await listed(storage, prefix), expected, `the keys below '${prefix}'`)
      await below('', ['a/b/1', 'a/b/c/2', 'a/bc/3', 'a/bd', 'a/c', 'ab', 'b'])
      await below('a', ['a/b/1', 'a/b/c/2', 'a/bc/3', 'a/bd', 'a/c', 'ab'])
      await below('a/b', ['a/b/1', 'a/b/c/2', 'a/bc/3', 'a/bd'])
      await below('a/b/', ['a/b/1', 'a/b/c/2'])
      await below('a/bd', ['a/bd'])
      await below('a/bd/', [])
      await below('never/', [])
    },
  ],
  [
    `lists all of ${many} objects, each once`,
    async (storage) => {
      const written = Array.from({ length: many }, (_, number) => `${number % 7}/${number}`)
      await writeAll(storage, written)
      const found = await listed(storage)
      same(found.length, many, 'how many keys are listed')
      holds(found.join() === written.sort().join(), 'the keys that are listed: expected every key that was written, and each once')
    },
  ],
  [
    'does not mind that objects vanish while it lists them',
    async (storage) => {
      const doomed = Array.from({ length: 50 }, (_, number) => `a/${number}/${number}`)
      await writeAll(storage, doomed)
      let found = 0
      for await (const { key } of storage.list?.('') ?? []) {
        holds(doomed.includes(key), `the keys that are listed: expected some of those that were written, found '${key}'`)
        if (found++ === 0) await storage.delete(doomed)
      }
      holds(found > 0, 'the keys that are listed: expected at least the first of them, found none')
    },
  ],
])

function cases(all: StorageCase[]): StorageCase[] {
  return all.map(([name, check]) => [name, async (storage) => (storage.list ? check(storage) : undefined)])
}
