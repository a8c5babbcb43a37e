import { bytes, digest, info, stored } from '../bodies'
import { same } from '../expect'
import type { StorageCase } from './case'

export const deletes: StorageCase[] = [
  [
    'deletes many keys at once and leaves the others',
    async (storage) => {
      const doomed = Array.from({ length: 20 }, (_, number) => `a/${number % 3}/${number}`)
      await Promise.all([...doomed, 'a/0/kept', 'kept'].map((key) => storage.write(key, bytes(10), info)))
      await storage.delete(doomed)
      const left = await Promise.all(doomed.map(async (key) => ((await storage.stat(key)) ? [key] : [])))
      same(left.flat(), [], 'the keys that are still there when all of them were deleted')
      for (const key of ['a/0/kept', 'kept']) same(await stored(storage, key), digest(bytes(10)), `what is under '${key}', which was not deleted`)
    },
  ],
  [
    'does not mind deleting what is not there, or nothing',
    async (storage) => {
      await storage.write('a/b', bytes(10), info)
      await storage.delete([])
      await storage.delete(['never', 'a/never', 'a/b', 'never/was/there'])
      await storage.delete(['a/b'])
      same(await storage.stat('a/b'), undefined, 'what stat() tells of a key that was deleted among others that are not there')
    },
  ],
]
