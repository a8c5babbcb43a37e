import type { Storage } from '../../storage/storage'

/** What to check of an empty storage that is ready for use. */
export type StorageCase = readonly [name: string, check: (storage: Storage) => Promise<void>]
