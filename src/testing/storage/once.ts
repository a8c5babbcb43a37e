import { StorageError } from '../../errors'
import { bytes, digest, info, MB, sizes, stored, streamOf } from '../bodies'
import { failing, holds, same } from '../expect'
import type { StorageCase } from './case'

const once = { ...info, once: true }

/** Where a storage receives uploads, a second one must not take the place of what was looked at. */
const refused = `writing once, by write(key, body, { once: true }), where something is already`

export const writesOnce: StorageCase[] = [
  [
    'writes once where nothing is, and what was deleted is nothing',
    async (storage) => {
      await storage.write('a/b', bytes(1_000), once)
      same(await stored(storage, 'a/b'), digest(bytes(1_000)), 'what was written once from a Buffer')
      await storage.delete(['a/b'])
      await storage.write('a/b', streamOf(bytes(9 * MB)), once)
      same(await stored(storage, 'a/b'), digest(bytes(9 * MB)), 'what was written once from a stream, when what was there was deleted')
    },
  ],
  ...[1_000, 9 * MB].flatMap((length) =>
    sizes(length).map(
      ([told, size]): StorageCase => [
        `refuses to write ${length === 1_000 ? '1 kB' : '9 MB'} once whose size is ${told} where something is, and leaves that`,
        async (storage) => {
          await storage.write('a/b', bytes(5_000, 2), info)
          for (const body of [bytes(length), streamOf(bytes(length))]) {
            const error = await failing(storage.write('a/b', body, { ...once, size }), refused)
            same(error.code, 'object_exists', `the code of the error that tells that something is there`)
            holds(error instanceof StorageError, `${refused}: expected a StorageError, found ${error}`)
            if (!(body instanceof Uint8Array)) holds(body.destroyed, 'the stream: expected it to be read or destroyed, when its key was taken')
            same(await stored(storage, 'a/b'), digest(bytes(5_000, 2)), 'what was there before somebody tried to write once')
          }
        },
      ],
    ),
  ),
  [
    'replaces what was written once, where that is not asked for again',
    async (storage) => {
      await storage.write('a', bytes(10), once)
      await storage.write('a', bytes(20), info)
      same(await stored(storage, 'a'), digest(bytes(20)), 'what was written last')
    },
  ],
]
