import { buffer } from 'node:stream/consumers'
import { type MemoryStorage, memoryStorage, type Processor, type Storage } from '../../src'

/** Makes a line of text for each style, of anything but a PDF, and remembers which it made. */
export interface Scribe extends Processor {
  readonly made: string[]
  /** What happens before a style is made: what it throws or waits for. */
  before: (style: string) => unknown
  /** As good as new: one scribe serves all tests of a file. */
  reset(): void
}

export function scribe(): Scribe {
  let lines = 0
  const made: string[] = []
  const self: Scribe = {
    made,
    before: () => undefined,
    reset() {
      made.length = 0
      self.before = () => undefined
    },
    reads: (contentType) => contentType !== 'application/pdf',
    async *process(input, styles) {
      if (styles.length > 0) await buffer(await input.open())
      for (const style of styles) {
        await self.before(style.name)
        made.push(style.name)
        yield { style, body: Buffer.from(`${style.name}, line ${++lines}`), contentType: 'text/plain' }
      }
    },
  }
  return self
}

export const pdf = Buffer.concat([Buffer.from('%PDF-1.7\n'), Buffer.alloc(3000, ' ')])

/** A storage in memory that remembers what it was asked for. */
export interface Watched extends Storage {
  readonly objects: MemoryStorage['objects']
  /** The key of each write, the ones that failed too. */
  readonly written: string[]
  /** The keys of each delete. */
  readonly deleted: Array<readonly string[]>
  /** What happens before a write: what it throws or waits for. */
  beforeWrite: (key: string) => unknown
  beforeDelete: (keys: readonly string[]) => unknown
}

export function watched(): Watched {
  const inner = memoryStorage({ publicUrl: 'https://files.test' })
  const self: Watched = {
    ...inner,
    written: [],
    deleted: [],
    beforeWrite: () => undefined,
    beforeDelete: () => undefined,
    async write(key, body, info) {
      self.written.push(key)
      await self.beforeWrite(key)
      await inner.write(key, body, info)
    },
    async delete(keys) {
      self.deleted.push(keys)
      await self.beforeDelete(keys)
      await inner.delete(keys)
    },
  }
  return self
}

/** A door that is shut until somebody opens it, and that counts who came. */
export function door() {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const self = {
    came: 0,
    open: () => open(),
    pass: () => {
      self.came++
      return opened
    },
  }
  return self
}
