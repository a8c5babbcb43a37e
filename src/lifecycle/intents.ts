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
}

export interface Intents {
  add(intent: Intent): void
  get(version: string): Intent | undefined
  /** Its transaction has committed: it cannot be saved again. */
  consume(version: string): void
}

export function intents(now: () => number = Date.now): Intents {
  const held = new Map<string, { intent: Intent; until: number }>()

  /** Insertion order is age order: what is too old stands in front. */
  function forgetOld(): void {
    for (const [version, { until }] of held) {
      if (until > now()) return
      held.delete(version)
    }
  }

  return {
    add(intent) {
      forgetOld()
      held.set(intent.version, { intent, until: now() + lifetime })
    },
    get(version) {
      forgetOld()
      return held.get(version)?.intent
    },
    consume: (version) => void held.delete(version),
  }
}
