import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { StorageError } from '../errors'
import { objectExists } from './refused'
import { type ObjectInfo, type Storage, urlBelow } from './storage'

export interface MemoryObject {
  readonly body: Buffer
  readonly info: ObjectInfo
  /** When it was written. */
  readonly modified: Date
}

export interface MemoryStorage extends Storage {
  /** Everything that is held, by key: for tests to look at. */
  readonly objects: ReadonlyMap<string, MemoryObject>
}

/** Keeps objects in this process: for tests. `publicUrl` is only put before the key, nothing serves it. */
export function memoryStorage({ publicUrl }: { publicUrl?: string } = {}): MemoryStorage {
  const objects = new Map<string, MemoryObject>()
  const area = { id: randomUUID(), where: `the memory of process ${process.pid}` }
  return {
    objects,
    async write(key, body, { once, ...info }) {
      const whole = body instanceof Readable ? Buffer.concat(await body.toArray()) : Buffer.from(body)
      if (once && objects.has(key)) throw objectExists(`'${key}' in memory`)
      objects.set(key, { body: whole, info, modified: new Date() })
    },
    async read(key, { length } = {}) {
      const object = objects.get(key)
      if (!object) throw new StorageError('object_missing', `nothing is stored in memory under '${key}'`)
      return Readable.from([object.body.subarray(0, length)])
    },
    async stat(key) {
      const object = objects.get(key)
      return object && { size: object.body.length }
    },
    async delete(keys) {
      for (const key of keys) objects.delete(key)
    },
    async *list(prefix) {
      for (const [key, { body, modified }] of [...objects]) if (key.startsWith(prefix)) yield { key, size: body.length, modified }
    },
    url: (key) => (publicUrl === undefined ? null : urlBelow(publicUrl, key)),
    area: async () => area,
  }
}
