import { ProcessingError, UsageError } from '../errors'
import type { Wake } from '../notify/signals'
import type { AttachmentRecord } from './record'

export interface ReadyOptions {
  /** Milliseconds to wait at most. Default: until the job has ended, well or not. */
  readonly timeout?: number
  /** Gives the waiting up. It then rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/** What a timer waits at most. Milliseconds. */
const longest = 2 ** 31 - 1

/** How it is learnt what has become of the files of one attachment. */
export interface News {
  /** What the row says that has this version; null where none has. */
  look(version: string): Promise<AttachmentRecord | null>
  /** Hears when it may be time to look, until the function that comes back is called. */
  watch(version: string, wake: Wake): () => void
  /** Whether nothing will be heard any more, since the attachments were closed. */
  ended(): boolean
  /** Milliseconds after which to look even if nothing was heard. */
  readonly pause: number
  /** A token that lets a page watch this file. Seconds. */
  watchToken(version: string, expiresIn: number): string
}

/**
 * Waits until a style of a file is in the storage. What its row says then.
 *
 * @param name of the attachment, for people
 */
export async function untilReady(
  { version }: { readonly version: string | null },
  style: string,
  name: string,
  news: News,
  { timeout, signal }: ReadyOptions,
): Promise<AttachmentRecord> {
  if (!version) throw new UsageError('not_ready', `${name} has no file: there is nothing to wait for`)
  if (timeout !== undefined && !(timeout >= 0))
    throw new UsageError('bad_timeout', `${name} cannot be waited for during ${timeout} ms: give a timeout from 0, or none`)
  const givenUp = new AbortController()
  const fail = (reason: unknown) => givenUp.abort(reason)
  const onAbort = () => fail(signal?.reason)
  signal?.throwIfAborted()
  signal?.addEventListener('abort', onAbort)
  const late = new UsageError('not_ready', `'${style}' of ${name} was not ready after ${timeout} ms: look at processing and error, and wait again`)
  const timer = timeout === undefined ? undefined : setTimeout(fail, Math.min(timeout, longest), late)
  // whatever happens from here on is heard, so that no look comes too early
  const bell = bellOf(news.pause, givenUp.signal)
  const deaf = news.watch(version, (heard) => heard?.state !== 'progress' && bell.ring())
  try {
    for (;;) {
      const record = await unless(givenUp.signal, news.look(version))
      if (isReady(record, style, name)) return record
      if (news.ended()) throw new UsageError('not_connected', `'${style}' of ${name} was waited for when the attachments were closed: close() last`)
      await bell.rung()
    }
  } finally {
    deaf()
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

/** What is looked up, unless it is given up before: a look waits for a connection, which may be that of whoever waits. */
function unless<T>(givenUp: AbortSignal, looked: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(givenUp.reason)
    givenUp.addEventListener('abort', giveUp)
    looked.then(resolve, reject).finally(() => givenUp.removeEventListener('abort', giveUp))
  })
}

function isReady(record: AttachmentRecord | null, style: string, name: string): record is AttachmentRecord {
  if (!record) throw new UsageError('file_gone', `the file of ${name} was not saved yet, or another has taken its place: load the entity again`)
  const { meta, error, processing } = record
  const found = meta.next?.[style] ?? meta.styles[style]
  if (found?.written && !meta.shown) return true
  if (error) throw new ProcessingError(error.code, `'${style}' of ${name} could not be made: ${error.message}`)
  if (found && processing) return false
  throw new UsageError('not_ready', `the file of ${name} has no style '${style}', and will have none: reprocess() makes it`)
}

/** Rings once for all that happened since it was last waited for, and when the pause is over. */
function bellOf(pause: number, givenUp: AbortSignal) {
  let rung = false
  let answer = () => {}
  return {
    ring() {
      rung = true
      answer()
    },

    async rung(): Promise<void> {
      givenUp.throwIfAborted()
      if (!rung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, pause)
          answer = () => {
            clearTimeout(timer)
            resolve()
          }
          givenUp.addEventListener('abort', answer, { once: true })
        })
        givenUp.removeEventListener('abort', answer)
      }
      rung = false
      givenUp.throwIfAborted()
    },
  }
}
