import type { ProcessorInput } from '../processor/processor'
import type { Storage } from '../storage/storage'

/**
 * An object of a storage, as processors read it.
 *
 * @param there resolves when it is; until then they wait
 * @param etag of exactly these bytes, where others may write there
 */
export function inputFrom(
  storage: Storage,
  key: string,
  contentType: string,
  { there = Promise.resolve(), etag }: { there?: Promise<unknown>; etag?: string } = {},
): ProcessorInput {
  return {
    contentType,
    ...(storage.localPath && { path: () => there.then(() => storage.localPath?.(key) as string) }),
    open: () => there.then(() => storage.read(key, { etag })),
  }
}
