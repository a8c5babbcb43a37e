import type { ProcessorInput } from '../processor/processor'
import type { Storage } from '../storage/storage'

/**
 * An object of a storage, as processors read it.
 *
 * @param there resolves when it is; until then they wait
 */
export function inputFrom(storage: Storage, key: string, contentType: string, there: Promise<unknown> = Promise.resolve()): ProcessorInput {
  const { localPath } = storage
  return {
    contentType,
    ...(localPath && { path: () => there.then(() => localPath(key)) }),
    open: () => there.then(() => storage.read(key)),
  }
}
