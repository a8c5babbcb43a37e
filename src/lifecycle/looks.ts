import type { Meta } from '../attachment/record'
import type { FencedRow } from './fence'
import type { Ports } from './ports'

/** Most jobs have ended by then, and their end says it as well. Milliseconds. */
const patience = 250

/** What the picture of a job looks like: for its row, as soon as a processor tells. */
export interface Looks {
  see(thumbhash: Uint8Array): void
  /** What the row remembers, with that. */
  add(meta: Meta): Meta
  end(): Promise<void>
}

/** Records what a picture looks like while its job runs, if that takes long: a page that waits for it can show that. */
export function looksOf(row: FencedRow, known: Meta, { every }: Pick<Ports, 'every'>): Looks {
  let thumbhash: string | undefined
  let recorded = known.thumbhash !== undefined
  let recording: Promise<unknown> = Promise.resolve()
  const add = (meta: Meta) => (thumbhash === undefined ? meta : { ...meta, thumbhash })
  const rest = every(patience, () => {
    if (recorded || thumbhash === undefined) return
    recorded = true
    recording = row.change(({ meta }) => ({ meta: add(meta) })).catch(() => undefined)
  })
  return {
    see(seen) {
      thumbhash ??= Buffer.from(seen).toString('base64')
    },
    add,
    async end() {
      rest()
      await recording
    },
  }
}
