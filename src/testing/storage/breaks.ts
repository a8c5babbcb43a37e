import type { Readable } from 'node:stream'
import { StorageError } from '../../errors'
import { bytes, cutOff, digest, info, MB, stored, streamOf } from '../bodies'
import { failing, holds, same } from '../expect'
import type { StorageCase } from './case'

const broken = new Error('the source broke')

const lengths: Array<[when: string, length: number]> = [
  ['soon', 100_000],
  ['late', 12 * MB],
]

const ways: Array<[how: string, source: (body: Buffer) => Readable, told?: boolean]> = [
  ['with an error', (body) => streamOf(body, broken)],
  ['with an error, its size told', (body) => streamOf(body, broken), true],
  ['without a word', cutOff],
  ['without a word, its size told', cutOff, true],
]

/** A body that breaks off leaves no trace. */
export const breaks: StorageCase[] = lengths.flatMap(([when, length]) =>
  ways.flatMap(([how, source, told]): StorageCase[] => {
    const facts = told ? { ...info, size: length * 2 } : info
    const name = `given a stream that breaks ${when} ${how}`
    return [
      [
        `${name}, leaves nothing`,
        async (storage) => {
          const stream = source(bytes(length))
          const error = await failing(storage.write('a/b', stream, facts), 'writing from a stream that breaks')
          const ofSource = error === broken || error.code === 'ERR_STREAM_PREMATURE_CLOSE'
          holds(ofSource || error instanceof StorageError, `the error: expected the stream's own or a StorageError, found ${error}`)
          holds(stream.destroyed, 'the stream: expected it to be destroyed, or nobody lets go of what it reads')
          same(await storage.stat('a/b'), undefined, 'what stat() tells of a key whose body broke off')
          same((await failing(storage.read('a/b'), 'reading a key whose body broke off')).code, 'object_missing', 'the code of the error')
        },
      ],
      [
        `${name}, keeps what was under the key before`,
        async (storage) => {
          await storage.write('a/b', bytes(5_000), info)
          await failing(storage.write('a/b', source(bytes(length)), facts), 'writing from a stream that breaks')
          same((await storage.stat('a/b'))?.size, 5_000, 'the size of what was there before')
          same(await stored(storage, 'a/b'), digest(bytes(5_000)), 'what was there before')
        },
      ],
    ]
  }),
)
