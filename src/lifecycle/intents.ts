import type { AttachmentRecord } from '../attachment/record'

/** How long an attached file may wait for its `save()`. */
const lifetime = 60 * 60 * 1000

/**
 * What `attach()` or `detach()` decided and no commit has carried out yet. Only an intent can change attachment columns.
 * The value on the entity names it by its version, which survives `create()`, `merge()` and cascades.
 */
export interface Intent {
  readonly entity: string
  readonly attachment: string
  readonly version: string
  /** The new file, without what only the row's id can tell; null to detach. */
  readonly file: AttachmentRecord | null
  /** Until when the token is good by which it came, in milliseconds since 1970. */
  readonly until?: number
}

/** An intent that may still be carried out. */
export interface OpenIntent extends Intent {
  /** Its COMMIT was sent, and no answer has come: it may be saved, and by now even be replaced. */
  readonly uncertain: boolean
}

export interface Intents {
  add(intent: Intent): void
  get(version: string): OpenIntent | undefined
  /** Its transaction is about to commit. */
  committing(version: string): void
  /** That COMMIT was refused: it can be saved again. */
  reopen(version: string): void
  /** Its transaction has committed: it cannot be saved again. */
  consume(version: string): void
}

export function intents(now: () => number = Date.now): Intents {
  const held = new Map<string, { intent: OpenIntent; until: number }>()

  /** Insertion order is age order: what is too old stands in front. */
  function forgetOld(): void {
    for (const [version, { until }] of held) {
      if (until > now()) return
      held.delete(version)
    }
  }

  function mark(version: string, uncertain: boolean): void {
    const entry = held.get(version)
    if (entry) entry.intent = { ...entry.intent, uncertain }
  }

  return {
    add(intent) {
      forgetOld()
      held.set(intent.version, { intent: { ...intent, uncertain: false }, until: now() + lifetime })
    },
    get(version) {
      forgetOld()
      return held.get(version)?.intent
    },
    committing: (version) => mark(version, true),
    reopen: (version) => mark(version, false),
    consume: (version) => void held.delete(version),
  }
}
