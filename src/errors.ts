/**
 * What every failure of this library is. `code` is stable and meant for programs, `message` is meant for
 * people: it names the thing, what was expected and the cure.
 */
export class AttachmentError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options)
    this.name = new.target.name
  }

  /** Whether trying the same thing again may help: false for a corrupt image, true for a storage that did not answer. */
  get retryable(): boolean {
    return false
  }
}

/** A decorator or the set-up is wrong. Thrown when the class is declared, or by `connect()`. */
export class DeclarationError extends AttachmentError {}

/** A call that cannot be right: an unknown attachment or style, `attach()` before `connect()`. */
export class UsageError extends AttachmentError {}

/** The file is not taken: empty, too large, of a type that is not accepted, damaged. Nothing of it was kept. */
export class RefusedFileError extends AttachmentError {}

/** Somebody tried to write attachment columns past the library: a forged request body, `update()`, a query builder. */
export class ForeignWriteError extends AttachmentError {}

/** A style could not be made from this file, and never will be. */
export class ProcessingError extends AttachmentError {}

/** What no other try can mend. */
const lasting = ['bad_parts', 'object_changed', 'object_exists', 'upload_missing']

/** A storage failed, or does not hold what it was given. Worth another try, but for an object that is another than it was. */
export class StorageError extends AttachmentError {
  override get retryable(): boolean {
    return !lasting.includes(this.code)
  }
}

/** An error's message, for anything that can be thrown. Not by `instanceof`: under Jest, Node's own errors are of another realm. */
export function messageOf(error: unknown): string {
  const { message } = Object(error) as { message?: unknown }
  return typeof message === 'string' ? message : String(error)
}

/** An error's code, where it is this library's. */
export function codeOf(error: unknown): string {
  return error instanceof AttachmentError ? error.code : 'unexpected'
}

/** Whether trying the same thing again may help. What is not of this library is given the chance. */
export function isRetryable(error: unknown): boolean {
  return error instanceof AttachmentError ? error.retryable : true
}
