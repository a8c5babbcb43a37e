import { StorageError } from '../errors'

/** Something is where somebody may write once. `what` says which and where. */
export function objectExists(what: string): StorageError {
  return new StorageError('object_exists', `${what} is there already, and may be written once: what is there stays; upload to another key`)
}

/** Something is not what it was when it was looked at. `what` says which and where. */
export function objectChanged(what: string): StorageError {
  return new StorageError('object_changed', `${what} is not what it was when it was looked at: somebody wrote to it since; upload the file anew`)
}
