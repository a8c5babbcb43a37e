import type { Attached } from '../../src/attachment/attached'
import { RefusedFileError } from '../../src/errors'
import type { FoundFile, WatchPort } from '../../src/http/watch-port'
import type { Wake } from '../../src/notify/signals'

/** Rows of `User.avatar` that a test changes, and whoever watches them. Tokens are the versions. */
export interface TestWatchPort extends WatchPort {
  /** How each file is; none for a row that is gone. */
  readonly rows: Map<string, 'processing' | 'processed'>
  readonly watchers: Set<Wake>
  /** Versions that were looked at, by query. */
  readonly looks: string[][]
  /** What happens when a look has read the rows: what its answer waits for, or throws. */
  beforeAnswer: () => unknown
  wakeAll(): void
}

export function watchPort(...versions: string[]): TestWatchPort {
  const rows: TestWatchPort['rows'] = new Map(versions.map((version) => [version, 'processing']))
  const watchers = new Set<Wake>()
  const looks: string[][] = []
  const port: TestWatchPort = {
    rows,
    watchers,
    looks,
    beforeAnswer: () => undefined,
    wakeAll: () => {
      for (const wake of [...watchers]) wake(undefined)
    },
    open(token) {
      if (token.startsWith('forged')) throw new RefusedFileError('bad_token', 'this is no token of ours')
      return { entity: 'User', attachment: 'avatar', version: token }
    },
    async look(_name, asked) {
      looks.push([...asked])
      const found = asked.flatMap((version): [string, FoundFile][] => (rows.has(version) ? [[version, foundAt(version, rows.get(version))]] : []))
      await port.beforeAnswer()
      return new Map(found)
    },
    watch(_version, wake) {
      // the same function may come twice
      const own: Wake = (signal) => wake(signal)
      watchers.add(own)
      return () => void watchers.delete(own)
    },
    topicOf: () => undefined,
  }
  return port
}

function foundAt(version: string, state: string | undefined): FoundFile {
  const processing = state === 'processing'
  const file = { version, processing, error: null, awaiting: false, meta: { styles: {} }, toJSON: () => ({ version, processing }) }
  return { ref: { entity: 'User', id: { id: 1 }, attachment: 'avatar' }, file: file as unknown as Attached<string> }
}
