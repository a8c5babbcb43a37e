import { Readable } from 'node:stream'
import { StorageError } from '../errors'
import { type ObjectInfo, type Storage, urlBelow } from './storage'

export interface MemoryStorage extends Storage {
  /** Everything that is held, by key: for tests to look at. */
  readonly objects: ReadonlyMap<string, { readonly body: Buffer; readonly info: ObjectInfo }>
}

/** Keeps objects in this process: for tests. `publicUrl` is only put before the key, nothing serves it. */
export function memoryStorage({ publicUrl }: { publicUrl?: string } = {}): MemoryStorage {
  const objects = new Map<string, { body: Buffer; info: ObjectInfo }>()
  return {
    objects,
    async write(key, body, info) {
      objects.set(key, { body: body instanceof Readable ? Buffer.concat(await body.toArray()) : Buffer.from(body), info })
    },
    async read(key) {
      const object = objects.get(key)
      if (!object) throw new StorageError('object_missing', `nothing is stored in memory under '${key}'`)
      return Readable.from([object.body])
    },
    async stat(key) {
      const object = objects.get(key)
      return object && { size: object.body.length }
    },
    async delete(keys) {
      for (const key of keys) objects.delete(key)
    },
    url: (key) => (publicUrl === undefined ? null : urlBelow(publicUrl, key)),
  }
}
